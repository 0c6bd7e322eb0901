"""Losses of scored pairs: the first column is the score, the second a penalty that is added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp

from lamina.functions.losses import Loss, Target

if TYPE_CHECKING:
    from jaxtyping import Array, Float


@dataclass(frozen=True)
class RatedPair(Loss):
    """``½ (s - y)² + penalty``."""

    target: ClassVar[Target] = "values"

    def __call__(self, scores: Float[Array, "n 2"], y: Float[Array, "n 1"]) -> Float[Array, " n"]:
        """Return the loss of each pair; ``y`` holds ratings."""
        return 0.5 * jnp.square(scores[:, 0] - y[:, 0]) + scores[:, 1]


@dataclass(frozen=True)
class RankedPair(Loss):
    """``-log σ(s) + penalty``, s being the lead of the right item over another.

    Source: Rendle et al. 2009, BPR: Bayesian personalized ranking from implicit feedback.
    """

    target: ClassVar[Target] = "values"

    def __call__(self, scores: Float[Array, "n 2"], y: Float[Array, "n 1"]) -> Float[Array, " n"]:
        """Return the loss of each triple; ``y`` is not looked at."""
        return jax.nn.softplus(-scores[:, 0]) + scores[:, 1]
