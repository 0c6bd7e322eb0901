"""Case (l): Adam's step over four million weights, without a network around it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from statistics import median
from typing import Any

import numpy as np

from benchmarks.case import Finding, Options
from benchmarks.interleave import Ratio, interleaved, seconds
from benchmarks.task import LEARNING_RATE, Shape

LAMINA, OPTAX = "Lamina", "optax.adam"
TOLERANCE = 1e-4
"""The most by which a weight may differ after all steps, each of about `LEARNING_RATE`."""

Step = Callable[[Any, Any], Any]
"""From (weights, state) and gradients to the next (weights, state)."""


@dataclass(frozen=True)
class Descent:
    """The case: the compiled step of both, with donated weights and state.

    Parameters
    ----------
    name : str
        What ``--only`` calls it.
    widths : tuple of int
        Of the dense layers whose matrices and biases are stepped.
    steps : int
        How many a run.
    """

    name: str
    widths: Shape
    steps: int

    def measure(self, options: Options) -> Finding:
        """Time both in turns."""
        shapes: list[Shape] = [shape for m, k in pairwise(self.widths) for shape in ((m, k), (k,))]
        runs = {name: Steps(start, shapes, self.steps) for name, start in STARTS.items()}
        rounds = 1 if options.quick else options.rounds
        measures = {name: seconds(run.take) for name, run in runs.items()}
        found = interleaved(measures, rounds, warm_ups=1)
        check_weights(*(run.weights for run in runs.values()))
        rows = [
            (
                name,
                f"{1e3 * median(times) / self.steps:,.2f}",
                *Ratio.of(times, found[LAMINA]).cells,
            )
            for name, times in found.items()
        ]
        size = sum(map(prod, shapes))
        text = (
            f"Adam's step over {size:,} weights in {len(shapes)} arrays (those "
            f"of layers {'-'.join(map(str, self.widths))}), compiled by `jax.jit` with weights and "
            f"moments donated; gradients stay the same. {self.steps} steps a run, {rounds} rounds. "
            f"The run stops where weights end further apart than {TOLERANCE}."
        )
        title = f"({self.name}) optimiser step over {size / 1e6:.1f} million weights"
        return Finding(title, text, ("", "ms / step", "ratio", "min – max"), tuple(rows))


class Steps:
    """A run of steps that goes on from where the last one ended."""

    def __init__(self, start: Callable[[Any], tuple[Any, Step]], shapes: list[Shape], steps: int):
        import jax

        draw = partial(np.random.default_rng(0).standard_normal, dtype=np.float32)
        drawn = [[draw(shape) for shape in shapes] for _ in range(2)]
        weights, self._gradients = jax.device_put(drawn)
        state, step = start(weights)
        self._carry = weights, state
        self._step = jax.jit(step, donate_argnums=0)
        self._steps = steps

    @property
    def weights(self) -> list[np.ndarray]:
        """Return the present ones."""
        return [np.asarray(W) for W in self._carry[0]]

    def take(self) -> None:
        """Take the steps, and wait for the last."""
        import jax

        for _ in range(self._steps):
            self._carry = self._step(self._carry, self._gradients)
        jax.block_until_ready(self._carry)


def start_lamina(weights: Any) -> tuple[Any, Step]:
    import jax

    from lamina.kernels.descent import Pace
    from lamina.training.optimizers import optimizer

    adam = optimizer("adam")

    def step(carry: Any, gradients: Any) -> Any:
        weights, state = carry
        return adam.step(weights, gradients, state, Pace(LEARNING_RATE), None, None)

    return jax.device_put(adam.initial_state(weights)), step


def start_optax(weights: Any) -> tuple[Any, Step]:
    import optax

    adam = optax.adam(LEARNING_RATE)

    def step(carry: Any, gradients: Any) -> Any:
        weights, state = carry
        updates, state = adam.update(gradients, state)
        return optax.apply_updates(weights, updates), state

    return adam.init(weights), step


STARTS = {LAMINA: start_lamina, OPTAX: start_optax}


def check_weights(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Stop where the two went different ways."""
    apart = max(float(abs(W - V).max()) for W, V in zip(ours, theirs, strict=True))
    if not apart < TOLERANCE:
        sys.exit(f"Case (l) expected weights within {TOLERANCE} of optax's, got {apart:.1e} apart.")


CASE = Descent("n", (784, 1024, 1536, 1024, 10), 20)
