"""Descent methods of our own: what each keeps between steps, and how it takes one.

Written out here rather than taken from optax, because the step of all weights is one kernel
(`lamina.kernels.descent`), and importing optax takes as long as training a small model. Trees of
arrays in, trees of arrays out; states start at zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina.kernels.descent import RULES
from lamina.training import lbfgs


class Moments(NamedTuple):
    """The state of a rule: ``t`` steps taken, and the running sums or means that it keeps."""

    t: Any
    of: tuple[Any, ...]


@dataclass(frozen=True)
class ByRule:
    """A method that treats each element of the weights alike.

    Parameters
    ----------
    rule : str
        A key of `lamina.kernels.descent.RULES`.
    """

    rule: str

    def init(self, weights: Any) -> Moments:
        """Return the state before the first step, in NumPy."""
        return Moments(np.int32(0), tuple(_zeros(weights) for _ in range(RULES[self.rule].moments)))


def _zeros(weights: Any) -> Any:
    return jax.tree.map(lambda W: np.zeros(W.shape, W.dtype), weights)


@dataclass(frozen=True)
class LineSearch:
    """A method that looks for the length of its step, and returns the step itself.

    Parameters
    ----------
    init : callable weights -> state
        The state before the first step, in NumPy.
    update : callable (gradients, state, weights, value, value_fn) -> (steps, state)
        One step, by the objective's value and function.
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


LBFGS = LineSearch(lbfgs.initial_state, lbfgs.update)
