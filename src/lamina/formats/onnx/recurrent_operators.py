"""How ONNX's RNN, GRU and LSTM are read, and what is then taken of their states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.formats.onnx.constants import axes_from
from lamina.formats.onnx.operands import constant, unreadable
from lamina.formats.onnx.recurrent_rules import ORDER
from lamina.formats.onnx.tracing import Atom, Step, Traced
from lamina.layers.recurrent import DIRECTIONS, GRU, LSTM, RNN, Recurrent

LENGTHS, STEPS, VALID = "lengths", "steps", "valid"
"""What stands for tensors that follow from the rows' lengths, which `Sequences` see to."""


class Finals(tuple):
    """The last states of stacked layers, one after the other, of which one will be taken."""


_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def read_recurrent(
    operator: str, who: str, inputs: Sequence[Any], attributes: dict[str, Any]
) -> list[Any]:
    """Return the states at all steps (t, d, n, h) and the last one (d, n, h)."""
    filled: list[Any] = [*inputs, *[None] * (8 - len(inputs))]
    X, W, R, B, lengths, *initial = filled
    W, R = constant(who, W), constant(who, R)
    sides, h = W.shape[0], R.shape[2]
    B = np.zeros((sides, 2 * W.shape[1]), np.float32) if B is None else constant(who, B)
    direction = attributes.get("direction", "forward")
    settings: dict[str, Any] = {
        "reverse": direction == "reverse",
        "bidirectional": direction == "bidirectional",
    }
    _check(operator, who, attributes, initial, sides, settings)
    kind: Any = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}[operator]
    if operator == "RNN":
        settings["activation"] = attributes.get("activations", ["Tanh"])[0].lower()
    states = [_state(who, each, sides, h) for each in initial[: 2 if operator == "LSTM" else 1]]
    if any(state is not None for state in states):
        settings["initial"] = "learned"
        states = [np.zeros((sides, h), np.float32) if s is None else s for s in states]
    weights = [_weights(kind.kind, W[i], R[i], B[i], h) for i in range(sides)]
    if "initial" in settings:
        for name, both in zip(("h0", "c0"), states, strict=False):
            for own, state in zip(weights, both, strict=True):  # type: ignore[arg-type]
                own[name] = state
    nested: Any = dict(zip(DIRECTIONS, weights, strict=True)) if sides == 2 else weights[0]
    if not isinstance(X, Traced) or len(X.axes) != 3 or lengths not in (None, LENGTHS):
        raise unreadable(who, "sequences (t, n, m)", "another input", "Export again.")
    X = X.laid((X.axes[0], X.axes[2]), who)
    d, features = Atom(sides), Atom(h)
    batch, steps = X.axes[1], X.axes[0]
    layers = [kind(h, output=output, **settings) for output in ("all", "last")]
    made = [Step(layer, nested, {}, (X.step,)) for layer in layers]
    return [
        Traced(made[0], (steps, (d, features)), (steps, (d,), batch, (features,))),
        Traced(made[1], ((d, features),), ((d,), batch, (features,))),
    ]


def _check(operator, who, attributes, initial, sides, settings) -> None:
    told = attributes.get("activations")
    known = [_USUAL[operator] * sides] + ([["Relu"] * sides] if operator == "RNN" else [])
    if told is not None and [str(name).capitalize() for name in told] not in known:
        raise unreadable(who, f"activations {known[0]}", told, "No layer has others.")
    if operator == "GRU" and not attributes.get("linear_before_reset"):
        raise unreadable(
            who, "linear_before_reset=1", 0, "Use the GRU of PyTorch, or Keras' reset_after=True."
        )
    odd = [key for key in ("clip", "input_forget", "layout") if attributes.get(key)]
    if odd or (operator == "LSTM" and initial[2] is not None):
        raise unreadable(who, "a plain cell", odd or "peepholes", "No layer has it.")
    if (sides == 2) != settings["bidirectional"]:
        raise unreadable(who, "weights for its direction", sides, "The file does not fit together.")


