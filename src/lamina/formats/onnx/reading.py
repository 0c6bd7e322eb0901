"""An ONNX file read into a network: its layers, weights and statistics.

Files come from strangers: weights in other files are refused, an operator without a layer is an
error that names it, and nothing in the file runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import FileFormatError
from lamina.formats.files import reading
from lamina.formats.onnx.assembly import assembled
from lamina.formats.onnx.constants import folded
from lamina.formats.onnx.export import SCORES, check_installed
from lamina.formats.onnx.operands import is_batch, last
from lamina.formats.onnx.operators import OPERATORS
from lamina.formats.onnx.recurrent_operators import LENGTHS, Finals, read_recurrent, summary
from lamina.formats.onnx.tracing import Atom, InputOrder, Step, Traced
from lamina.layers.layer import Layer, Shape, Weights

STEPS = 16
"""How many steps stand for a number that the file leaves open."""


@dataclass(frozen=True)
class ReadNetwork:
    """What an ONNX file holds.

    Parameters
    ----------
    network : Layer
        Its layers.
    weights, statistics : dict
        Theirs.
    input_shape : tuple of int
        One sample's shape, channels last.
    any_steps : bool
        Whether the first number of the shape is a stand-in for any.
    lengths : bool
        Whether the file tells rows of unequal length by a second input.
    metadata : dict of str to str
        What is written beside the graph, such as a classifier's ``classes`` as JSON.
    """

    network: Layer
    weights: Weights
    statistics: Weights
    input_shape: Shape
    any_steps: bool
    lengths: bool
    metadata: dict[str, str]


def read_onnx(path: str | Path, output: str | None = None) -> ReadNetwork:
    """Return the network of an ONNX file, up to one of its outputs.

    Parameters
    ----------
    path : path
        A file with one input of samples (and ``lengths``), of operators that Lamina's layers have.
        Images (n, c, h, w) that go straight into a convolution become (n, h, w, c).
    output : str, optional
        Which output; ``scores``, or else the first.

    Raises
    ------
    FileFormatError
        For a damaged file, weights in other files, or an operator without a layer, by name.
    """
    check_installed()
    import onnx

    path = Path(path)
    with reading(path):
        content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
        if not model.graph.node and not model.graph.input:
            raise ValueError("it has no graph")
        tensors = list(model.graph.initializer)
        tensors += [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
            raise FileFormatError(
                f"{path} expected its weights in itself, got some in other files. Save it as one: "
                "onnx.save(onnx.load(path), other)."
            )
        onnx.checker.check_model(model)
        try:
            return _Reader(model, len(content), output).read()
        except InputOrder as better:
            return _Reader(model, len(content), output, better.order).read()
    except FileFormatError as error:
        raise FileFormatError(_with_path(path, error)) from None
    except RecursionError:
        raise FileFormatError(f"{path} is nested too deeply. Export a plainer network.") from None
    except Exception as error:  # protobuf, the checker and NumPy each raise their own
        reason = str(error).strip().splitlines()[:1]
        raise FileFormatError(
            f"{path} expected a whole ONNX file, got a damaged, truncated or foreign one "
            f"({type(error).__name__}: {' '.join(reason)[:200]}). Export or copy it again."
        ) from error


def _with_path(path: Path, error: FileFormatError) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"


class _Reader:
    """One walk over a graph, in its order, from its input to one output."""

    def __init__(self, model: Any, size: int, output: str | None, order: list[int] | None = None):
        from onnx import numpy_helper

        self._model, self._graph, self._size, self._order = model, model.graph, size, order
        self._known: dict[str, Any] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in self._graph.initializer
        }
        names = [each.name for each in self._graph.output]
        if output is not None and output not in names:
            raise FileFormatError(
                f"It expected an output among {', '.join(names)}; got {output!r}."
            )
        self._output = output or (SCORES if SCORES in names else names[0])
        self._lengths = False
        self._input: Traced | None = None

    def read(self) -> ReadNetwork:
        """Return the network."""
        needed = self._ancestors()
        self._add_inputs(needed)
        for node in self._graph.node:
            if not needed.isdisjoint(node.output):
                self._add(node)
        end = self._known.get(self._output)
        if self._input is None or not isinstance(end, Traced):
            raise FileFormatError(
                f"The output {self._output} expected to follow from the input, got a constant."
            )
        ours, theirs = set(end.out), {group for group in end.axes if group}
        if not is_batch(end.axes[0]):
            raise FileFormatError(
                f"The output {self._output} expected samples along its first axis, got another "
                "axis there. Transpose it in the graph."
            )
        if end.shape == (1,) and len(end.axes) == 1:
            pass  # a regressor's one value a row
        elif not ours <= theirs or len(end.axes) == 2:  # else channels last where it was first
            end = last(f"The output {self._output}", end)
        network, weights, statistics = assembled(end.step)
        first = self._input
        return ReadNetwork(
            network,
            weights,
            statistics,
            first.shape,
            bool(first.out) and first.out[0][0].free,
            self._lengths,
            {entry.key: entry.value for entry in self._model.metadata_props},
        )

    def _ancestors(self) -> set[str]:
        """Return the tensors that the output follows from."""
        needed = {self._output}
        for node in reversed(self._graph.node):
            if not needed.isdisjoint(node.output):
                needed.update(name for name in node.input if name)
        return needed

    def _add_inputs(self, needed: Iterable[str]) -> None:
        for each in self._graph.input:
            if each.name in self._known or each.name not in set(needed):
                continue
            sizes = each.type.tensor_type.shape.dim
            if len(sizes) == 1 and each.name == LENGTHS:
                self._known[each.name], self._lengths = LENGTHS, True
                continue
            if self._input is not None or len(sizes) < 2:
                raise FileFormatError(
                    f"The graph expected one input of samples, and one called lengths; got "
                    f"{each.name!r} as well. Export the network without its preprocessing."
                )
            batch = Atom(sizes[0].dim_value or -1, free=True, batch=True)
            atoms = [(Atom(size.dim_value or STEPS, not size.dim_value),) for size in sizes[1:]]
            out = tuple(atoms if self._order is None else [atoms[i] for i in self._order])
            self._input = Traced(Step(axes=out), out, ((batch,), *atoms))
            self._known[each.name] = self._input

    def _add(self, node: Any) -> None:
        from onnx import helper, numpy_helper

        operator = node.op_type
        who = f"{operator} ({node.name})" if node.name else operator
        if node.domain not in ("", "ai.onnx"):
            raise FileFormatError(
                f"{who} expected an operator of ONNX itself, got one of {node.domain}. Export "
                "the network with standard operators."
            )
        attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
        if operator == "Constant":
            (value,) = attributes.values()
            tensor = hasattr(value, "data_type")
            self._known[node.output[0]] = (
                numpy_helper.to_array(value) if tensor else np.array(value)
            )
            return
        if hasattr(attributes.get("value"), "data_type"):
            attributes["value"] = numpy_helper.to_array(attributes["value"])
        inputs = [self._known[name] if name else None for name in node.input]
        made = self._made(operator, who, inputs, attributes)
        for name, value in zip(node.output, made, strict=False):
            self._known[name] = value

    def _made(self, operator: str, who: str, inputs: list[Any], attributes: dict) -> list[Any]:
        if operator == "Shape" and isinstance(inputs[0], Traced):
            place = slice(attributes.get("start", 0), attributes.get("end"))
            return [inputs[0].sizes()[place]]
        if operator in ("RNN", "GRU", "LSTM"):
            return read_recurrent(operator, who, inputs, attributes)
        if (taken := summary(operator, who, inputs, attributes)) is not None:
            return [taken]
        if all(value is None or isinstance(value, np.ndarray) for value in inputs):
            value = folded(operator, inputs, attributes, self._size)
            if value is not None:
                return [value]
        elif operator in OPERATORS and not any(isinstance(value, str | Finals) for value in inputs):
            return [OPERATORS[operator](who, inputs, attributes)]
        raise FileFormatError(
            f"{who} expected an operator that a layer of Lamina stands for, got one that none does "
            "here. Export with operator set 20, where one operator often stands for several, or "
            "export the network without that part; docs/interchange.md lists what is read."
        )


def _plain(value: Any) -> Any:
    """Return an attribute with text for bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
