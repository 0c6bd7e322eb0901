"""Spectra: what a weight matrix's singular values say of it.

With ``σ₁ ≥ σ₂ ≥ …`` the singular values of W (m, k) and ``λ_i = σ_i²`` the eigenvalues of WᵀW::

    stable rank      ‖W‖²_F / σ₁²                     how many directions carry the weight
    effective rank   exp(-Σ p_i ln p_i), p = σ / Σσ   the same, by entropy
    condition        σ₁ / σ_min
    tail exponent    α of p(λ) ∝ λ^-α for λ ≥ λ_min   heavy tails: correlations that were learned

An exponent is fitted by maximum likelihood, ``α = 1 + n / Σ ln(λ_i / λ_min)``, with the λ_min whose
fit has the least Kolmogorov-Smirnov distance D to the eigenvalues above it. Well trained layers
were seen to have α between 2 and 6; random ones have none, which shows as a large α or D.

Sources: Rudelson and Vershynin 2007 (stable rank); Roy and Vetterli 2007 (effective rank); Clauset,
Shalizi and Newman 2009, equations 3.1 and 3.9 (the fit); Martin and Mahoney 2021, Implicit
Self-Regularization in Deep Neural Networks (tails of weight matrices, the WeightWatcher
definitions); Marchenko and Pastur 1967 (the law of random matrices); Halko, Martinsson and Tropp
2011, algorithm 4.4 (randomised values) and lemma 4.1 (their error).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.errors import InputError, check_choice

if TYPE_CHECKING:
    from jaxtyping import Float

METHODS = ("auto", "exact", "randomized")
LARGE = 1024
"""The lesser side from which ``"auto"`` takes the randomised method."""

LEADING, OVERSAMPLING, POWER_ITERATIONS = 64, 16, 2
PROBES, PROBE_POWERS = 10, 3
FEWEST_FOR_A_TAIL = 10
"""Eigenvalues that a tail is fitted to at least."""


class Tail(NamedTuple):
    """A power law fitted to the greatest eigenvalues.

    Parameters
    ----------
    exponent : float
        α.
    start : float
        λ_min, from which on the law holds.
    distance : float
        D, the Kolmogorov-Smirnov distance of the fit: 0 is perfect.
    count : int
        How many eigenvalues it is fitted to.
    """

    exponent: float
    start: float
    distance: float
    count: int


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The singular values of one matrix and what follows from them.

    Parameters
    ----------
    path : str
        Where the matrix is in the network: ``dense_0/W``.
    shape : tuple (m, k)
        Its shape as a matrix; a convolution's is its patch matrix, window and channels joined.
    values : array of shape (r,), float64
        Singular values, greatest first: all min(m, k), or the leading ones.
    frobenius : float
        ``√Σ w²``, of the whole matrix.
    zeros : float
        The share of entries that are exactly zero.
    moved : float or None
        ``‖W - W₀‖_F / ‖W₀‖_F`` where initial values are known.
    missed : float
        A bound on the spectral norm of what the values leave out, which holds with probability
        1 - 10⁻¹⁰; 0 where all were computed.
    """

    path: str
    shape: tuple[int, int]
    values: Float[np.ndarray, " r"]
    frobenius: float
    zeros: float
    moved: float | None = None
    missed: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether all singular values are there."""
        return len(self.values) == min(self.shape)

    @property
    def error(self) -> Float[np.ndarray, " r"]:
        """How far each value may be below the true one: ``√(σ² + missed²) - σ``."""
        return np.hypot(self.values, self.missed) - self.values

    @property
    def spectral(self) -> float:
        """σ₁, the spectral norm."""
        return float(self.values[0])

    @property
    def stable_rank(self) -> float:
        """``‖W‖²_F / σ₁²``; 0 for a matrix of zeros."""
        return (self.frobenius / self.spectral) ** 2 if self.spectral else 0.0

    @property
    def effective_rank(self) -> float | None:
        """``exp(-Σ p ln p)`` with ``p = σ / Σσ``; None unless all values are there."""
        total = self.values.sum()
        if not self.whole:
            return None
        if not total:
            return 0.0
        p = self.values[self.values > 0] / total
        return float(np.exp(-np.sum(p * np.log(p))))

    @property
    def condition(self) -> float | None:
        """``σ₁ / σ_min``, infinite for a matrix without full rank; None unless all are there."""
        if not self.whole:
            return None
        return float(self.spectral / self.values[-1]) if self.values[-1] > 0 else math.inf

    @property
    def tail(self) -> Tail | None:
        """The power law of the greatest eigenvalues; None for few of them, or a part of all."""
        return fit_tail(self.values**2) if self.whole else None


def spectra(
    weights: Any,
    initial: dict[str, Any] | None = None,
    method: str = "auto",
    prefix: str = "",
) -> Iterator[Spectrum]:
    """Yield the spectrum of every matrix in nested weights, in the order of the network.

    Parameters
    ----------
    weights : fitted estimator, or nested dict of arrays
        Whose matrices, such as ``estimator.weights_``; vectors are left out.
    initial : nested dict of arrays, optional
        The same before training.
    method : {"auto", "exact", "randomized"}
        How singular values are found; auto is exact up to a lesser side of 1024.
    prefix : str
        What stands before the paths.

    Examples
    --------
    >>> [s.spectral for s in spectra({"dense_0": {"W": np.diag([2.0, 1.0])}})]
    [2.0]
    """
    weights = getattr(weights, "weights_", weights)
    for name, value in weights.items():
        before = None if initial is None else initial[name]
        if isinstance(value, dict):
            yield from spectra(value, before, method, f"{prefix}{name}/")
        elif np.ndim(value) >= 2:
            yield spectrum(value, before, method, prefix + name)


def spectrum(
    W: Float[np.ndarray, "..."],
    initial: Float[np.ndarray, "..."] | None = None,
    method: str = "auto",
    path: str = "W",
) -> Spectrum:
    """Return the spectrum of one weight array.

    Parameters
    ----------
    W : array of shape (m, k), or (i, j, c, k) for a convolution
        All axes but the last are joined.
    initial : array of the same shape, optional
        The same before training.
    method : {"auto", "exact", "randomized"}
        See `spectra`.
    path : str
        The matrix's name.

    Raises
    ------
    InputError
        For an empty array, or one with entries that are not finite.
    """
    check_choice("method", method, METHODS)
    matrix = _as_matrix(path, W)
    moved = None
    if initial is not None:
        start = _as_matrix(path, initial)
        moved = float(np.linalg.norm(matrix - start) / max(np.linalg.norm(start), 1e-300))
    lesser = min(matrix.shape)
    if method == "randomized" or (method == "auto" and lesser > LARGE):
        values, missed = leading_singular_values(matrix, min(LEADING, lesser))
    else:
        values, missed = singular_values(matrix), 0.0
    frobenius, zeros = float(np.linalg.norm(matrix)), float(np.mean(matrix == 0))
    return Spectrum(path, matrix.shape, values, frobenius, zeros, moved, missed)


def _as_matrix(path: str, W: Any) -> np.ndarray:
    W = np.asarray(W)
    if W.ndim < 2 or not W.size or not np.isfinite(W).all():
        got = "entries that are not finite" if W.ndim > 1 and W.size else f"shape {W.shape}"
        raise InputError(
            f"{path} expected a matrix of finite numbers, got one with {got}. Only trained "
            "matrices have a spectrum."
        )
    return W.reshape(-1, W.shape[-1])


def singular_values(W: Float[np.ndarray, "m k"]) -> Float[np.ndarray, " r"]:
    """Return all singular values, greatest first, in float64.

    They are the roots of the eigenvalues of the lesser Gramian: a third of the time of an SVD. In
    float64 that loses what is below 1e-8 σ₁, which float32 weights do not have either.
    """
    W = np.asarray(W, np.float64)
    gramian = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gramian)[::-1], 0))


def leading_singular_values(
    W: Float[np.ndarray, "m k"], count: int, seed: int = 0
) -> tuple[Float[np.ndarray, " count"], float]:
    """Return the greatest singular values by random projection, and a bound on what they miss.

    ``Q`` is an orthonormal basis of the range of ``(W Wᵀ)^q W Ω`` for a random Ω. With the rest
    ``E = W - Q Qᵀ W``, ``WᵀW = (QᵀW)ᵀ(QᵀW) + EᵀE``; so each squared value of ``Qᵀ W`` is at most
    ``‖E‖²`` below that of W (Weyl). Of ``‖(EᵀE)³‖`` ten random vectors ω give the bound
    ``10 √(2/π) max ‖(EᵀE)³ ω‖`` with probability 1 - 10⁻¹⁰, and its sixth root bounds ``‖E‖``.

    Parameters
    ----------
    W : array of shape (m, k)
        The matrix; computed in its own dtype.
    count : int
        How many values.
    seed : int
        Of Ω.
    """
    rng = np.random.default_rng(seed)
    width = min(count + OVERSAMPLING, *W.shape)
    Q = np.linalg.qr(W @ rng.standard_normal((W.shape[1], width), W.dtype))[0]
    for _ in range(POWER_ITERATIONS):
        Q = np.linalg.qr(W @ np.linalg.qr(W.T @ Q)[0])[0]
    projected = Q.T @ W
    values = singular_values(projected)[:count]
    scale = max(float(values[0]), 1e-300)
    probes = rng.standard_normal((W.shape[1], PROBES), W.dtype)
    for _ in range(PROBE_POWERS):
        rest = (W @ probes - Q @ (projected @ probes)) / scale
        probes = (W.T @ rest - projected.T @ (Q.T @ rest)) / scale
    longest = 10 * math.sqrt(2 / math.pi) * float(np.linalg.norm(probes, axis=0).max())
    return values, scale * longest ** (1 / (2 * PROBE_POWERS))


def fit_tail(eigenvalues: Float[np.ndarray, " n"]) -> Tail | None:
    """Return the power law that fits the greatest eigenvalues best; None for too few of them.

    Parameters
    ----------
    eigenvalues : array of shape (n,)
        In any order; those that are zero, to rounding, are left out.
    """
    ordered = np.sort(np.asarray(eigenvalues, np.float64))
    ordered = ordered[ordered > 1e-14 * ordered[-1]] if len(ordered) else ordered
    n = len(ordered)
    if n < FEWEST_FOR_A_TAIL or ordered[0] == ordered[-1]:
        return None
    logs = np.log(ordered)
    tails = np.cumsum(logs[::-1])[::-1]  # Σ ln λ_j over j >= i
    best: Tail | None = None
    for i in range(n - FEWEST_FOR_A_TAIL + 1):
        count = n - i
        spread = tails[i] - count * logs[i]
        if spread <= 0:
            continue
        exponent = 1 + count / spread
        law = 1 - np.exp((1 - exponent) * (logs[i:] - logs[i]))
        steps = np.arange(count + 1) / count
        distance = float(max((law - steps[:-1]).max(), (steps[1:] - law).max()))
        if best is None or distance < best.distance:
            best = Tail(float(exponent), float(ordered[i]), distance, count)
    return best


def random_edges(shape: tuple[int, int], frobenius: float) -> tuple[float, float]:
    """Return the least and greatest singular value that chance gives a matrix of this size.

    With independent entries of variance ``s² = ‖W‖²_F / (m k)``: ``s (√max ∓ √min)`` of m and k, as
    both grow (Marchenko and Pastur 1967). Values above it are what training has put there.
    """
    greater, lesser = max(shape), min(shape)
    s = frobenius / math.sqrt(greater * lesser)
    return s * (math.sqrt(greater) - math.sqrt(lesser)), s * (
        math.sqrt(greater) + math.sqrt(lesser)
    )


def random_density(
    values: Float[np.ndarray, " n"], shape: tuple[int, int], frobenius: float
) -> Float[np.ndarray, " n"]:
    """Return the density of singular values that chance gives a matrix of this size.

    With a, b the edges of `random_edges`, p the lesser side and ``s² = ‖W‖²_F / (m k)``::

        f(σ) = √((b² - σ²)(σ² - a²)) / (π s² p σ)    for a ≤ σ ≤ b, else 0

    Parameters
    ----------
    values : array of shape (n,)
        Where: σ > 0.
    shape : tuple (m, k)
        The matrix's.
    frobenius : float
        Its norm.

    Notes
    -----
    Marchenko and Pastur 1967, whose λ is ``σ² / max(m, k)``; ``∫ f = 1``.
    """
    low, high = random_edges(shape, frobenius)
    variance = frobenius**2 / math.prod(shape)
    if variance == 0:
        return np.zeros(len(values))
    squares = np.asarray(values, np.float64) ** 2
    inside = np.maximum((high**2 - squares) * (squares - low**2), 0)
    return np.sqrt(inside) / (math.pi * variance * min(shape) * np.sqrt(squares))
