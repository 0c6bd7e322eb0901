"""Scores of pairs from a vector and a bias for each user and item: factorisation as a network.

A sample is a pair of codes (user, item), scored ``μ + b_u + c_i + p_u · q_i``, or a triple (user,
item, other item), scored by the first pair's lead over the second. Beside the score stands the
sample's share of the L2 penalty, ``½ Σ ridge · |row|²`` over the rows that it uses, so that a
step's gradient is zero in all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_number
from lamina.layers.layer import Layer, Shape

BIAS_RIDGE = 0.2
"""How strongly biases are drawn to zero, beside factors; as the alternating solvers have it."""

FIRST_DEVIATION = 0.1


@dataclass(frozen=True)
class PairScore(Layer):
    """Codes (n, 2) or (n, 3) to the score and the penalty, (n, 2).

    Parameters
    ----------
    users, items : int
        How many there are.
    width : int
        The length of their vectors.
    frozen_items : bool
        Whether Q and c are statistics, which training leaves as they are.

    Notes
    -----
    Statistics are ``mean``, and each row's ``user_ridge`` and ``item_ridge``.
    """

    users: int
    items: int
    width: int
    frozen_items: bool = False
    kind: ClassVar[str] = "pairs"

    def __post_init__(self) -> None:
        for name in ("users", "items", "width"):
            check_number(f"PairScore {name}", getattr(self, name), at_least=1, whole=True)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(2,)``."""
        if input_shape not in ((2,), (3,)):
            raise InputError(
                f"{name} expected samples that are codes (user, item) or (user, item, other item), "
                f"got samples of shape {input_shape}."
            )
        return (2,)

    def weight_shapes(self, input_shape: Shape):
        """Return the shapes of P, b, Q and c, and of the statistics."""
        of_users = {"P": (self.users, self.width), "b": (self.users,)}
        of_items = {"Q": (self.items, self.width), "c": (self.items,)}
        fixed = {"mean": (), "user_ridge": (self.users,), "item_ridge": (self.items,)}
        if self.frozen_items:
            return of_users, of_items | fixed
        return of_users | of_items, fixed

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return small random factors, biases and statistics of zeros."""

        def made(name: str, shape: Shape) -> np.ndarray:
            if name in ("P", "Q"):
                return rng.standard_normal(shape, np.float32) * np.float32(FIRST_DEVIATION)
            return np.zeros(shape, np.float32)

        weights, statistics = self.weight_shapes(input_shape)
        return (
            {name: made(name, shape) for name, shape in weights.items()},
            {name: made(name, shape) for name, shape in statistics.items()},
        )

    def apply(self, weights, statistics, X, context):
        """Return scores and penalties."""
        both = {**weights, **statistics}
        P, b, Q, c = (jnp.asarray(both[name]) for name in ("P", "b", "Q", "c"))
        user_ridge, item_ridge = (jnp.asarray(both[f"{side}_ridge"]) for side in ("user", "item"))
        u, i = X[:, 0], X[:, 1]
        p, q = P[u], Q[i]
        penalty = user_ridge[u] * _length(p, b[u]) + item_ridge[i] * _length(q, c[i])
        if X.shape[1] == 2:
            scores = both["mean"] + b[u] + c[i] + jnp.sum(p * q, axis=1)
        else:
            other = X[:, 2]
            scores = c[i] - c[other] + jnp.sum(p * (q - Q[other]), axis=1)
            penalty += item_ridge[other] * _length(Q[other], c[other])
        return jnp.stack([scores, 0.5 * penalty], axis=1), statistics


def _length(factors, bias):
    return jnp.sum(factors * factors, axis=1) + BIAS_RIDGE * bias * bias
