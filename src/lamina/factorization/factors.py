"""What a factorisation finds: a vector for each user and each item, and perhaps biases.

score of user u for item i = μ + b_u + c_i + p_u · q_i
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

PAIRS_AT_ONCE = 1 << 18
"""Pairs whose vectors are held at a time."""


class Side(NamedTuple):
    """The users' half of a model, or the items'.

    Parameters
    ----------
    factors : array of shape (n, k)
        float32.
    bias : array of shape (n,)
        float32; zeros in models without biases.
    """

    factors: Float[np.ndarray, "n k"]
    bias: Float[np.ndarray, " n"]

    @property
    def beside_ones(self) -> Float[np.ndarray, "n k+1"]:
        """``[1, F]``: what the other side's ``[b, F]`` is multiplied by."""
        return np.concatenate([np.ones_like(self.bias)[:, None], self.factors], axis=1)

    @classmethod
    def of(cls, columns: Float[np.ndarray, "n k+1"]) -> Side:
        """Return the side whose ``[b, F]`` these are."""
        return cls(np.ascontiguousarray(columns[:, 1:]), np.ascontiguousarray(columns[:, 0]))


class Factors(NamedTuple):
    """A whole model.

    Parameters
    ----------
    users, items : Side
        Their vectors and biases.
    mean : float
        μ.
    """

    users: Side
    items: Side
    mean: float = 0.0


def pair_scores(model: Factors, rows: np.ndarray, cols: np.ndarray) -> Float[np.ndarray, " n"]:
    """Return the scores of pairs in float64; a code of -1 is a vector and a bias of zeros."""
    (P, b), (Q, c), mean = model
    found = np.full(len(rows), mean, np.float64)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        u, i = rows[part], cols[part]
        known_u, known_i = u >= 0, i >= 0
        dots = np.einsum("nk,nk->n", P[u], Q[i], dtype=np.float64)
        found[part] += np.where(known_u & known_i, dots, 0)
        found[part] += np.where(known_u, b[u], 0) + np.where(known_i, c[i], 0)
    return found


def rows_of(indptr: np.ndarray) -> np.ndarray:
    """Return each entry's row in a CSR matrix."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def scaled_ridge(
    counts: np.ndarray, alpha: float, exponent: float, beside: float = 0.0
) -> Float[np.ndarray, " n"]:
    """Return each row's ridge ``α (n_u + beside)^ν``, n_u at least 1; float32."""
    size = np.maximum(counts, 1) + np.float64(beside)
    return (alpha * size**exponent).astype(np.float32)


def squares(ridge: np.ndarray, side: Side, bias_ridge: float = 0.0) -> float:
    """Return ``Σ_u λ_u (|f_u|² + c b_u²)``."""
    lengths = np.einsum("nk,nk->n", side.factors, side.factors, dtype=np.float64)
    return float(ridge.astype(np.float64) @ (lengths + bias_ridge * np.float64(side.bias) ** 2))
