"""The signal through a network: what each layer passes on, forward and backward, in figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.inspection.backprop import LayerTrace, Trace, norm
from lamina.inspection.evidence import QUICKLY, Evidence, rows_of
from lamina.inspection.matrix_checks import matrices
from lamina.inspection.verdicts import LayerFigures
from lamina.layers.embedding import Embedding
from lamina.layers.frozen import Frozen
from lamina.layers.layer import PREDICTING, Layer, Weights
from lamina.layers.recurrent import DIRECTIONS, Recurrent
from lamina.layers.sequences import Sequences, parts

ASYMPTOTES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
"""Between which values an activation saturates."""
NEAR = 0.01
"""What share of the way between the asymptotes counts as having reached one."""
ZEROING = ("relu", "relu6")
"""Activations that can be exactly 0, and then pass no gradient."""


@dataclass(frozen=True, eq=False)
class Signal:
    """One layer's part in a backward pass, with what its units do.

    Parameters
    ----------
    trace : LayerTrace
        Its input, output and gradients.
    """

    trace: LayerTrace

    @property
    def path(self) -> str:
        """Its place in the network."""
        return self.trace.path

    @property
    def layer(self) -> Layer:
        """Itself, also where it is frozen."""
        layer = self.trace.layer
        return layer.layer if isinstance(layer, Frozen) else layer

    @property
    def reads_codes(self) -> bool:
        """Whether its input is codes, which have neither size nor gradient."""
        return self.trace.dX is None or isinstance(self.layer, Embedding)

    @property
    def activation(self) -> str:
        """The name of its σ; empty for a layer without one."""
        layer = self.layer
        if isinstance(layer, Recurrent):
            return getattr(layer, "activation", "tanh")
        return getattr(layer, "activation", getattr(layer, "function", ""))

    @cached_property
    def states(self) -> np.ndarray:
        """What its units put out, (rows, units): samples, cells or steps down, units across."""
        layer = self.layer
        if isinstance(layer, Recurrent) and layer.output != "all" and not layer.carry:
            every = replace(layer, output="all")
            return rows_of(every.apply(self.trace.weights, {}, self.trace.X, PREDICTING)[0])
        return rows_of(self.trace.A)

    @property
    def dead(self) -> float | None:
        """The share of units that are 0 for every row; None for another activation than relu."""
        if self.activation not in ZEROING:
            return None
        return float(np.mean(self.states.max(axis=0) <= 0))

    @property
    def saturated(self) -> float | None:
        """The share of outputs next to an asymptote; None for an activation without two."""
        if self.activation not in ASYMPTOTES:
            return None
        low, high = ASYMPTOTES[self.activation]
        reach = NEAR * (high - low)
        return float(np.mean((self.states < low + reach) | (self.states > high - reach)))

    @property
    def gradient_norm(self) -> float | None:
        """``‖∂loss/∂W‖`` over all of its weights."""
        return _norm(self.trace.gradients)

    @property
    def weight_norm(self) -> float | None:
        """``‖W‖`` over all of its weights."""
        return _norm(self.trace.weights)

    def varying(self) -> tuple[float, float]:
        """Return how outputs differ from row to row: a share, and a number of directions.

        With ``C = A - mean(A)`` and the eigenvalues λ of C Cᵀ: the share ``‖C‖² / ‖A‖²``, and the
        participation ratio ``(Σλ)² / Σλ²``, which is r for r directions of one size.
        """
        values, lengths = parts(self.trace.A)
        A = rows_of(self.trace.A) if lengths is not None else np.asarray(values, np.float64)
        A = A.reshape(len(A), -1)
        total = float((A**2).sum())
        if not total or not np.isfinite(total):
            return 0.0, 0.0
        C = A - A.mean(axis=0)
        gramian = C @ C.T if len(C) <= C.shape[1] else C.T @ C
        energy = float(np.trace(gramian))
        return energy / total, energy**2 / max(float((gramian**2).sum()), 1e-300)


def _norm(tree: Weights) -> float | None:
    found = [float((W.astype(float) ** 2).sum()) for _, W in matrices(tree)]
    return float(np.sqrt(sum(found))) if found else None


def signals(trace: Trace) -> list[Signal]:
    """Return the signal at each layer, from first to last."""
    return [Signal(layer) for layer in reversed(trace.layers)]


def hidden(evidence: Evidence) -> list[Signal]:
    """Return the signals of all layers that shape it, but those of the scores.

    None for a handful of rows: a unit that is 0 for each of them may well live.
    """
    if evidence.data is None or evidence.data.few:
        return []
    found = signals(evidence.data.trace)
    return [each for each in found if each.trace.weights or each.activation][:-1]


def figures(evidence: Evidence, ratios: dict[str, float]) -> Iterator[LayerFigures]:
    """Yield each layer's figures; without data those of its weights alone.

    Parameters
    ----------
    evidence : Evidence
        With or without data.
    ratios : dict from path to float
        Update-to-weight ratios, where they are known.
    """
    if evidence.data is None:
        for path, own in layers_with_weights(evidence.weights):
            yield LayerFigures(path, weight_norm=_norm(own), update_ratio=ratios.get(path))
        return
    for signal in signals(evidence.data.trace):
        A = rows_of(signal.trace.A)
        yield LayerFigures(
            signal.path,
            float(A.mean()),
            float(A.std()),
            signal.dead,
            signal.saturated,
            signal.gradient_norm,
            signal.weight_norm,
            max((r for path, r in ratios.items() if _within(path, signal.path)), default=None),
            signal.trace.gain,
        )


def _within(path: str, layer: str) -> bool:
    """Whether a path is a layer's, or of a direction of it."""
    return path == layer or path.startswith(f"{layer}/")


