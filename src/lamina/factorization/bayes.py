"""Ratings as biases and a product of factors, by alternating least squares that knows its doubts.

The model is that of `lamina.factorization.ratings` with ``r_ui ~ N(μ + x_u · y_i, τ)``, where
``x_u = [b_u, 1, p_u]`` and ``y_i = [1, c_i, q_i]``. Where plain alternating least squares keeps one
solution for each row, variational Bayes keeps a normal distribution, and its covariance enters the
other side's equations::

    Σ_u = (diag(1/v) + 1/τ Σ_i E[y_i y_iᵀ])⁻¹    x̄_u = Σ_u 1/τ Σ_i r_ui ȳ_i    E[xxᵀ] = Σ + x̄x̄ᵀ

So a rare item pulls less at its users than a well-known one. Prior variances v of each user column
and of item biases, and the noise τ, are fitted as well; those of item factors stay at 1/k, which
fixes the scale. No penalty has to be chosen. Each update lowers the free energy ::

    F = N/2 log 2πτ + 1/2τ Σ E[(r - r̂)²] + Σ_u KL(x_u) + Σ_i KL(y_i)    -F ≤ log p(ratings)

Source: Lim and Teh 2007, Variational Bayesian approach to movie rating prediction, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.factorization.factors import Factors, Side
from lamina.factorization.interactions import Interactions

if TYPE_CHECKING:
    from jaxtyping import Float

FIRST_NOISE = 1.0
LEAST_VARIANCE = 1e-6
NUMBERS_AT_ONCE = 1 << 18
"""Entries of the rows' matrices that are held at a time."""

USER_BIAS, ITEM_BIAS = 0, 1
"""Columns of the users' own bias, which items pin to 1, and the other way round."""


class Posterior(NamedTuple):
    """The distributions of one side's rows.

    Parameters
    ----------
    mean : array of shape (n, K)
        Their means, K = k + 2.
    moments : array of shape (n, K (K + 1) / 2)
        Upper triangles of ``E[x xᵀ]``, float32.
    """

    mean: Float[np.ndarray, "n K"]
    moments: Float[np.ndarray, "n T"]


class Prior(NamedTuple):
    """What is assumed of one side.

    Parameters
    ----------
    variance : array of shape (K,)
        v; 1 in the pinned column.
    pinned : int
        The column that is 1.
    """

    variance: Float[np.ndarray, " K"]
    pinned: int

    def fitted(self, sums: Sums, n: int, columns: Iterable[int]) -> Prior:
        """Return the prior with these columns' variances as n rows have them."""
        chosen = [column for column in columns if column != self.pinned]
        variance = self.variance.copy()
        variance[chosen] = np.maximum(sums.squares[chosen] / n, LEAST_VARIANCE)
        return self._replace(variance=variance)


class Sums(NamedTuple):
    """Sums over one side's rows, for noise, priors and the free energy."""

    fit: float
    """``Σ E[(x·y)²] - 2 r x̄·ȳ`` over ratings."""
    squares: Float[np.ndarray, " K"]
    log_determinants: float


def alternate(
    interactions: Interactions, rank: int, seed: int
) -> Iterator[tuple[Factors, dict[str, float], Memory]]:
    """Yield the model, its figures and what folding in needs after each iteration, without end.

    The figures are ``loss``, the free energy a rating, and ``noise``, the square root of τ.
    """
    by_user, by_item = interactions.by_user, interactions.by_item
    (n, m), K = by_user.shape, rank + 2
    centre = float(by_user.data.mean(dtype=np.float64))
    total = float(((by_user.data - np.float64(centre)) ** 2).sum())
    of_users, of_items = (Prior(np.ones(K), pinned) for pinned in (ITEM_BIAS, USER_BIAS))
    of_items.variance[2:] = 1 / rank
    items, noise = _first(m, rank, seed), FIRST_NOISE
    users, sums = update(by_user, centre, items, of_users, noise)
    while True:
        of_users = of_users.fitted(sums, n, range(K))
        items, sums = update(by_item, centre, users, of_items, noise)
        of_items = of_items.fitted(sums, m, [ITEM_BIAS])
        item_energy = _divergence(sums, of_items, m)
        users, sums = update(by_user, centre, items, of_users, noise)
        memory = Memory(items.moments, of_users.variance, noise)
        noise = max((total + sums.fit) / by_user.nnz, LEAST_VARIANCE)
        energy = by_user.nnz / 2 * (math.log(2 * math.pi * noise) + 1)
        energy += item_energy + _divergence(sums, of_users, n)
        found = Factors(_side(users, USER_BIAS), _side(items, ITEM_BIAS), centre)
        figures = {"loss": energy / by_user.nnz, "noise": math.sqrt(noise)}
        yield found, figures, memory


