"""How recurrent layers are written in ONNX: RNN, GRU and LSTM over (t, n, m).

ONNX stacks directions and transposes weights: W (d, g·h, m), R (d, g·h, h), B (d, 2·g·h) with the
biases of both products. Its gates stand in the order i, o, f, c (LSTM) and z, r, h (GRU); ours are
i, f, g, o and r, z, n. ``linear_before_reset=1`` is the GRU whose reset gate comes after the
product.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.formats.onnx.graph import STEPS, Graph, Value
from lamina.formats.onnx.pointwise_rules import valid_steps
from lamina.layers.layer import Weights
from lamina.layers.recurrent import DIRECTIONS

ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
"""Which of our gates stands at each of ONNX's places."""


def recurrent(graph: Graph, layer: Any, weights: Weights, statistics: Weights, X, name) -> Value:
    """One operator, and what ``output`` takes of the states."""
    if layer.carry:
        raise InputError(
            f"{name} expected a layer that starts each row anew, got one that carries its state "
            "over batches. Export it with carry=0."
        )
    X, h = graph.laid(X, STEPS), layer.units
    sides = [weights[side] for side in DIRECTIONS] if layer.bidirectional else [weights]
    direction = "reverse" if layer.reverse else "forward"
    settings: dict[str, Any] = {
        "hidden_size": h,
        "direction": "bidirectional" if layer.bidirectional else direction,
    }
    if layer.kind == "gru":
        settings["linear_before_reset"] = 1
    if layer.kind == "rnn":
        settings["activations"] = [layer.activation.capitalize()] * len(sides)
    inputs = [X.name]
    for key, of in (("W", "W_x"), ("R", "W_h")):
        stacked = [_gates(layer.kind, side[of].T, h) for side in sides]
        inputs.append(graph.constant(np.stack(stacked), f"{name}/{key}"))
    inputs.append(graph.constant(np.stack([_biases(layer, side) for side in sides]), f"{name}/B"))
    inputs.append(X.lengths or "")
    if layer.initial == "learned":
        inputs += _initial(graph, X, sides, h, name)
    while not inputs[-1]:
        inputs.pop()
    states, final = graph.nodes(layer.kind.upper(), inputs, name, 2, **settings)
    shape = layer.output_shape(X.shape, name)
    if layer.output == "last":
        return Value(_side_by_side(graph, final, len(sides), 0, name), shape)
    together = _side_by_side(graph, states, len(sides), 1, name)
    width = h * len(sides)
    all_states = replace(X, name=together, shape=(X.shape[0], width), layout=STEPS)
    if layer.output == "all":
        return all_states
    return Value(_pooled(graph, layer.output, all_states, name), shape)


def _gates(kind: str, matrix: np.ndarray, h: int) -> np.ndarray:
    """Return rows (g·h, ...) with the gates in ONNX's order."""
    return np.concatenate([matrix[gate * h : (gate + 1) * h] for gate in ORDER[kind]])


def _biases(layer: Any, weights: Weights) -> np.ndarray:
    recurrent = np.zeros_like(weights["b"])
    if "b_hn" in weights:
        recurrent[2 * layer.units :] = weights["b_hn"]  # n, the last gate in both orders
    return np.concatenate([_gates(layer.kind, b, layer.units) for b in (weights["b"], recurrent)])


def _initial(graph: Graph, X: Value, sides: list[Weights], h: int, name: str) -> list[str]:
    """Write the learned states before the first step, the same for all rows: (d, n, h)."""
    shape = graph.node("Shape", [X.name], name, start=1, end=2)
    parts = [graph.constant(np.array([i], np.int64), name) for i in (len(sides), h)]
    sizes = graph.node("Concat", [parts[0], shape, parts[1]], name, axis=0)
    states = []
    for key in ("h0", "c0"):
        if key in sides[0]:
            learned = np.stack([side[key] for side in sides])[:, None]
            constant = graph.constant(learned, f"{name}/{key}")
            states.append(graph.node("Expand", [constant, sizes], name))
    return states


def _side_by_side(graph: Graph, tensor: str, sides: int, axis: int, name: str) -> str:
    """Write (..., d, n, h) as (..., n, d·h), with d at ``axis``."""
    if sides == 1:
        return graph.node(
            "Squeeze", [tensor, graph.constant(np.array([axis], np.int64), name)], name
        )
    order = [*range(axis), axis + 1, axis, axis + 2]
    turned = graph.node("Transpose", [tensor], name, perm=order)
    sizes = graph.constant(np.array([0] * (axis + 1) + [-1], np.int64), f"{name}/shape")
    return graph.node("Reshape", [turned, sizes], name)


def _pooled(graph: Graph, how: str, states: Value, name: str) -> str:
    """Write the mean or maximum over the steps that are data."""
    first = graph.constant(np.array([0], np.int64), f"{name}/axes")
    if states.lengths is None:
        operator = "ReduceMean" if how == "mean" else "ReduceMax"
        return graph.node(operator, [states.name, first], name, keepdims=0)
    if how == "max":
        lowest = graph.constant(np.array(-np.inf, np.float32), f"{name}/lowest")
        masked = graph.node("Where", [valid_steps(graph, states, name), states.name, lowest], name)
        return graph.node("ReduceMax", [masked, first], name, keepdims=0)
    total = graph.node("ReduceSum", [states.name, first], name, keepdims=0)  # zero beyond lengths
    count = graph.cast(states.lengths, np.float32, name)
    last = graph.constant(np.array([1], np.int64), f"{name}/axes")
    return graph.node("Div", [total, graph.node("Unsqueeze", [count, last], name)], name)
