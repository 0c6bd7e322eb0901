"""How layers with windows (convolutions, pooling) are written in ONNX: channels first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.formats.onnx.graph import FIRST, STEPS, Graph, Value
from lamina.formats.onnx.pointwise_rules import activated
from lamina.layers.layer import Shape, Weights
from lamina.layers.pooling import MaxPool1D, MaxPool2D


def convolution(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """Conv, with the zeros of padding="same" written out."""
    X = graph.laid(X, FIRST)
    channels = X.shape[-1]
    around = _around(graph, X, layer, X.shape[:-1])
    groups = channels if layer.groups == "depthwise" else layer.groups
    # Lamina: (window, channels seen, filters); ONNX: (filters, channels seen, window)
    W = np.moveaxis(weights["W"], (-1, -2), (0, 1))
    settings = _window(layer) | {"pads": _ends(around), "group": int(groups)}
    return _filtered(graph, "Conv", layer, weights, W, X, name, settings)


def transposed(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """ConvTranspose, which scatters each cell's multiple of the filter as Lamina does."""
    X = graph.laid(X, FIRST)
    found = layer.output_shape(X.shape, name)[:-1]
    around = _around(graph, X, layer, found)
    more = [
        grown - ((size - 1) * step + reach - sum(ends))
        for grown, size, step, reach, ends in zip(
            found, X.shape[:-1], layer.stride, _reach(layer), around, strict=True
        )
    ]
    # Lamina: (window, channels, filters); ONNX: (channels, filters, window)
    W = np.moveaxis(weights["W"], (-2, -1), (0, 1))
    settings = _window(layer) | {"pads": _ends(around), "output_padding": more}
    return _filtered(graph, "ConvTranspose", layer, weights, W, X, name, settings)


def _filtered(graph, operator, layer, weights, W, X: Value, name, settings) -> Value:
    constants = [graph.constant(W, f"{name}/W")]
    if "b" in weights:
        constants.append(graph.constant(weights["b"], f"{name}/b"))
    Y = graph.apply(operator, X, name, *constants, **settings)
    Y = replace(Y, shape=layer.output_shape(X.shape, name))
    return activated(graph, layer.activation, Y, name)


def pooling(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """MaxPool or AveragePool; explicit padding counts as zeros in a mean, "same" does not."""
    X = graph.laid(X, FIRST)
    around = _around(graph, X, layer, X.shape[:-1])
    window, stride, padding = layer.by_axis()
    settings: dict[str, Any] = {"kernel_shape": window, "strides": stride, "pads": _ends(around)}
    operator = "MaxPool" if isinstance(layer, MaxPool1D | MaxPool2D) else "AveragePool"
    if operator == "AveragePool":
        settings["count_include_pad"] = int(padding != "same")
    Y = graph.apply(operator, X, name, **settings)
    return replace(Y, shape=layer.output_shape(X.shape, name))


def resize(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """``R X Cᵀ`` in each channel: two MatMuls, and a Concat where one channel is repeated."""
    X = graph.laid(X, FIRST)
    shape = layer.output_shape(X.shape, name)
    R, C = layer.matrices(X.shape[:2])
    made = X.name
    if R is not None:
        made = graph.node("MatMul", [graph.constant(R, f"{name}/R"), made], name)
    if C is not None:
        made = graph.node("MatMul", [made, graph.constant(C.T, f"{name}/C")], name)
    if shape[-1] != X.shape[-1]:
        made = graph.node("Concat", [made] * shape[-1], name, axis=1)
    return Value(made, shape, FIRST)


def global_average(
    graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name
) -> Value:
    """GlobalAveragePool where channels are first, else ReduceMean; any number of steps."""
    shape = layer.output_shape(X.shape, name)
    if X.layout == FIRST:
        made = graph.node("GlobalAveragePool", [X.name], name)
        if not layer.keep_axes:
            made = graph.node("Flatten", [made], name, axis=1)
        return Value(made, shape, FIRST)
    if X.layout == STEPS and layer.keep_axes:
        X = graph.laid(X, FIRST)
        return global_average(graph, layer, weights, statistics, X, name)
    axes = [0] if X.layout == STEPS else list(range(1, len(X.shape)))
    constant = graph.constant(np.array(axes, np.int64), f"{name}/axes")
    return Value(
        graph.node("ReduceMean", [X.name, constant], name, keepdims=int(layer.keep_axes)), shape
    )


def _window(layer: Any) -> dict[str, Any]:
    return {
        "kernel_shape": layer.kernel_size,
        "strides": layer.stride,
        "dilations": layer.dilation,
    }


def _reach(layer: Any) -> list[int]:
    """Return how many cells a window spans along each axis."""
    window = getattr(layer, "kernel_size", None) or layer.window
    dilation = getattr(layer, "dilation", (1,) * len(window))
    return [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]


def _around(graph: Graph, X: Value, layer: Any, sizes: Shape) -> list[tuple[int, int]]:
    """Return the cells that padding adds before and after each axis.

    For "same", ``⌈size / stride⌉`` windows, the odd cell at the end; at a stride of 1 whatever the
    size. Each number then has to be known, or the stride be 1.
    """
    if layer.padding == "valid":
        return [(0, 0)] * len(sizes)
    if layer.padding != "same":
        return list(layer.padding)
    strides: Sequence[int] = layer.stride or layer.window
    if max(strides) > 1:
        graph.need_steps(X)
    around = []
    for size, stride, reach in zip(sizes, strides, _reach(layer), strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        around.append((total // 2, total - total // 2))
    return around


def _ends(around: list[tuple[int, int]]) -> list[int]:
    """Return ONNX's order: all cells before, then all after."""
    return [int(ends[side]) for side in (0, 1) for ends in around]
