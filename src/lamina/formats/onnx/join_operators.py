"""How ONNX's sums, products and concatenations are read: of branches, or with a constant."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lamina.formats.onnx.operands import (
    Attributes,
    Inputs,
    Reading,
    constant,
    is_batch,
    last,
    unreadable,
)
from lamina.formats.onnx.tracing import Atom, Step, Traced
from lamina.layers.composition import JOINS
from lamina.layers.dense import Dense
from lamina.layers.each_step import EachStep
from lamina.layers.layer import Layer
from lamina.layers.normalization import Standardize
from lamina.layers.pointwise import Activation


def join(how: str) -> Reading:
    """Return the reader of a sum, a product or a concatenation."""

    def read(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
        tensors = [X for X in inputs if isinstance(X, Traced)]
        if len(tensors) < len(inputs):
            return _with_constant(who, how, inputs)
        if how == "product" and (gated := _silu(tensors)) is not None:
            return gated
        axis = attributes.get("axis", -1) % len(tensors[0].axes)
        X = tensors[0]
        if how == "concatenate":
            ordered = [a for i, a in enumerate(X.axes) if i != axis and not is_batch(a)]
            X = X.laid([*ordered, X.axes[axis]], who)
        else:
            # the one with the most numbers says how all lie
            X = max(tensors, key=lambda tensor: math.prod(tensor.shape))
        places = [X.axes.index(group) for group in X.out if group in X.axes]
        if len(places) != len(X.out) or len({len(tensor.axes) for tensor in tensors}) > 1:
            X = last(who, X)
            places = [i for i, group in enumerate(X.axes) if not is_batch(group)]
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
    dense = layer.layer if isinstance(layer, EachStep) else layer
    if not isinstance(dense, Dense) or dense.bias:
        return None
    if b.shape not in ((dense.units,), (1, dense.units)):
        return None
    made: Layer = replace(dense, bias=True)
    own = weights["layer"] if isinstance(layer, EachStep) else weights
    own = own | {"b": b.reshape(-1).astype(np.float32)}
    if isinstance(layer, EachStep):
        made, own = EachStep(made), {"layer": own}
    return replace(X, step=Step(made, own, {}, X.step.parents))


def _by_channel(who: str, X: Traced, array: np.ndarray) -> tuple[Traced, np.ndarray]:
    """Return X with the axis that a constant counts along last, and the constant (c,)."""
    shape = (1,) * (len(X.axes) - array.ndim) + array.shape
    wide = [axis for axis, size in enumerate(shape) if size != 1]
    if len(shape) > len(X.axes) or len(wide) > 1 or (wide and is_batch(X.axes[wide[0]])):
        raise unreadable(who, "a number for each channel", f"shape {array.shape}", "")
    if not wide:
        channels = X.shape[-1]
        return X, np.full(channels, array.reshape(-1)[0], np.float32)
    order = [a for i, a in enumerate(X.axes) if i != wide[0] and not is_batch(a)]
    return X.laid([*order, X.axes[wide[0]]], who), array.reshape(-1)


def standardized(who: str, inputs: Inputs, attributes: Attributes, divided: bool) -> Traced:
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
