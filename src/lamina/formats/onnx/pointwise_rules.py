"""How layers that work on single numbers, or along the last axis, are written in ONNX."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.formats.onnx.graph import FIRST, LAST, STEPS, Graph, Value
from lamina.functions.activations import LEAK
from lamina.layers.layer import Weights

_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": LEAK}),
    "elu": ("Elu", {"alpha": 1.0}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "softplus": ("Softplus", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
}


def activated(graph: Graph, function: str, X: Value, name: str) -> Value:
    """Write ``σ(X)``."""
    if function == "linear":
        return X
    if function == "silu":
        return graph.apply("Mul", X, name, graph.node("Sigmoid", [X.name], name))
    if function == "softmax":
        return graph.apply("Softmax", X, name, axis=X.channel_axis)
    if function == "relu6":
        ends = (graph.constant(np.float32(end), f"{name}/end") for end in (0, 6))
        return graph.apply("Clip", X, name, *ends)
    operator, attributes = _OPERATORS[function]
    return graph.apply(operator, X, name, **attributes)


def channels_at_the_end(graph: Graph, X: Value) -> Value:
    """Return X with its last axis last, whatever the order of those before it."""
    return graph.laid(X, LAST) if X.layout == FIRST else X


def activation(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """``σ``: one operator."""
    return activated(graph, layer.function, X, name)


def identity(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """What is at work in training alone: nothing."""
    return X


def dense(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """``X W + b``: Gemm; over the steps of a sequence MatMul and Add."""
    X = channels_at_the_end(graph, X)
    W = graph.constant(weights["W"], f"{name}/W")
    b = [graph.constant(weights["b"], f"{name}/b")] if "b" in weights else []
    if len(X.shape) == 1:
        Y = graph.apply("Gemm", X, name, W, *b)
    else:
        Y = graph.apply("MatMul", X, name, W)
        Y = graph.apply("Add", Y, name, *b) if b else Y
    return activated(graph, layer.activation, replace(Y, shape=(*X.shape[:-1], layer.units)), name)


def batch_norm(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """BatchNormalization with the running statistics."""
    X = graph.laid(X, FIRST)
    vectors = {"gain": weights, "shift": weights, "mean": statistics, "variance": statistics}
    constants = [graph.constant(tree[key], f"{name}/{key}") for key, tree in vectors.items()]
    return graph.apply("BatchNormalization", X, name, *constants, epsilon=layer.epsilon)


def layer_norm(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """LayerNormalization along the last axis."""
    X = channels_at_the_end(graph, X)
    constants = [graph.constant(weights[key], f"{name}/{key}") for key in ("gain", "shift")]
    return graph.apply("LayerNormalization", X, name, *constants, axis=-1, epsilon=layer.epsilon)


def standardize(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """``(X - mean) / scale``: Sub and Div."""
    mean = graph.channelwise(statistics["mean"], X, f"{name}/mean")
    scale = graph.channelwise(statistics["scale"], X, f"{name}/scale")
    return graph.apply("Div", graph.apply("Sub", X, name, mean), name, scale)


def flatten(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """Flatten, row by row as Lamina does it."""
    if len(X.shape) == 1:
        return X
    return reshaped(graph, X, (math.prod(X.shape),), name)


def reshape(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """Reshape, row by row."""
    return reshaped(graph, X, layer.output_shape(X.shape, name), name)


def reshaped(graph: Graph, X: Value, shape: tuple[int, ...], name: str) -> Value:
    """Write samples in another shape."""
    graph.need_steps(X)
    X = graph.laid(X, LAST)
    if len(shape) == 1:
        made = graph.node("Flatten", [X.name], name, axis=1)
    else:
        sizes = graph.constant(np.array([0, *shape], np.int64), f"{name}/shape")  # 0: as it is
        made = graph.node("Reshape", [X.name, sizes], name)
    return Value(made, shape)


def embedding(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """Gather, a row of W for each code; codes beyond a row's length are taken as 0."""
    codes = X.name if X.whole else graph.cast(X.name, np.int64, name)
    if X.lengths is not None:
        zero = graph.constant(np.array(0, np.int64), f"{name}/zero")
        codes = graph.node("Where", [valid_steps(graph, X, name), codes, zero], name)
    W = graph.constant(weights["W"], f"{name}/W")
    made = graph.node("Gather", [W, codes], name, axis=0)
    return replace(X, name=made, shape=(X.shape[0], layer.width), whole=False)


def valid_steps(graph: Graph, X: Value, name: str) -> str:
    """Write which steps are data: a bool tensor (n, t), or (t, n, 1) where steps come first."""
    assert X.lengths is not None, "asked only where rows differ in length"
    zero, one = (graph.constant(np.array(i, np.int64), f"{name}/{i}") for i in (0, 1))
    axis = 0 if X.layout == STEPS else 1
    shape = graph.node("Shape", [X.name], name)
    at = graph.constant(np.array(axis, np.int64), f"{name}/axis")
    steps = graph.node("Range", [zero, graph.node("Gather", [shape, at], name), one], name)
    lengths = graph.cast(X.lengths, np.int64, name)
    outer, inner = ([1, 2], [0, 2]) if X.layout == STEPS else ([0], [1])
    steps, lengths = (
        graph.node("Unsqueeze", [tensor, graph.constant(np.array(axes, np.int64), name)], name)
        for tensor, axes in ((steps, outer), (lengths, inner))
    )
    return graph.node("Less", [steps, lengths], name)
