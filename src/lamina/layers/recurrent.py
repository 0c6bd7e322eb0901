"""The recurrent layers: a plain one, the LSTM and the GRU, read forward, backward or both ways.

The mathematics of each stands in `lamina.kernels.cells`; here are the shapes, the initial weights,
and what of all the states is handed on.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.functions.initializers import AUTO, INITIALIZERS, initializer, orthogonal
from lamina.functions.penalties import Penalty
from lamina.kernels.cells import CELLS
from lamina.kernels.recurrence import recurrence
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.sequences import Sequences, parts

if TYPE_CHECKING:
    from jaxtyping import Array, Float

OUTPUTS = ("last", "all", "mean", "max")
DIRECTIONS = ("forward", "backward")
RNN_ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class Recurrent(Layer):
    """What the recurrent layers share; use `RNN`, `LSTM` or `GRU`.

    A layer takes an array (n, t, m), or `Sequences` where rows differ in length. With
    ``bidirectional``, weights are nested under ``forward`` and ``backward``, and outputs are
    side by side in that order.

    Parameters
    ----------
    units : int
        h, the size of the state in each direction.
    output : {"last", "all", "mean", "max"}
        What is handed on: the state after the last step read (of each direction), (n, h); the
        states at all steps, (n, t, h), as `Sequences` if such came in; or their mean or maximum
        over the steps that are data, (n, h).
    reverse : bool
        Whether sequences are read from their last step to their first.
    bidirectional : bool
        Whether they are read both ways, each with its own weights.
    initial : {"zeros", "learned"}
        The state before the first step: zero, or a weight ``h0`` (and ``c0``), zero at first.
    carry : int
        Of how many rows the last state is carried over to the next batch, as a running statistic:
        each batch then has so many rows, and continues the one before it (truncated
        backpropagation through time). 0 starts each batch from ``initial``.
    init : str
        The scheme of each gate's block of ``W_x``: a key of
        `lamina.functions.initializers.INITIALIZERS` or ``"auto"``. Each block of ``W_h`` starts
        orthogonal, which neither shrinks nor stretches a state over many steps (Saxe et al. 2014).
    penalty : Penalty, optional
        This layer's own penalty on ``W_x`` and ``W_h``; the estimator's where None.
    """

    units: int
    _: KW_ONLY
    output: str = "last"
    reverse: bool = False
    bidirectional: bool = False
    initial: str = "zeros"
    carry: int = 0
    init: str = "glorot"
    penalty: Penalty | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_number(f"{name} units", self.units, at_least=1, whole=True)
        check_choice("output", self.output, OUTPUTS)
        check_choice("initial", self.initial, ("zeros", "learned"))
        check_choice("init", self.init, [AUTO, *INITIALIZERS])
        check_number(f"{name} carry", self.carry, at_least=0, whole=True)
        if self.carry and (self.reverse or self.bidirectional or self.initial != "zeros"):
            raise InputError(
                f"{name} expected to read forward from zeros where it carries its state, got "
                f"reverse={self.reverse}, bidirectional={self.bidirectional}, "
                f"initial={self.initial!r}. Leave carry out."
            )
        if self.reverse and self.bidirectional:
            raise InputError(
                f"{name} expected reverse or bidirectional, got both. A bidirectional layer reads "
                "in reverse anyway: leave reverse out."
            )

    @property
    def cell(self) -> str:
        """The name of the cell, a key of `lamina.kernels.cells.CELLS`."""
        return self.kind

    @property
    def first_activation(self) -> str:
        """The activation for which ``init="auto"`` chooses."""
        return "tanh"

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(units·directions,)``, and ``(t, units·directions)`` for all states."""
        if len(input_shape) != 2:
            raise InputError(
                f"{name} expected samples that are sequences (t, m), got samples of shape "
                f"{input_shape}. For one feature a step take X[:, :, None]; after a recurrent "
                'layer give that one output="all"; for codes put Embedding before it.'
            )
        width = self.units * (2 if self.bidirectional else 1)
        return (input_shape[0], width) if self.output == "all" else (width,)

    def widest(self, input_shape: Shape) -> int:
        """Return how many numbers the gates take, at all steps."""
        steps, features = input_shape
        width = CELLS[self.cell].gates * self.units * (2 if self.bidirectional else 1)
        return steps * max(features, width)

    def weight_shapes(self, input_shape: Shape):
        """Return ``W_x`` (m, g·h), ``W_h`` (h, g·h), ``b`` (g·h,) and what else there is."""
        cell, h = CELLS[self.cell], self.units
        wide = cell.gates * h
        shapes: dict[str, Any] = {"W_x": (input_shape[1], wide), "W_h": (h, wide), "b": (wide,)}
        if self.cell == "gru":
            shapes["b_hn"] = (h,)
        if self.initial == "learned":
            shapes |= dict.fromkeys(("h0", "c0")[: cell.parts], (h,))
        if self.bidirectional:
            shapes = {direction: dict(shapes) for direction in DIRECTIONS}
        kept = ("h", "c")[: cell.parts] if self.carry else ()
        return shapes, dict.fromkeys(kept, (self.carry, h))

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return each gate's block of ``W_x`` by the scheme and of ``W_h`` orthogonal."""
        shapes, kept = self.weight_shapes(input_shape)
        statistics = {part: np.zeros(shape, np.float32) for part, shape in kept.items()}
        if self.bidirectional:
            return {direction: self._initial(rng, own) for direction, own in shapes.items()}, {}
        return self._initial(rng, shapes), statistics

    def _initial(self, rng: np.random.Generator, shapes: dict[str, Shape]) -> Weights:
        weights: Weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        schemes = {"W_x": initializer(self.init, self.first_activation), "W_h": orthogonal}
        for name, draw in schemes.items():
            block = (shapes[name][0], self.units)  # a matrix of its own, with its own fans
            gates = [draw(rng, block) for _ in range(CELLS[self.cell].gates)]
            weights[name] = np.concatenate(gates, axis=1)
        return weights

    def apply(self, weights, statistics, X, context):
        """Return what ``output`` says of the states, forward direction first."""
        values, lengths = parts(X)
        runs = [(weights, self.reverse)]
        if self.bidirectional:
            runs = [(weights["forward"], False), (weights["backward"], True)]
        carried = tuple(statistics.values())
        sweeps = [self._sweep(own, values, lengths, reverse, carried) for own, reverse in runs]
        if self.carry:
            statistics = dict(zip(statistics, sweeps[0][1], strict=True))
        outputs = [(states, final[0]) for states, final in sweeps]
        states, finals = (jnp.concatenate(both, axis=-1) for both in zip(*outputs, strict=True))
        if self.output == "last":
            return finals, statistics
        if self.output == "all":
            return states if lengths is None else Sequences(states, lengths), statistics
        return _pooled(self.output, states, lengths), statistics

    def _sweep(self, weights, values, lengths, reverse, carried):
        """Return the states at all steps, and the parts of the last one."""
        b = weights["b"]
        if "b_hn" in weights:
            b = jnp.concatenate([b, weights["b_hn"]])
        rows = (values.shape[0], self.units)
        start: Any = carried or tuple(
            jnp.broadcast_to(weights[name][None, :], rows)
            for name in ("h0", "c0")
            if name in weights
        )
        if len(start) < 2:
            start = start[0] if start else None
        states, final = recurrence(
            self.cell, values, weights["W_x"], weights["W_h"], b, start, lengths, reverse
        )
        return states, final if isinstance(final, tuple) else (final,)

    def penalties(self, weights: Weights, default: Penalty) -> Weights:
        """Return each weight's `Penalty`, nested like ``weights``; only ``W_x`` and ``W_h``."""
        if not self.bidirectional:
            return super().penalties(weights, default)
        return {name: super(Recurrent, self).penalties(weights[name], default) for name in weights}