class Memory(NamedTuple):
    """What new users' factors are found with, beside the items'.

    Parameters
    ----------
    item_moments : array of shape (m, K (K + 1) / 2)
        See `Posterior`.
    user_variance : array of shape (K,)
        The users' prior.
    noise : float
        τ.
    """

    item_moments: Float[np.ndarray, "m T"]
    user_variance: Float[np.ndarray, " K"]
    noise: float


def fold_in(ratings: Any, model: Factors, memory: Memory) -> Side:
    """Return new users' side; ratings (q, m) are CSR."""
    Q, c = model.items
    items = Posterior(
        np.concatenate([np.ones((len(Q), 1)), c[:, None], Q], axis=1), memory.item_moments
    )
    prior = Prior(memory.user_variance, ITEM_BIAS)
    found, _ = update(ratings, model.mean, items, prior, memory.noise)
    return _side(found, USER_BIAS)


def update(
    ratings: Any, centre: float, other: Posterior, prior: Prior, noise: float
) -> tuple[Posterior, Sums]:
    """Return one side's distributions where the other's are fixed, and sums over its rows.

    Parameters
    ----------
    ratings : sparse array of shape (n, m)
        CSR, this side in rows.
    centre : float
        μ.
    other : Posterior
        The other side's m rows.
    prior : Prior
        This side's.
    noise : float
        τ.
    """
    from scipy.sparse import csr_array

    n, K = ratings.shape[0], len(prior.variance)
    upper = np.triu_indices(K)
    mean, moments = np.ones((n, K)), np.empty((n, len(upper[0])), np.float32)
    free = np.flatnonzero(np.arange(K) != prior.pinned)
    above, across = upper
    twice = np.where(above == across, 1.0, 2.0)
    fit, total, determinants = 0.0, np.zeros(K), 0.0
    height = max(1, NUMBERS_AT_ONCE // (K * K))
    for start in range(0, n, height):
        entries = slice(ratings.indptr[start], ratings.indptr[min(start + height, n)])
        rows = slice(start, start + height)
        indptr = ratings.indptr[start : start + height + 1] - ratings.indptr[start]
        shape = (len(indptr) - 1, ratings.shape[1])
        columns, data = ratings.indices[entries], ratings.data[entries] - np.float64(centre)
        present = csr_array((np.ones(len(columns), np.float32), columns, indptr), shape)
        packed = np.float64(present @ other.moments)
        A = np.empty((shape[0], K, K))
        A[:, above, across] = A[:, across, above] = packed
        b = csr_array((data, columns, indptr), shape) @ other.mean
        precision = A[:, free[:, None], free] / noise
        precision[:, np.arange(K - 1), np.arange(K - 1)] += 1 / prior.variance[free]
        covariance = np.linalg.inv(precision)
        right = (b - A[:, :, prior.pinned])[:, free] / noise
        mean[rows, free] = np.einsum("nij,nj->ni", covariance, right)
        second = np.zeros_like(A)
        second[:, free[:, None], free] = covariance
        second += mean[rows, :, None] * mean[rows, None, :]
        moments[rows] = own = second[:, above, across]
        fit += float(np.sum(packed * own @ twice) - 2 * np.sum(b * mean[rows]))
        total += second[:, np.arange(K), np.arange(K)].sum(axis=0)
        determinants -= float(np.linalg.slogdet(precision)[1].sum())
    return Posterior(mean, moments), Sums(fit, total, determinants)


def _first(m: int, rank: int, seed: int) -> Posterior:
    """Return items with factors drawn from their prior, and with its variance."""
    K = rank + 2
    mean = np.zeros((m, K))
    mean[:, USER_BIAS] = 1
    mean[:, 2:] = np.random.default_rng(seed).standard_normal((m, rank)) / math.sqrt(rank)
    above, across = np.triu_indices(K)
    moments = (mean[:, above] * mean[:, across]).astype(np.float32)
    moments[:, (above == across) & (above >= 2)] += 1 / rank
    return Posterior(mean, moments)


def _divergence(sums: Sums, prior: Prior, n: int) -> float:
    """Return ``Σ KL(row ‖ prior)`` over a side's n rows, the pinned column left out."""
    free = np.arange(len(prior.variance)) != prior.pinned
    v = prior.variance[free]
    inner = np.sum(sums.squares[free] / v) + n * np.sum(np.log(v)) - n * len(v)
    return 0.5 * (float(inner) - sums.log_determinants)


def _side(posterior: Posterior, bias: int) -> Side:
    mean = posterior.mean.astype(np.float32)
    return Side(np.ascontiguousarray(mean[:, 2:]), np.ascontiguousarray(mean[:, bias]))