def _weights(kind: str, W: np.ndarray, R: np.ndarray, B: np.ndarray, h: int) -> dict[str, Any]:
    """Return our weights, the gates in our order, of one direction's."""
    places = [ORDER[kind].index(gate) for gate in range(len(ORDER[kind]))]

    def ours(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows[place * h : (place + 1) * h] for place in places])

    of_input, of_state = (ours(part) for part in np.split(B, 2))
    weights = {"W_x": ours(W).T.copy(), "W_h": ours(R).T.copy(), "b": of_input + of_state}
    if kind == "gru":
        weights["b"][2 * h :] = of_input[2 * h :]
        weights["b_hn"] = of_state[2 * h :]
    return weights


def _state(who: str, state: Any, sides: int, h: int) -> np.ndarray | None:
    """Return the state before the first step (d, h), None for zeros; the same for all rows."""
    if state is None or (isinstance(state, np.ndarray) and not state.any()):
        return None
    learned = constant(who, state)
    if learned.ndim != 3 or learned.shape[::2] != (sides, h) or np.ptp(learned, axis=1).any():
        raise unreadable(who, "one initial state for all rows", learned.shape, "No layer has more.")
    return learned[:, 0]


def summary(operator: str, who: str, inputs: Sequence[Any], attributes: dict[str, Any]) -> Any:
    """Return what an operator takes of all states, or of the lengths; None if it is neither."""
    X, *others = inputs
    if isinstance(X, str) and operator in ("Cast", "Unsqueeze"):
        return X
    if operator == "Range" and _counts_steps(inputs):
        return STEPS
    if operator == "Less" and isinstance(X, str):
        return VALID
    if operator == "Where" and isinstance(X, str) and X == VALID:
        return others[0]  # what stands beyond a length is never read
    if isinstance(X, Finals) and operator == "Gather" and np.ndim(others[0]) == 0:
        final = X[int(others[0])]
        return replace(final, axes=final.axes[1:])
    if operator == "Concat" and attributes["axis"] == 0 and all(map(_is_final, inputs)):
        return Finals(inputs)
    if not isinstance(X, Traced) or not isinstance(X.step.layer, Recurrent):
        return None
    layer = X.step.layer
    if layer.output != "all":
        return X if operator == "Div" and isinstance(others[0], str) else None
    if operator in ("ReduceMean", "ReduceMax", "ReduceSum"):
        axes = axes_from(inputs, attributes)
        if axes is None or len(axes) != 1 or X.axes[axes[0]] != X.out[0]:
            return None
        if attributes.get("keepdims", 1):
            raise unreadable(who, "keepdims=0", 1, "Leave it out.")
        how = "max" if operator == "ReduceMax" else "mean"
        return _taken(X, replace(layer, output=how), axes[0])
    axis = attributes.get("axis", 0)
    if operator == "Gather" and isinstance(others[0], np.ndarray) and X.axes[axis] == X.out[0]:
        at = others[0].reshape(-1)
        wanted = 0 if layer.reverse else -1
        if others[0].ndim or layer.bidirectional or at.tolist() != [wanted]:
            raise unreadable(
                who, "the state after the last step read", f"step {at.tolist()}",
                "Of a bidirectional layer take both final states, or a mean over the steps.",
            )  # fmt: skip
        return _taken(X, replace(layer, output="last"), axis)
    return None


def _is_final(X: Any) -> bool:
    """Whether a tensor (1, n, h) is a layer's last state."""
    layer = X.step.layer if isinstance(X, Traced) else None
    if not isinstance(layer, Recurrent) or layer.bidirectional:
        return False
    return layer.output == "last" and len(X.axes) == 3


def _counts_steps(inputs: Sequence[Any]) -> bool:
    """Return whether these are the steps 0, 1, … of a sequence: up to a size that is left open."""
    return [np.asarray(value).reshape(-1).tolist() for value in inputs] == [[0], [None], [1]]


def _taken(X: Traced, layer: Recurrent, axis: int) -> Traced:
    step = Step(layer, X.step.weights, {}, X.step.parents)
    left = tuple(group for i, group in enumerate(X.axes) if i != axis % len(X.axes))
    return Traced(step, X.out[1:], left)
