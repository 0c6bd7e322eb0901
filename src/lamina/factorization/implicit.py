"""Clicks, purchases, plays as a product of factors: weighted alternating least squares.

A pair that was seen should score 1, all pairs a little towards 0. With confidences w of seen pairs
the objective is ::

    ½ Σ_seen w_ui (p_u·q_i - 1)² + ½ α₀ Σ_u Σ_i (p_u·q_i)² + ½ Σ_u λ_u |p_u|² + ½ Σ_i λ_i |q_i|²

with ``λ_u = λ (n_u + α₀ m)^ν``, n_u items seen of m, and ``λ_i`` alike. The sum over all pairs is
``tr(PᵀP QᵀQ)``, so nothing dense is made.

Sources: Hu, Koren and Volinsky 2008, Collaborative filtering for implicit feedback datasets, in the
parameters of Rendle et al. 2022, Revisiting the performance of iALS on item recommendation
benchmarks, equations 1 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.factorization.factors import Factors, Side, pair_scores, rows_of, scaled_ridge, squares
from lamina.factorization.interactions import Interactions
from lamina.kernels.least_squares import solve_rows

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Weighting:
    """The numbers of the objective, and how its equations are solved.

    Parameters
    ----------
    unobserved : float
        α₀.
    regularization : float
        λ.
    exponent : float
        ν.
    steps : int
        Conjugate gradient steps for each row; 0 solves exactly.
    """

    unobserved: float
    regularization: float
    exponent: float
    steps: int

    def ridge(self, counts: np.ndarray, others: int) -> Float[np.ndarray, " n"]:
        """Return each row's ridge, ``others`` being how many rows the other side has."""
        beside = self.unobserved * others
        return scaled_ridge(counts, self.regularization, self.exponent, beside)


def alternate(
    interactions: Interactions, rank: int, weighting: Weighting, seed: int
) -> Iterator[tuple[Factors, dict[str, float]]]:
    """Yield the model and the objective (``loss``) after each iteration, without end.

    Parameters
    ----------
    interactions : Interactions
        Confidences.
    rank : int
        k, the length of factors.
    weighting : Weighting
        The objective's numbers.
    seed : int
        Of the first factors, normal with deviation ``0.1 / √k`` (Rendle et al., section 4.2).
    """
    by_user, by_item = interactions.by_user, interactions.by_item
    n, m = by_user.shape
    rng = np.random.default_rng(seed)
    deviation = np.float32(0.1 / math.sqrt(rank))
    users, items = (
        Side(rng.standard_normal((size, rank), np.float32) * deviation, np.zeros(size, np.float32))
        for size in (n, m)
    )
    rows = rows_of(by_user.indptr)
    while True:
        items = solve_side(by_item, users, weighting, items.factors)
        users = solve_side(by_user, items, weighting, users.factors)
        model = Factors(users, items)
        yield model, {"loss": objective(model, interactions, weighting, rows)}


def solve_side(
    confidences: Any,
    other: Side,
    weighting: Weighting,
    start: Float[np.ndarray, "n k"] | None = None,
) -> Side:
    """Return one side's factors where the other's are fixed; confidences (n, m) are CSR."""
    counts = np.diff(confidences.indptr)
    solve: Any = solve_rows  # of NumPy's arrays
    solved = solve(
        other.factors,
        confidences.indptr,
        confidences.indices,
        confidences.data,
        confidences.data,
        weighting.ridge(counts, confidences.shape[1]),
        gramian_weight=weighting.unobserved,
        start=start,
        solver="cg" if weighting.steps else "exact",
        steps=weighting.steps or 1,
    )
    return Side(np.asarray(solved), np.zeros(len(counts), np.float32))


def objective(
    model: Factors, interactions: Interactions, weighting: Weighting, rows: np.ndarray
) -> float:
    """Return the module's objective; ``rows`` is the user of each entry."""
    seen = interactions.by_user
    w = seen.data.astype(np.float64)
    error = pair_scores(model, rows, seen.indices) - 1
    P, Q = model.users.factors, model.items.factors
    everywhere = np.sum(np.float64(P.T @ P) * np.float64(Q.T @ Q))
    n, m = seen.shape
    of_users = weighting.ridge(np.diff(seen.indptr), m)
    of_items = weighting.ridge(np.diff(interactions.by_item.indptr), n)
    penalty = squares(of_users, model.users) + squares(of_items, model.items)
    return 0.5 * float(w @ error**2 + weighting.unobserved * everywhere + penalty)
