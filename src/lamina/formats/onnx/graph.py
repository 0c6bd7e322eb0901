"""An ONNX graph while it is written: nodes, constants, and tensors that know how they are laid out.

Lamina's samples have their channels last, (n, h, w, c); ONNX's convolutions want them first, its
recurrent operators want the steps before the rows. A `Value` says how its tensor lies, and a
transpose is written only where the next operator wants it otherwise, once for each tensor.

Source: https://onnx.ai/onnx/operators, operator set 20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina import __version__
from lamina.errors import InputError
from lamina.layers.layer import Shape

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
"""The operator set that is written: the first with Gelu; ONNX 1.15, onnxruntime 1.17 and later."""
IR_VERSION = 9

LAST, FIRST, STEPS = "channels last", "channels first", "steps first"
ROWS, TIME = "n", "steps"
"""What the axes are called whose size is known only when the graph is run."""

_MOST_BYTES = 2**31 - 2**20
"""An ONNX file is one protocol buffer, at most 2 GiB."""


class StepsNeeded(Exception):  # noqa: N818 - no error: the graph is written anew
    """A layer has to know how many steps a sample has, so the graph takes that many alone."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    Parameters
    ----------
    name : str
        The tensor's.
    shape : tuple of int
        One sample's shape, as Lamina's layers have it.
    layout : {"channels last", "channels first", "steps first"}
        How the tensor's axes lie: (n, ..., c), (n, c, ...) or (t, n, c).
    lengths : str, optional
        The tensor (n,) with each row's number of steps, where rows differ.
    free : bool
        Whether the first number of ``shape`` stands for any number of steps.
    whole : bool
        Whether the tensor holds int64 codes and not floats.
    """

    name: str
    shape: Shape
    layout: str = LAST
    lengths: str | None = None
    free: bool = False
    whole: bool = False

    @property
    def channel_axis(self) -> int:
        """The tensor's axis that counts channels."""
        return 1 if self.layout == FIRST else -1

    def axes(self, layout: str) -> tuple[int, ...]:
        """Return, for each axis of a tensor so laid out, the axis of (n, ..., c) that it is."""
        rank = len(self.shape) + 1
        if layout == FIRST:
            return 0, rank - 1, *range(1, rank - 1)
        return (1, 0, *range(2, rank)) if layout == STEPS else tuple(range(rank))


