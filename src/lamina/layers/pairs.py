"""Scores of pairs from a vector and a bias for each user and item: factorisation as a network.

A sample is a pair of codes (user, item), scored ``μ + b_u + c_i + p_u · q_i``, or a triple (user,
item, other item), scored by the first pair's lead over the second. Beside the score stands the
sample's share of the L2 penalty, ``½ Σ ridge · |row|²`` over the rows that it uses, so that a
step's gradient is zero in all others. Where rows have features f, a row is ``[b, p] + f W``.
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
    user_features, item_features : int
        How many features rows have, mapped by ``W_users`` and ``W_items`` (features, width + 1).

    Notes
    -----
    Statistics are ``mean``, each row's ``user_ridge`` and ``item_ridge``, and the features.
    """

    users: int
    items: int
    width: int
    frozen_items: bool = False
    user_features: int = 0
    item_features: int = 0
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
        if self.user_features:
            of_users["W_users"] = (self.user_features, self.width + 1)
            fixed["user_features"] = (self.users, self.user_features)
        if self.item_features:
            of_items["W_items"] = (self.item_features, self.width + 1)
            fixed["item_features"] = (self.items, self.item_features)
        if self.frozen_items:
            return of_users, of_items | fixed
        return of_users | of_items, fixed

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return small random factors; biases, maps of features and statistics of zeros."""

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
        penalty = user_ridge[u] * _length(P[u], b[u]) + item_ridge[i] * _length(Q[i], c[i])
        of_user, p = _moved(b[u], P[u], both, "users", u)
        of_item, q = _moved(c[i], Q[i], both, "items", i)
        if X.shape[1] == 2:
            scores = both["mean"] + of_user + of_item + jnp.sum(p * q, axis=1)
        else:
            other = X[:, 2]
            penalty += item_ridge[other] * _length(Q[other], c[other])
            of_other, q_other = _moved(c[other], Q[other], both, "items", other)
            scores = of_item - of_other + jnp.sum(p * (q - q_other), axis=1)
        return jnp.stack([scores, 0.5 * penalty], axis=1), statistics


def _moved(bias, factors, both, side: str, rows):
    """Return biases and factors, moved by what the rows' features map to."""
    if f"W_{side}" not in both:
        return bias, factors
    features = jnp.asarray(both[f"{side[:-1]}_features"])[rows]
    mapped = features @ jnp.asarray(both[f"W_{side}"])
    return bias + mapped[:, 0], factors + mapped[:, 1:]


def _length(factors, bias):
    return jnp.sum(factors * factors, axis=1) + BIAS_RIDGE * bias * bias
