"""How ONNX's operators are read: each as a layer with its weights, or as another view of axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.errors import FileFormatError
from lamina.formats.onnx.constants import axes_from
from lamina.formats.onnx.tracing import Atom, Axis, Step, Traced, regrouped
from lamina.functions.activations import LEAK
from lamina.layers.composition import JOINS
from lamina.layers.convolution import Conv1D, Conv2D, ConvTranspose1D, ConvTranspose2D
from lamina.layers.dense import Dense
from lamina.layers.each_step import EachStep
from lamina.layers.embedding import Embedding
from lamina.layers.layer import Layer
from lamina.layers.normalization import BatchNorm, LayerNorm, Standardize
from lamina.layers.pointwise import Activation
from lamina.layers.pooling import (
    AveragePool1D,
    AveragePool2D,
    GlobalAveragePool,
    MaxPool1D,
    MaxPool2D,
)

Inputs = Sequence[Any]
Attributes = dict[str, Any]
Reading = Callable[[str, Inputs, Attributes], Any]
_ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus"}


def unreadable(who: str, expected: str, got: object, remedy: str) -> FileFormatError:
    """Return the error for a node that has no layer."""
    return FileFormatError(f"{who} expected {expected}, got {got}. {remedy}")


def constant(who: str, array: Any) -> np.ndarray:
    """Return a weight as float32; it must be in the file."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise unreadable(who, "weights that are in the file", "computed ones", "Export again.")
    return array.astype(np.float32)


def first(who: str, X: Traced) -> Traced:
    """Return a tensor (n, c, ...) whose step makes it channels last."""
    _check_rows(who, X)
    return X.laid((*X.axes[2:], X.axes[1]), who)


def last(who: str, X: Traced) -> Traced:
    """Return a tensor whose step makes its axes in their order, the batch left out."""
    _check_rows(who, X)
    return X.laid([axis for axis in X.axes if not _is_batch(axis)], who)


def _check_rows(who: str, X: Traced) -> None:
    if not any(map(_is_batch, X.axes)):
        raise unreadable(
            who, "an axis that counts samples", "samples folded with another axis",
            "Put what is done at each step into operators that keep the axes.",
        )  # fmt: skip


def _is_batch(axis: Axis) -> bool:
    return len(axis) == 1 and axis[0].free and axis[0].batch


def _activation(function: str) -> Reading:
    return lambda who, inputs, attributes: inputs[0].through(Activation(function), {}, {})


