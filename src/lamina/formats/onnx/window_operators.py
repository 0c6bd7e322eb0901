"""How ONNX's convolutions and pools are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.formats.onnx.constants import axes_from
from lamina.formats.onnx.operands import (
    Attributes,
    Inputs,
    constant,
    first,
    is_batch,
    unreadable,
)
from lamina.formats.onnx.tracing import Atom, Axis, Step, Traced
from lamina.layers.convolution import Conv1D, Conv2D, ConvTranspose1D, ConvTranspose2D
from lamina.layers.layer import Layer
from lamina.layers.pooling import (
    AveragePool1D,
    AveragePool2D,
    GlobalAveragePool,
    MaxPool1D,
    MaxPool2D,
)


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
    made: list[Axis] = [(Atom(size),) for size in shape]
    *sizes, channels = made
    for axis, (old, new) in enumerate(zip(X.shape[:-1], shape[:-1], strict=True)):
        free = any(atom.free for atom in X.out[axis])
        if free or old == new:  # a length that is open stays so
            sizes[axis] = (Atom(new, free),) if old != new else X.out[axis]
    step = Step(step_of, weights, statistics, (X.step,))
    return Traced(step, (*sizes, channels), (X.axes[0], channels, *sizes))


def conv(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    """Read Conv: filters (k, c, window) are ours as (window, c, k)."""
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


def conv_transpose(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    """Read ConvTranspose: filters (c, k, window) are ours as (window, c, k)."""
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


def pool(who: str, inputs: Inputs, attributes: Attributes, average: bool) -> Traced:
    """Read MaxPool or AveragePool."""
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


def global_average(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    """Read GlobalAveragePool."""
    X = first(who, inputs[0])
    ones: tuple[Axis, ...] = ((),) * (len(X.out) - 1)
    step = Step(GlobalAveragePool(keep_axes=True), parents=(X.step,))
    return Traced(step, (*ones, X.out[-1]), (X.axes[0], X.axes[1], *ones))


def reduce_mean(who: str, inputs: Inputs, attributes: Attributes) -> Traced:
    """Read a mean over all axes but the channels."""
    X = inputs[0]
    axes = {axis % len(X.axes) for axis in axes_from(inputs, attributes) or range(1, len(X.axes))}
    kept = [i for i, axis in enumerate(X.axes) if i not in axes and not is_batch(axis)]
    if len(kept) != 1 or not axes or any(is_batch(X.axes[i]) for i in axes):
        raise unreadable(who, "a mean over all but the channels", "another", "No layer has it.")
    X = X.laid([*(X.axes[i] for i in sorted(axes)), X.axes[kept[0]]], who)
    step = Step(GlobalAveragePool(keep_axes=True), parents=(X.step,))
    ones: tuple[Axis, ...] = ((),) * len(axes)
    left = [() if i in axes else axis for i, axis in enumerate(X.axes)]
    if not attributes.get("keepdims", 1):
        left = [axis for i, axis in enumerate(X.axes) if i not in axes]
    return Traced(step, (*ones, X.out[-1]), tuple(left))
