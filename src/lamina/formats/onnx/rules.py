"""How each layer is written in ONNX: the table, and layers that are made of layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.formats.onnx import pointwise_rules as pointwise
from lamina.formats.onnx import window_rules as windows
from lamina.formats.onnx.graph import FIRST, LAST, Graph, Value
from lamina.formats.onnx.recurrent_rules import recurrent
from lamina.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    AveragePool1D,
    AveragePool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    ConvTranspose1D,
    ConvTranspose2D,
    Cutout,
    Dense,
    Dropout,
    EachStep,
    Embedding,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Parallel,
    RandomFlip,
    RandomShift,
    Reshape,
    Residual,
    Resize,
    Sequential,
    SpatialDropout,
    Standardize,
)
from lamina.layers.layer import Layer, Weights

Rule = Callable[[Graph, Any, Weights, Weights, Value, str], Value]

_JOINS = {"concatenate": "Concat", "sum": "Add", "product": "Mul"}
_POINTWISE = (Dense, Activation, Dropout, LayerNorm, Standardize)
_TAKE_LENGTHS = (GRU, LSTM, RNN, Dropout, EachStep, Embedding, Residual, Parallel, Sequential)


def write_layer(
    graph: Graph, layer: Layer, weights: Weights, statistics: Weights, X: Value, name: str = ""
) -> Value:
    """Write a layer, and return its output.

    Parameters
    ----------
    graph : Graph
        To be written into.
    layer : Layer
        Of `lamina.layers`.
    weights, statistics : dict
        The layer's.
    X : Value
        Its input.
    name : str
        The layer's path, as ``stage_0/dense_1``.

    Raises
    ------
    InputError
        For a layer that ONNX has no operators for, by name.
    """
    rule = RULES.get(type(layer))
    if rule is None:
        raise InputError(
            f"ONNX export expected layers of lamina.layers, got {name or 'the network'}: "
            f"{type(layer).__name__}. Compose it of known layers, or export the part without it."
        )
    if X.lengths is not None and not isinstance(layer, (*_TAKE_LENGTHS, Standardize)):
        raise InputError(
            f"ONNX export expected layers that take sequences of unequal length, got {name}: "
            f"{type(layer).__name__}. Put EachStep around it, or export with lengths=False."
        )
    return rule(graph, layer, weights, statistics, X, name or layer.kind)


def _part(path: str, name: str) -> str:
    return name if path in ("sequential", "parallel", "residual") else f"{path}/{name}"


def _sequential(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    for key, part in layer.named():
        own = weights.get(key, {}), statistics.get(key, {})
        X = write_layer(graph, part, *own, X, _part(name, key))
    return X


def _branches(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """Branches beside one another, all in one layout, then Concat, Add or Mul."""
    outputs = [
        write_layer(graph, part, weights.get(key, {}), statistics.get(key, {}), X, _part(name, key))
        for key, part in layer.named()
    ]
    if any(output.lengths for output in outputs):
        raise InputError(
            f"ONNX export expected branches of {name} that end in one vector a row, got sequences "
            "of unequal length. Export with lengths=False."
        )
    shape = layer.joined.shapes([output.shape for output in outputs])
    layouts = [output.layout for output in outputs if len(output.shape) > 1]
    layout = FIRST if FIRST in layouts else layouts[0] if layouts else LAST
    first, *others = (graph.laid(output, layout) for output in outputs)
    if getattr(layer, "join", "sum") == "concatenate":
        names = [other.name for other in others]
        joined = graph.apply("Concat", first, name, *names, axis=first.channel_axis)
        return replace(joined, shape=shape)
    operator = _JOINS[getattr(layer, "join", "sum")]
    for other in others:
        first = graph.apply(operator, first, name, other.name)
    return replace(first, shape=shape)


def _each_step(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """The layer itself where it works along the last axis, else steps folded into rows."""
    own = weights.get("layer", {}), statistics.get("layer", {})
    if len(X.shape) == 2 and _works_on_vectors(layer.layer):
        plain = pointwise.channels_at_the_end(graph, replace(X, lengths=None))
        A = write_layer(graph, layer.layer, *own, plain, f"{name}/layer")
        return replace(A, lengths=X.lengths)
    X = graph.laid(X, LAST)
    step = X.shape[1:]
    folded = graph.constant(np.array([-1, *step], np.int64), f"{name}/folded")
    rows = Value(graph.node("Reshape", [X.name, folded], name), step, whole=X.whole)
    A = graph.laid(write_layer(graph, layer.layer, *own, rows, f"{name}/layer"), LAST)
    outer = graph.node("Shape", [X.name], name, start=0, end=2)
    inner = graph.constant(np.array(A.shape, np.int64), f"{name}/step")
    sizes = graph.node("Concat", [outer, inner], name, axis=0) if A.shape else outer
    made = graph.node("Reshape", [A.name, sizes], name)
    return replace(X, name=made, shape=(X.shape[0], *A.shape), whole=False)


def _works_on_vectors(layer: Layer) -> bool:
    if isinstance(layer, Sequential):
        return all(map(_works_on_vectors, layer.layers))
    return isinstance(layer, _POINTWISE)


RULES: dict[type, Rule] = {
    Sequential: _sequential,
    Parallel: _branches,
    Residual: _branches,
    EachStep: _each_step,
    Dense: pointwise.dense,
    Activation: pointwise.activation,
    BatchNorm: pointwise.batch_norm,
    LayerNorm: pointwise.layer_norm,
    Standardize: pointwise.standardize,
    Flatten: pointwise.flatten,
    Reshape: pointwise.reshape,
    Embedding: pointwise.embedding,
    GlobalAveragePool: windows.global_average,
    **dict.fromkeys((Conv1D, Conv2D), windows.convolution),
    **dict.fromkeys((ConvTranspose1D, ConvTranspose2D), windows.transposed),
    **dict.fromkeys((MaxPool1D, MaxPool2D, AveragePool1D, AveragePool2D), windows.pooling),
    **dict.fromkeys((RNN, LSTM, GRU), recurrent),
    Resize: windows.resize,
    **dict.fromkeys((Dropout, SpatialDropout, RandomFlip, RandomShift, Cutout), pointwise.identity),
}
"""How each layer of `lamina.layers` is written."""