def _leaky(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    return _only(who, attributes.get("alpha", 0.01), LEAK, "leaky_relu", inputs)


def _elu(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    return _only(who, attributes.get("alpha", 1.0), 1.0, "elu", inputs)


def _only(who: str, alpha: float, known: float, name: str, inputs: Inputs) -> Traced:
    if not math.isclose(alpha, known, rel_tol=1e-6):
        raise unreadable(who, f"alpha={known}", alpha, "No layer has another slope.")
    return inputs[0].through(Activation(name), {}, {})


def _gelu(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    if attributes.get("approximate", "none") != "none":
        raise unreadable(who, "the exact gelu", attributes["approximate"], "Use that instead.")
    return inputs[0].through(Activation("gelu"), {}, {})


def _softmax(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = inputs[0]
    axis = attributes.get("axis", -1) % len(X.axes)
    order = [a for i, a in enumerate(X.axes) if i != axis and not _is_batch(a)]
    return X.laid([*order, X.axes[axis]], who).through(Activation("softmax"), {}, {})


def _product(who: str, X: Traced, W: np.ndarray, b: np.ndarray | None) -> Traced:
    """Return ``X W + b`` along the last axis: a dense layer, at each step of a sequence."""
    if W.ndim != 2:
        raise unreadable(who, "a matrix of weights", f"shape {W.shape}", "Export again.")
    features = X.axes[-1]
    layer: Layer = Dense(W.shape[1], bias=b is not None)
    weights = {"W": W} if b is None else {"W": W, "b": b.reshape(-1)}
    made = (Atom(W.shape[1]),)
    if len(X.axes) == 2:
        X, W = _as_rows(who, X, W)
        weights["W"] = W
    else:
        X = last(who, X)
        layer, weights = EachStep(layer), {"layer": weights}
    if math.prod(atom.size for atom in features) != W.shape[0]:
        raise unreadable(who, f"{W.shape[0]} columns", X.shape, "The file does not fit together.")
    return Traced(Step(layer, weights, {}, (X.step,)), (*X.out[:-1], made), (*X.axes[:-1], made))


def _as_rows(who: str, X: Traced, W: np.ndarray) -> tuple[Traced, np.ndarray]:
    """Return X as Lamina flattens it, and the rows of W in that order."""
    if [a for axis in X.out for a in axis if a.size != 1] == [
        a for a in X.axes[1] if a.size != 1
    ] or len(X.axes) != 2:
        return X.laid((X.axes[1],), who), W
    ours = tuple(atom for axis in X.out for atom in axis)
    theirs = [atom for atom in X.axes[1] if atom in ours]
    missing = [atom for atom in X.axes[1] if atom not in ours and atom.size != 1]
    if missing or any(atom not in theirs and atom.size != 1 for atom in ours):
        return X.laid((X.axes[1],), who), W
    kept = [atom for atom in ours if atom in theirs]
    cube = W.reshape(*[atom.size for atom in theirs], W.shape[1])
    order = [theirs.index(atom) for atom in kept]
    turned = cube.transpose(*order, len(order)).reshape(W.shape)
    return X.laid((ours,), who), turned


def _gemm(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X, W = inputs[0], constant(who, inputs[1])
    if attributes.get("transA") or not isinstance(X, Traced):
        raise unreadable(who, "rows times a matrix of weights", "another", "Export again.")
    W = (W.T if attributes.get("transB") else W) * np.float32(attributes.get("alpha", 1.0))
    b = None
    if len(inputs) > 2 and inputs[2] is not None:
        b = constant(who, inputs[2]) * np.float32(attributes.get("beta", 1.0))
        b = np.broadcast_to(b.reshape(-1), W.shape[1:]).copy()
    return _product(who, X, W, b)


def _matmul(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    if not isinstance(inputs[0], Traced):
        raise unreadable(who, "an input times weights", "weights times", "Transpose both.")
    return _product(who, inputs[0], constant(who, inputs[1]), None)


def _windows(who: str, attributes: Attributes, axes: int) -> dict[str, Any]:
    """Return stride, dilation and padding of a node as a layer's settings."""
    found: dict[str, Any] = {
        "stride": tuple(attributes.get("strides", (1,) * axes)),
        "dilation": tuple(attributes.get("dilations", (1,) * axes)),
    }
    how, pads = attributes.get("auto_pad", "NOTSET"), attributes.get("pads", (0,) * 2 * axes)
    if how == "NOTSET":
        pairs = tuple(zip(pads[:axes], pads[axes:], strict=True))
        found["padding"] = "valid" if not any(pads) else pairs[0] if axes == 1 else pairs
    elif how in ("SAME_UPPER", "VALID"):
        found["padding"] = "same" if how == "SAME_UPPER" else "valid"
    else:
        raise unreadable(who, "auto_pad that puts the odd cell at the end", how, "Use pads.")
    return found


def _after(X: Traced, step_of: Layer, weights: dict, statistics: dict, who: str) -> Traced:
    """Return X (n, c, ...) after a layer that makes new channels and sizes."""
    shape = step_of.output_shape(X.shape, who)
    *sizes, channels = [(Atom(size),) for size in shape]
    for axis, (old, new) in enumerate(zip(X.shape[:-1], shape[:-1], strict=True)):
        free = any(atom.free for atom in X.out[axis])
        if free or old == new:  # a length that is open stays so
            sizes[axis] = (Atom(new, free),) if old != new else X.out[axis]
    step = Step(step_of, weights, statistics, (X.step,))
    return Traced(step, (*sizes, channels), (X.axes[0], channels, *sizes))


def _conv(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X, W = first(who, inputs[0]), constant(who, inputs[1])
    axes = W.ndim - 2
    if axes not in (1, 2):
        raise unreadable(who, "one or two axes of windows", axes, "No layer has more.")
    kind = Conv1D if axes == 1 else Conv2D
    b = [constant(who, bias) for bias in inputs[2:3] if bias is not None]
    settings = _windows(who, attributes, axes) | {"groups": attributes.get("group", 1)}
    layer = kind(W.shape[0], W.shape[2:], bias=bool(b), **settings)
    weights = {"W": np.moveaxis(W, (0, 1), (-1, -2))} | ({"b": b[0]} if b else {})
    return _after(X, layer, weights, {}, who)


def _conv_transpose(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X, W = first(who, inputs[0]), constant(who, inputs[1])
    axes = W.ndim - 2
    if axes not in (1, 2) or attributes.get("group", 1) != 1:
        raise unreadable(who, "one group over one or two axes", "another", "No layer has it.")
    settings = _windows(who, attributes, axes)
    more = attributes.get("output_padding", (0,) * axes)
    b = [constant(who, bias) for bias in inputs[2:3] if bias is not None]
    kind = ConvTranspose1D if axes == 1 else ConvTranspose2D
    weights = {"W": np.moveaxis(W, (0, 1), (-2, -1))} | ({"b": b[0]} if b else {})
    layer = kind(W.shape[1], W.shape[2:], bias=bool(b), **settings)
    same = replace(layer, padding="same")
    pads = np.reshape(attributes.get("pads", (0,) * 2 * axes), (2, axes))
    wide = zip(W.shape[2:], settings["stride"], settings["dilation"], strict=True)
    reach = [(k - 1) * d + 1 - s for k, s, d in wide]  # beyond the stride: what "same" cuts off
    cut = [max(over, 0) for over in reach]
    usual = all(pads[0, i] == c // 2 and pads[:, i].sum() == c for i, c in enumerate(cut))
    if usual and list(more) == [max(-over, 0) for over in reach]:
        layer = same
    elif any(more):
        raise unreadable(who, "no output_padding", list(more), 'Use padding that is "same".')
    return _after(X, layer, weights, {}, who)


def _pool(who: str, inputs: Inputs, attributes: Attributes, average: bool) -> Traced:
    X = first(who, inputs[0])
    window = tuple(attributes["kernel_shape"])
    axes = len(window)
    if axes not in (1, 2) or attributes.get("ceil_mode"):
        raise unreadable(who, "windows over one or two axes that fit", "others", "No layer has it.")
    found = _windows(who, attributes, axes)
    if any(d != 1 for d in found.pop("dilation")):
        raise unreadable(who, "pooling without dilation", attributes["dilations"], "Leave it out.")
    kind: Any = {
        (1, False): MaxPool1D, (2, False): MaxPool2D,
        (1, True): AveragePool1D, (2, True): AveragePool2D,
    }[axes, average]  # fmt: skip
    layer = kind(window, **found)
    if average and found["padding"] != "valid" and not attributes.get("count_include_pad"):
        layer = kind(window, found["stride"], "same")
        told = _pads_of_same(X.shape[:-1], window, found["stride"])
        if found["padding"] not in ("same", told if axes == 2 else told[0]):
            raise unreadable(
                who, "means that count the padding", "means that do not", "Use count_include_pad."
            )
    return _after(X, layer, {}, {}, who)


def _pads_of_same(sizes: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> Any:
    pads = []
    for size, cells, step in zip(sizes, window, stride, strict=True):
        total = max((-(-size // step) - 1) * step + cells - size, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def _global_average(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = first(who, inputs[0])
    ones: tuple[Axis, ...] = ((),) * (len(X.out) - 1)
    step = Step(GlobalAveragePool(keep_axes=True), parents=(X.step,))
    return Traced(step, (*ones, X.out[-1]), (X.axes[0], X.axes[1], *ones))


def _reduce_mean(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = inputs[0]
    axes = {axis % len(X.axes) for axis in axes_from(inputs, attributes) or range(1, len(X.axes))}
    kept = [i for i, axis in enumerate(X.axes) if i not in axes and not _is_batch(axis)]
    if len(kept) != 1 or not axes or any(_is_batch(X.axes[i]) for i in axes):
        raise unreadable(who, "a mean over all but the channels", "another", "No layer has it.")
    X = X.laid([*(X.axes[i] for i in sorted(axes)), X.axes[kept[0]]], who)
    step = Step(GlobalAveragePool(keep_axes=True), parents=(X.step,))
    ones: tuple[Axis, ...] = ((),) * len(axes)
    left = [() if i in axes else axis for i, axis in enumerate(X.axes)]
    if not attributes.get("keepdims", 1):
        left = [axis for i, axis in enumerate(X.axes) if i not in axes]
    return Traced(step, (*ones, X.out[-1]), tuple(left))


def _batch_norm(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    if attributes.get("training_mode"):
        raise unreadable(who, "running statistics", "those of training", "Export model.eval().")
    gain, shift, mean, variance = (constant(who, array) for array in inputs[1:5])
    layer = BatchNorm(epsilon=float(attributes.get("epsilon", 1e-5)))
    X = first(who, inputs[0])
    return X.through(layer, {"gain": gain, "shift": shift}, {"mean": mean, "variance": variance})


def _layer_norm(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = inputs[0]
    if attributes.get("axis", -1) % len(X.axes) != len(X.axes) - 1:
        raise unreadable(who, "axis=-1", attributes["axis"], "No layer has another.")
    gain = constant(who, inputs[1])
    shift = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros_like(gain)
    layer = LayerNorm(float(attributes.get("epsilon", 1e-5)))
    return last(who, X).through(layer, {"gain": gain, "shift": constant(who, shift)}, {})


def _gather(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    table, codes = inputs
    axis = attributes.get("axis", 0)
    if isinstance(table, Traced) and _only_one(table, codes, axis):
        return _squeeze(who, [table, np.array([axis])], {})
    if not isinstance(table, np.ndarray) or table.ndim != 2 or axis:
        raise unreadable(who, "rows of a matrix, by codes", "another", "No layer has it.")
    W, X = constant(who, table), last(who, codes)
    made = (Atom(W.shape[1]),)
    step = Step(Embedding(*W.shape), {"W": W}, {}, (X.step,))
    return Traced(step, (*X.out, made), (*X.axes, made))


def _only_one(X: Traced, at: Any, axis: int) -> bool:
    """Whether an entry is taken of an axis that has but one."""
    size = math.prod(atom.size for atom in X.axes[axis])
    return isinstance(at, np.ndarray) and at.ndim == 0 and at in (0, -1) and size == 1


def _join(how: str) -> Reading:
    def read(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
        tensors = [X for X in inputs if isinstance(X, Traced)]
        if len(tensors) < len(inputs):
            return _with_constant(who, how, inputs)
        if how == "product" and (gated := _silu(tensors)) is not None:
            return gated
        axis = attributes.get("axis", -1) % len(tensors[0].axes)
        X = tensors[0]
        if how == "concatenate":
            ordered = [a for i, a in enumerate(X.axes) if i != axis and not _is_batch(a)]
            X = X.laid([*ordered, X.axes[axis]], who)
        else:
            # the one with the most numbers says how all lie
            X = max(tensors, key=lambda tensor: math.prod(tensor.shape))
        places = [X.axes.index(group) for group in X.out if group in X.axes]
        if len(places) != len(X.out) or len({len(tensor.axes) for tensor in tensors}) > 1:
            X = last(who, X)
            places = [i for i, group in enumerate(X.axes) if not _is_batch(group)]
        aligned = [X if tensor.step is X.step else tensor for tensor in tensors]
        aligned = [tensor.laid([tensor.axes[i] for i in places], who) for tensor in aligned]
        try:
            shape = JOINS[how].shapes([tensor.shape for tensor in aligned])
        except ValueError:
            raise unreadable(who, JOINS[how].rule, [t.shape for t in aligned], "") from None
        out = [
            group if size == old else (Atom(size),)
            for group, size, old in zip(X.out, shape, X.shape, strict=True)
        ]
        axes = list(X.axes)
        for place, group in zip(places, out, strict=True):
            axes[place] = group
        step = Step(parents=tuple(tensor.step for tensor in aligned), join=how)
        return Traced(step, tuple(out), tuple(axes))

    return read


def _silu(tensors: list[Traced]) -> Traced | None:
    """Return x σ(x) as one activation where it is that."""
    for X, gate in (tensors, tensors[::-1]):
        layer = gate.step.layer
        if isinstance(layer, Activation) and layer.function == "sigmoid":
            same = gate.step.parents[0] is X.step and (gate.out, gate.axes) == (X.out, X.axes)
            if same:
                return X.through(Activation("silu"), {}, {})
    return None


def _with_constant(who: str, how: str, inputs: Inputs) -> Traced:
    """Return X + c or X c, by channel: the bias of the layer before it, or a `Standardize`."""
    X, other = inputs if isinstance(inputs[0], Traced) else inputs[::-1]
    if how == "sum" and (biased := _biased(X, np.asarray(other))) is not None:
        return biased
    X, vector = _by_channel(who, X, constant(who, other))
    if how == "concatenate" or (how == "product" and not vector.all()):
        raise unreadable(who, "tensors that follow from the input", "constants", "")
    zero, one = np.zeros_like(vector), np.ones_like(vector)
    statistics = (
        {"mean": -vector, "scale": one} if how == "sum" else {"mean": zero, "scale": 1 / vector}
    )
    return X.through(Standardize(), {}, statistics)


def _biased(X: Traced, b: np.ndarray) -> Traced | None:
    layer, weights = X.step.layer, X.step.weights
    dense, own = (
        (layer.layer, weights["layer"]) if isinstance(layer, EachStep) else (layer, weights)
    )
    if (
        not isinstance(dense, Dense)
        or dense.bias
        or b.shape not in ((dense.units,), (1, dense.units))
    ):
        return None
    made: Layer = replace(dense, bias=True)
    own = own | {"b": b.reshape(-1).astype(np.float32)}
    if isinstance(layer, EachStep):
        made, own = EachStep(made), {"layer": own}
    return replace(X, step=Step(made, own, {}, X.step.parents))


def _by_channel(who: str, X: Traced, array: np.ndarray) -> tuple[Traced, np.ndarray]:
    """Return X with the axis that a constant counts along last, and the constant (c,)."""
    shape = (1,) * (len(X.axes) - array.ndim) + array.shape
    wide = [axis for axis, size in enumerate(shape) if size != 1]
    if len(shape) > len(X.axes) or len(wide) > 1 or (wide and _is_batch(X.axes[wide[0]])):
        raise unreadable(who, "a number for each channel", f"shape {array.shape}", "")
    if not wide:
        channels = X.shape[-1]
        return X, np.full(channels, array.reshape(-1)[0], np.float32)
    order = [a for i, a in enumerate(X.axes) if i != wide[0] and not _is_batch(a)]
    return X.laid([*order, X.axes[wide[0]]], who), array.reshape(-1)


def _standardized(who: str, inputs: Inputs, attributes: Attributes, divided: bool) -> Traced:
    """Return X - c or X / c as a `Standardize`, one for both where they follow one another."""
    X, other = inputs
    if not isinstance(X, Traced) or isinstance(other, Traced):
        raise unreadable(who, "a constant on its right", "a tensor", "No layer has it.")
    X, vector = _by_channel(who, X, constant(who, other))
    step, one = X.step, np.ones_like(vector)
    if not divided:
        return X.through(Standardize(), {}, {"mean": vector, "scale": one})
    if isinstance(step.layer, Standardize) and (step.statistics["scale"] == 1).all():
        both = {"mean": step.statistics["mean"], "scale": vector}
        return replace(X, step=Step(Standardize(), {}, both, step.parents))
    return X.through(Standardize(), {}, {"mean": np.zeros_like(vector), "scale": vector})


def _transpose(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = inputs[0]
    order = attributes.get("perm") or range(len(X.axes))[::-1]
    return replace(X, axes=tuple(X.axes[axis] for axis in order))


def _flatten(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = inputs[0]
    axis = attributes.get("axis", 1)
    if axis != 1 or not _is_batch(X.axes[0]):
        raise unreadable(who, "axis=1", axis, "No layer flattens otherwise.")
    return replace(X, axes=(X.axes[0], tuple(atom for group in X.axes[1:] for atom in group)))


def _reshape(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    sizes = inputs[1]
    if not isinstance(sizes, np.ndarray):
        raise unreadable(who, "a shape that is in the file", "a computed one", "Export again.")
    return regrouped(inputs[0], list(sizes), who)


def _squeeze(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = inputs[0]
    axes = {axis % len(X.axes) for axis in axes_from(inputs, attributes) or ()}
    if any(math.prod(atom.size for atom in X.axes[axis]) != 1 for axis in axes):
        raise unreadable(who, "axes of size 1", sorted(axes), "Export again.")
    return replace(X, axes=tuple(axis for i, axis in enumerate(X.axes) if i not in axes))


def _unsqueeze(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X, axes = inputs[0], list(inputs[0].axes)
    given = axes_from(inputs, attributes) or []
    for axis in sorted(axis % (len(axes) + len(given)) for axis in given):
        axes.insert(axis, ())
    return replace(X, axes=tuple(axes))


def _same(who: str, inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0]


OPERATORS: dict[str, Reading] = {
    **{operator: _activation(name) for operator, name in _ACTIVATIONS.items()},
    "Add": _join("sum"),
    "AveragePool": lambda who, inputs, attributes: _pool(who, inputs, attributes, True),
    "BatchNormalization": _batch_norm,
    "Cast": _same,
    "Concat": _join("concatenate"),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": lambda who, inputs, attributes: _standardized(who, inputs, attributes, True),
    "Dropout": _same,
    "Elu": _elu,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "Identity": _same,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky,
    "MatMul": _matmul,
    "MaxPool": lambda who, inputs, attributes: _pool(who, inputs, attributes, False),
    "Mul": _join("product"),
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "Sub": lambda who, inputs, attributes: _standardized(who, inputs, attributes, False),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""The operators that have a layer, besides the recurrent ones."""
