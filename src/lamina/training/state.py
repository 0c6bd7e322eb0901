"""The whole state of a run as one pytree, passed from step to step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina.layers.layer import Weights
from lamina.training.optimizers import Optimizer


class Totals(NamedTuple):
    """Sums over the steps of the current epoch, in the order in which the state holds them.

    ``loss`` and ``metric`` are summed over samples with their weights, ``weight`` is the sum of
    those; ``gradient_norm`` is the last step's.
    """

    loss: float
    metric: float
    weight: float
    steps: float
    gradient_norm: float


@dataclass(frozen=True)
class TrainingState:
    """Everything that a step changes and that resuming needs.

    Parameters
    ----------
    weights, statistics : nested dict of arrays
        The network's, by path.
    optimizer : pytree
        The optimiser's.
    key : array of shape (2,), uint32
        The run's random key; step i uses ``fold_in(key, i)``.
    step, epoch, batch : int32
        Steps taken in all, and the position in the data: the epoch and the next minibatch of it.
    rate_scale : float
        The factor by which callbacks have cut the learning rate.
    finite : bool
        Whether all numbers so far were finite. A guarded step that finds otherwise changes nothing
        but this.
    totals : array of shape (5,)
        `Totals` of this epoch.
    gradient_norms : array of shape (weight arrays,)
        Of each weight array, in JAX's order, the gradient's norm at the step that
        `Totals.gradient_norm` is of.
    average : nested dict of arrays, or None
        The weights' moving average, where one is kept.
    """

    weights: Weights
    statistics: Weights
    optimizer: Any
    key: Any
    step: Any
    epoch: Any
    batch: Any
    rate_scale: Any
    finite: Any
    totals: Any
    gradient_norms: Any
    average: Any = None

    @property
    def served(self) -> Weights:
        """Return the weights to evaluate and to keep: the average where there is one."""
        return self.weights if self.average is None else self.average


jax.tree_util.register_dataclass(TrainingState, [f.name for f in fields(TrainingState)], [])


def no_totals(dtype: Any = np.float32) -> np.ndarray:
    """Return sums of nothing."""
    return np.zeros(len(Totals._fields), dtype)


def fresh_state(
    weights: Weights,
    statistics: Weights,
    optimizer: Optimizer,
    seed: int,
    averaging: bool = False,
) -> TrainingState:
    """Return the state before the first step, in NumPy, so that nothing is compiled."""
    dtype = next((leaf.dtype for leaf in jax.tree.leaves(weights)), np.float32)
    return TrainingState(
        weights=weights,
        statistics=statistics,
        optimizer=optimizer.initial_state(weights),
        key=np.array([0, seed], np.uint32),
        step=np.int32(0),
        epoch=np.int32(0),
        batch=np.int32(0),
        rate_scale=np.ones((), dtype),
        finite=np.bool_(True),
        totals=no_totals(dtype),
        gradient_norms=np.zeros(len(jax.tree.leaves(weights)), dtype),
        average=jax.tree.map(np.array, weights) if averaging else None,
    )