class Graph:
    """Nodes and constants in the order in which they are written.

    Parameters
    ----------
    free : bool
        Whether sequences may have any number of steps; `StepsNeeded` is raised where they may not.
    """

    def __init__(self, free: bool = True):
        from onnx import helper

        self.free = free
        self.metadata: dict[str, str] = {}
        self._make = helper
        self._nodes: list[Any] = []
        self._constants: dict[str, np.ndarray] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._handed_out: list[tuple[str, str]] = []
        self._names: set[str] = set()
        self._laid: dict[tuple[str, str], Value] = {}

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
        """Add an input of the graph and return its name."""
        self._names.add(name)
        self._inputs.append(self._make.make_tensor_value_info(name, _code(dtype), list(shape)))
        return name

    def output(self, tensor: str, name: str, dtype: Any, shape: Sequence[int | str]) -> None:
        """Hand a tensor out under ``name``."""
        name = self._unused(name)  # a table may have a column that is called so
        self._handed_out.append((tensor, name))
        self._outputs.append(self._make.make_tensor_value_info(name, _code(dtype), list(shape)))

    def constant(self, array: Any, name: str, dtype: Any = None) -> str:
        """Add a constant (floats as float32 unless ``dtype`` says so) and return its name."""
        array = np.asarray(array, dtype)
        if dtype is None and array.dtype.kind == "f":
            array = array.astype(np.float32)
        name = self._unused(name)
        self._constants[name] = array
        return name

    def node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node with one output and return that; inputs may be ``""`` where left out."""
        return self.nodes(operator, inputs, name, 1, **attributes)[0]

    def nodes(
        self, operator: str, inputs: Sequence[str], name: str, outputs: int, **attributes: Any
    ) -> list[str]:
        """Add a node and return its outputs."""
        path = self._unused(f"{name}/{operator}")
        made = [path if i == 0 else self._unused(f"{path}:{i}") for i in range(outputs)]
        self._nodes.append(
            self._make.make_node(operator, list(inputs), made, name=path, **attributes)
        )
        return made

    def apply(self, operator: str, X: Value, name: str, *more: str, **attributes: Any) -> Value:
        """Add a node that keeps the shape and layout of X, with constants beside it."""
        return replace(X, name=self.node(operator, [X.name, *more], name, **attributes))

    def cast(self, tensor: str, dtype: Any, name: str) -> str:
        """Add a change of dtype."""
        return self.node("Cast", [tensor], name, to=_code(dtype))

    def laid(self, X: Value, layout: str) -> Value:
        """Return X with its axes in this layout, transposed if they lie otherwise."""
        before, after = X.axes(X.layout), X.axes(layout)
        if before == after:
            return replace(X, layout=layout)
        key = X.name, layout
        if key not in self._laid:
            order = [before.index(axis) for axis in after]
            name = self.node("Transpose", [X.name], X.name, perm=order)
            self._laid[key] = replace(X, name=name, layout=layout)
            self._laid[name, X.layout] = X
        return self._laid[key]

    def channelwise(self, vector: Any, X: Value, name: str, dtype: Any = None) -> str:
        """Add a vector (c,) as a constant that broadcasts over all other axes of X."""
        shape = (1, -1, *[1] * (len(X.shape) - 1)) if X.layout == FIRST else (-1,)
        return self.constant(np.asarray(vector).reshape(shape), name, dtype)

    def need_steps(self, X: Value) -> None:
        """Say that this layer has to know X's number of steps."""
        if X.free:
            raise StepsNeeded

    def _name_outputs(self) -> None:
        """Call tensors what they are handed out as; an input that is handed out is copied."""
        made = {tensor for node in self._nodes for tensor in node.output}
        renamed: dict[str, str] = {}
        for tensor, name in self._handed_out:
            if tensor in made and tensor not in renamed:
                renamed[tensor] = name
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(tensor, tensor) for tensor in names]
        for tensor, name in self._handed_out:
            if renamed.get(tensor) != name:
                source = renamed.get(tensor, tensor)
                self._nodes.append(self._make.make_node("Identity", [source], [name], name=name))

    def _unused(self, name: str) -> str:
        number, found = 1, name
        while found in self._names:
            number, found = number + 1, f"{name}_{number}"
        self._names.add(found)
        return found

    def model(self, title: str) -> ModelProto:
        """Return the whole file, checked by ``onnx.checker``."""
        import onnx
        from onnx import numpy_helper

        size = sum(array.nbytes for array in self._constants.values())
        if size > _MOST_BYTES:
            raise InputError(
                f"ONNX export expected weights of at most 2 GiB, the most that one file holds, got "
                f"{size / 2**30:.1f} GiB. Use a smaller network, or the model file as it is."
            )
        self._name_outputs()
        constants = [numpy_helper.from_array(A, name) for name, A in self._constants.items()]
        graph = self._make.make_graph(self._nodes, title, self._inputs, self._outputs, constants)
        model = self._make.make_model(
            graph,
            opset_imports=[self._make.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="lamina",
            producer_version=__version__,
        )
        self._make.set_model_props(model, self.metadata)
        onnx.checker.check_model(model, full_check=True)
        return model


def written(title: str, build: Callable[[Graph], None]) -> ModelProto:
    """Return the model that ``build`` writes: for any number of steps, or where it must for one."""
    try:
        graph = Graph(free=True)
        build(graph)
    except StepsNeeded:
        graph = Graph(free=False)
        build(graph)
    return graph.model(title)


def _code(dtype: Any) -> int:
    from onnx import TensorProto, helper

    dtype = np.dtype(dtype)
    return TensorProto.STRING if dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(dtype)