def _pooled(how: str, states: Float[Array, "n t h"], lengths) -> Float[Array, "n h"]:
    """Return the mean or maximum over the steps that are data; zero for a row without any."""
    if lengths is None:
        return states.mean(axis=1) if how == "mean" else states.max(axis=1)
    lengths = jnp.maximum(lengths, 1)
    if how == "mean":  # the states are zero beyond a row's length
        return states.sum(axis=1) / lengths[:, None].astype(states.dtype)
    valid = Sequences(states, lengths).valid()
    return jnp.where(valid[:, :, None], states, -jnp.inf).max(axis=1)


@dataclass(frozen=True)
class RNN(Recurrent):
    """``h_t = σ(x_t W_x + h_{t-1} W_h + b)`` (Elman 1990), X (n, t, m), W_x (m, h), W_h (h, h).

    Parameters
    ----------
    units : int
        h, the size of the state.
    activation : {"tanh", "relu"}
        σ.
    output, reverse, bidirectional, initial, init, penalty
        As in `Recurrent`, by name.
    """

    activation: str = "tanh"
    kind: ClassVar[str] = "rnn"

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, RNN_ACTIVATIONS)
        super().__post_init__()

    @property
    def cell(self) -> str:
        """``rnn_tanh`` or ``rnn_relu``."""
        return f"rnn_{self.activation}"

    @property
    def first_activation(self) -> str:
        """The layer's own."""
        return self.activation


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), X (n, t, m), W_x (m, 4h).

    Gates stand in the order i, f, g, o. The forget gate's bias starts at 1, so that a cell keeps
    its memory until it learns to forget (Gers et al. 2000; Jozefowicz et al. 2015).

    Parameters
    ----------
    units : int
        h, the size of the state.
    output, reverse, bidirectional, initial, init, penalty
        As in `Recurrent`, by name.
    """

    kind: ClassVar[str] = "lstm"

    def _initial(self, rng: np.random.Generator, shapes: dict[str, Shape]) -> Weights:
        weights = super()._initial(rng, shapes)
        weights["b"][self.units : 2 * self.units] = 1
        return weights


@dataclass(frozen=True)
class GRU(Recurrent):
    """The gated recurrent unit (Cho et al. 2014), X (n, t, m), W_x (m, 3h).

    Gates stand in the order r, z, n, with the reset gate applied after the recurrent product (the
    cuDNN and PyTorch form), whose own bias is ``b_hn`` (h,).

    Parameters
    ----------
    units : int
        h, the size of the state.
    output, reverse, bidirectional, initial, init, penalty
        As in `Recurrent`, by name.
    """

    kind: ClassVar[str] = "gru"