def layers_with_weights(weights: Weights, prefix: str = "") -> Iterator[tuple[str, Weights]]:
    """Yield path and arrays of every dict that holds arrays."""
    own = {name: W for name, W in weights.items() if not isinstance(W, dict)}
    if own:
        yield prefix.rstrip("/"), own
    for name, part in weights.items():
        if isinstance(part, dict):
            yield from layers_with_weights(part, f"{prefix}{name}/")


def remaining(trace: Trace) -> list[tuple[str, float]]:
    """Return ``‖∂loss/∂input‖`` of each layer, the last first, as a share of that by the scores.

    Layers that see codes, which have no gradient, are left out.
    """
    start = max(norm(trace.dscores), 1e-300)
    of_numbers = [each.trace for each in reversed(signals(trace)) if not each.reads_codes]
    return [(layer.path, norm(layer.dX) / start) for layer in of_numbers]


def through_time(signal: Signal) -> Iterator[tuple[str, int, float]]:
    """Yield, for each direction of a recurrent layer, how the gradient changes from step to step.

    With ``h`` the state after the last step read and random directions v, ``vᵀ ∂h/∂x_t`` is found
    for all steps t. Yields the layer's path, the median of steps in a row, and per step back the
    factor ``(‖vᵀ ∂h/∂x_first‖ / ‖vᵀ ∂h/∂x_last‖)^(1/(T-1))``: its geometric mean over rows.

    Source: Pascanu, Mikolov and Bengio 2013, section 2.1.
    """
    layer: Any = signal.layer
    X: Any = signal.trace.X
    values, lengths = parts(X)
    n, t = values.shape[:2]
    steps = np.full(n, t) if lengths is None else np.asarray(lengths)
    if layer.carry or t < 2:
        return
    single = replace(layer, output="last", bidirectional=False)
    runs = [("", single, signal.trace.weights)]
    if layer.bidirectional:
        of = signal.trace.weights
        runs = [(f"/{d}", replace(single, reverse=d == "backward"), of[d]) for d in DIRECTIONS]
    for direction, run, weights in runs:
        norms = np.asarray(_by_step(run)(weights, X), np.float64)
        rows = np.flatnonzero(steps > 1)
        ends = norms[rows, 0], norms[rows, steps[rows] - 1]
        first, last = ends[::-1] if run.reverse else ends
        with np.errstate(divide="ignore"):
            factors = (np.log(first) - np.log(np.maximum(last, 1e-300))) / (steps[rows] - 1)
        yield signal.path + direction, int(np.median(steps)), float(np.exp(np.mean(factors)))


@cache
def _by_step(layer: Recurrent) -> Any:
    """Return the program (weights, X) -> (n, t): ``‖vᵀ ∂h/∂x_t‖`` for a random v a row."""

    def run(weights, X):
        values, lengths = parts(X)

        def last(values):
            given: Any = values if lengths is None else Sequences(values, lengths)
            return layer.apply(weights, {}, given, PREDICTING)[0]

        h, pull = jax.vjp(last, values)
        (dX,) = pull(jax.random.normal(jax.random.key(0), h.shape, h.dtype))
        return jnp.linalg.norm(dX, axis=2)

    return jax.jit(run, compiler_options=QUICKLY)
