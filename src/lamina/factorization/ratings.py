"""Ratings as biases and a product of factors, by alternating least squares.

``r_ui ≈ μ + b_u + c_i + p_u · q_i``. With the items fixed the users are independent ridge
regressions of ``r_ui - μ - c_i`` on ``[1, q_i]``, and the other way round; the objective ::

    ½ Σ (r_ui - r̂_ui)² + ½ Σ_u λ_u (|p_u|² + β b_u²) + ½ Σ_i λ_i (|q_i|² + β c_i²)

with ``λ_u = α n_u^ν``, n_u ratings of user u, never rises.

Sources: Koren, Bell and Volinsky 2009, Matrix factorization techniques for recommender systems;
Zhou et al. 2008, Large-scale parallel collaborative filtering for the Netflix prize (ν = 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lamina.factorization.factors import Factors, Side, pair_scores, rows_of, scaled_ridge, squares
from lamina.factorization.interactions import Interactions
from lamina.kernels.least_squares import solve_rows

BIAS_RIDGE = 0.2
"""β: how strongly biases are drawn to zero, beside factors."""


class Ridge(NamedTuple):
    """The strength ``α n^ν``."""

    alpha: float
    exponent: float


class Fixed(NamedTuple):
    """What `solve_side` is given of the other side, and of all."""

    other: Side
    mean: float
    ridge: Ridge


def alternate(
    interactions: Interactions, rank: int, ridge: Ridge, seed: int, scale: float = 0.1
) -> Iterator[tuple[Factors, dict[str, float]]]:
    """Yield the model and its figures after each iteration, without end.

    Parameters
    ----------
    interactions : Interactions
        Ratings.
    rank : int
        k, the length of factors.
    ridge : Ridge
        How strongly they are drawn to zero.
    seed : int
        Of the users' first factors, normal with deviation ``scale``.
    """
    by_user, by_item = interactions.by_user, interactions.by_item
    mean = float(by_user.data.mean(dtype=np.float64))
    users = first_users(by_user.shape[0], rank, seed, scale)
    rows = rows_of(by_user.indptr)
    ridges = ridges_of(interactions, ridge)
    while True:
        items = solve_side(by_item, Fixed(users, mean, ridge))
        users = solve_side(by_user, Fixed(items, mean, ridge))
        model = Factors(users, items, mean)
        error = by_user.data - pair_scores(model, rows, by_user.indices)
        total = float(error @ error)
        penalty = squares(ridges[0], users, BIAS_RIDGE) + squares(ridges[1], items, BIAS_RIDGE)
        yield model, {"loss": (total + penalty) / 2, "rmse": float(np.sqrt(total / len(error)))}


def ridges_of(interactions: Interactions, ridge: Ridge) -> tuple[np.ndarray, np.ndarray]:
    """Return each user's and each item's λ."""
    both = (interactions.by_user, interactions.by_item)
    users, items = (scaled_ridge(np.diff(matrix.indptr), *ridge) for matrix in both)
    return users, items


def first_users(n: int, rank: int, seed: int, scale: float) -> Side:
    """Return random factors and no biases."""
    factors = np.random.default_rng(seed).standard_normal((n, rank), np.float32)
    return Side(factors * np.float32(scale), np.zeros(n, np.float32))


def solve_side(ratings: Any, fixed: Fixed) -> Side:
    """Return one side's biases and factors where the other's are fixed.

    Parameters
    ----------
    ratings : sparse array of shape (n, m)
        CSR, this side in rows.
    fixed : Fixed
        The other side's m rows, the mean and the ridge.
    """
    counts = np.diff(ratings.indptr)
    width = fixed.other.factors.shape[1] + 1
    columns = np.ones(width, np.float32)
    columns[0] = BIAS_RIDGE
    solve: Any = solve_rows  # of NumPy's arrays
    solved = solve(
        fixed.other.beside_ones,
        ratings.indptr,
        ratings.indices,
        None,
        ratings.data - np.float32(fixed.mean) - fixed.other.bias[ratings.indices],
        scaled_ridge(counts, *fixed.ridge),
        column_ridge=columns,
        solver="exact",
    )
    return Side.of(np.asarray(solved))
