"""How ONNX's operators are read: each as a layer with its weights, or as another view of axes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.formats.onnx.constants import axes_from
from lamina.formats.onnx.join_operators import join, standardized
from lamina.formats.onnx.operands import (
    Attributes,
    Inputs,
    Reading,
    constant,
    first,
    is_batch,
    last,
    unreadable,
)
from lamina.formats.onnx.tracing import Atom, Step, Traced, regrouped
from lamina.formats.onnx.window_operators import (
    conv,
    conv_transpose,
    global_average,
    pool,
    reduce_mean,
)
from lamina.functions.activations import LEAK
from lamina.layers.dense import Dense
from lamina.layers.each_step import EachStep
from lamina.layers.embedding import Embedding
from lamina.layers.layer import Layer
from lamina.layers.normalization import BatchNorm, LayerNorm
from lamina.layers.pointwise import Activation

_ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus"}


def _activation(function: str) -> Reading:
    return lambda who, inputs, attributes: inputs[0].through(Activation(function), {}, {})


def _leaky(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    return _only(who, attributes.get("alpha", 0.01), LEAK, "leaky_relu", inputs)


def _elu(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    return _only(who, attributes.get("alpha", 1.0), 1.0, "elu", inputs)


def _clip(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    ends = [float(np.asarray(end)) for end in inputs[1:] if isinstance(end, np.ndarray)]
    if ends != [0, 6]:
        raise unreadable(who, "the ends 0 and 6", ends, "No layer clips elsewhere.")
    return inputs[0].through(Activation("relu6"), {}, {})


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
    order = [a for i, a in enumerate(X.axes) if i != axis and not is_batch(a)]
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


def _transpose(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = inputs[0]
    order = attributes.get("perm") or range(len(X.axes))[::-1]
    return replace(X, axes=tuple(X.axes[axis] for axis in order))


def _flatten(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    X = inputs[0]
    axis = attributes.get("axis", 1)
    if axis != 1 or not is_batch(X.axes[0]):
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
    "Add": join("sum"),
    "AveragePool": lambda who, inputs, attributes: pool(who, inputs, attributes, True),
    "BatchNormalization": _batch_norm,
    "Cast": _same,
    "Concat": join("concatenate"),
    "Conv": conv,
    "Clip": _clip,
    "ConvTranspose": conv_transpose,
    "Div": lambda who, inputs, attributes: standardized(who, inputs, attributes, True),
    "Dropout": _same,
    "Elu": _elu,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": global_average,
    "Identity": _same,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky,
    "MatMul": _matmul,
    "MaxPool": lambda who, inputs, attributes: pool(who, inputs, attributes, False),
    "Mul": join("product"),
    "ReduceMean": reduce_mean,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "Sub": lambda who, inputs, attributes: standardized(who, inputs, attributes, False),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""The operators that have a layer, besides the recurrent ones."""
