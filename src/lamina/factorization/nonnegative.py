"""Nonnegative matrix factorisation: ``X ≈ W H`` with no entry below zero.

Two losses, each with the updates that suit it. The least squares loss, by hierarchical alternating
least squares (one component at a time, exactly, the others at rest)::

    ½‖X - W H‖²           H_j ← max(0, H_j + (C_j - G_j H) / G_jj),  C = Wᵀ X,  G = Wᵀ W

and the generalised Kullback-Leibler divergence, by multiplicative updates, which count only where
``x > 0``::

    Σ x ln(x / wh) - x + wh    H ← H ∘ (Wᵀ R) / (Wᵀ 1),  R = X / (W H)

W is updated the same way, transposed. A penalty adds ``l1 Σ|H| + ½ l2 ‖H‖²``: l1 is taken from C or
added to the denominator, l2 is added to the diagonal of G or, times H, to the denominator.

Sparse X stays sparse: W H is computed at its entries only.

Sources: Cichocki and Phan 2009, Fast local algorithms for large scale nonnegative matrix and tensor
factorizations (HALS); Lee and Seung 2001, Algorithms for non-negative matrix factorization;
Boutsidis and Gallopoulos 2008, SVD based initialization (NNDSVD).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.factorization.truncated import truncated_svd

if TYPE_CHECKING:
    from jaxtyping import Float

    Factor = Float[np.ndarray, "k p"]

CHECK_EVERY = 10
"""Iterations between two looks at the objective."""

BLOCK = 8192
"""Numbers of a factor that a sweep takes at once: they stay in a core's cache, and a product with
them is one that BLAS does not spread over threads, which for so little work would cost more."""

ROUNDING = 1e-6
"""The share of a factor's largest entry below which a singular vector's entry counts as zero."""

SMALLEST = 1e-30
"""What W H and denominators are at least; above the smallest float32."""


class Penalty(NamedTuple):
    """``l1 Σ|F| + ½ l2 ‖F‖²`` of a factor F ≥ 0."""

    l1: float = 0.0
    l2: float = 0.0

    def __call__(self, F: np.ndarray) -> float:
        """Return the penalty of F."""
        return self.l1 * float(F.sum()) + self.l2 * float(np.vdot(F, F)) / 2


class Factors(NamedTuple):
    """``X ≈ Wt.T @ H``, the iterations, and the objective at the start and at each look."""

    Wt: Float[np.ndarray, "k n"]
    H: Float[np.ndarray, "k m"]
    iterations: int
    objectives: list[float]


class LeastSquares:
    """``½‖X - W H‖²`` and a sweep of HALS."""

    def __init__(self, X: Any):
        self.X, self.transpose = X, X.T
        entries = X if isinstance(X, np.ndarray) else X.data
        self.square = float(np.vdot(entries, entries))

    def iterate(
        self, Wt: Factor, H: Factor, penalties: tuple[Penalty, Penalty], *, look: bool
    ) -> tuple[Factor, Factor, float]:
        """Return Wᵀ and H after a sweep of each, and the loss if it is looked at."""
        Wt = _sweep(Wt, self._right(H), H @ H.T, penalties[0])
        C, G = self._left(Wt), Wt @ Wt.T
        H = _sweep(H, C, G, penalties[1])
        return Wt, H, self._value(C, G, H) if look else np.nan

    def value(self, Wt: Factor, H: Factor) -> float:
        """Return the loss."""
        return self._value(self._left(Wt), Wt @ Wt.T, H)

    def _value(self, C: Factor, G: np.ndarray, H: Factor) -> float:
        inside = float(np.vdot(G, H @ H.T)) / 2 - float(np.vdot(C, H))
        return max(self.square / 2 + inside, 0.0)

    def _left(self, Wt: Factor) -> Factor:
        """Return ``Wᵀ X``."""
        return Wt @ self.X if isinstance(self.X, np.ndarray) else (self.transpose @ Wt.T).T

    def _right(self, H: Factor) -> Factor:
        """Return ``H Xᵀ``."""
        return H @ self.X.T if isinstance(self.X, np.ndarray) else (self.X @ H.T).T

    def left_solver(self, H: Factor, penalty: Penalty) -> tuple[Factor, Callable]:
        """Return a start for Wᵀ and the update of some of its columns, H at rest."""
        C, G = self._right(H), H @ H.T
        start = np.maximum(C.sum(axis=0), 0) / max(float(G.sum()), SMALLEST)
        return (
            np.tile(start, (len(H), 1)),
            lambda F, columns: _sweep(F, C[:, columns], G, penalty),
        )


class KullbackLeibler:
    """``Σ x ln(x / wh) - x + wh`` and multiplicative updates."""

    def __init__(self, X: Any):
        self.X = X
        entries = X if isinstance(X, np.ndarray) else X.data
        positive = entries[entries > 0]
        self.constant = float(positive @ np.log(positive) - positive.sum())

    def iterate(
        self, Wt: Factor, H: Factor, penalties: tuple[Penalty, Penalty], *, look: bool
    ) -> tuple[Factor, Factor, float]:
        """Return Wᵀ and H after an update of each, and the loss if it is looked at."""
        Wt = _scaled(Wt, (_ratio(self.X, Wt, H) @ H.T).T, H, penalties[0])
        H = _scaled(H, (_ratio(self.X, Wt, H).T @ Wt.T).T, Wt, penalties[1])
        return Wt, H, self.value(Wt, H) if look else np.nan

    def value(self, Wt: Factor, H: Factor) -> float:
        """Return the loss."""
        products = at_entries(self.X, Wt, H)
        entries = self.X if isinstance(self.X, np.ndarray) else self.X.data
        logs = float(np.vdot(entries, np.log(np.maximum(products, SMALLEST))))
        return max(self.constant - logs + float(Wt.sum(axis=1) @ H.sum(axis=1)), 0.0)

    def left_solver(self, H: Factor, penalty: Penalty) -> tuple[Factor, Callable]:
        """Return a start for Wᵀ and the update of some of its columns, H at rest."""
        start = np.asarray(self.X.sum(axis=1)).ravel() / max(float(H.sum()), SMALLEST)

        def update(F: Factor, columns: np.ndarray) -> Factor:
            X = self.X if len(columns) == self.X.shape[0] else self.X[columns]
            return _scaled(F, (_ratio(X, F, H) @ H.T).T, H, penalty)

        return np.tile(start.astype(H.dtype), (len(H), 1)), update


LOSSES = {"frobenius": LeastSquares, "kullback-leibler": KullbackLeibler}


def factorize(
    loss: LeastSquares | KullbackLeibler,
    Wt: Factor,
    H: Factor,
    penalties: tuple[Penalty, Penalty],
    *,
    max_iter: int,
    tol: float,
) -> Factors:
    """Alternate updates of W and H until the objective hardly falls.

    Parameters
    ----------
    loss : LeastSquares or KullbackLeibler
        Of X.
    Wt, H : array of shape (k, n), (k, m)
        Where to start; left as they are.
    penalties : two Penalty
        Of W and of H.
    max_iter : int
        The most iterations, each an update of W and then of H.
    tol : float
        Stop when ten iterations took less than this share of the first objective off it.
    """
    objectives = [loss.value(Wt, H) + penalties[0](Wt) + penalties[1](H)]
    for iteration in range(1, max_iter + 1):
        look = iteration % CHECK_EVERY == 0 or iteration == max_iter
        Wt, H, found = loss.iterate(Wt, H, penalties, look=look)
        if look:
            objectives.append(found + penalties[0](Wt) + penalties[1](H))
            if objectives[-2] - objectives[-1] < tol * objectives[0]:
                break
    return Factors(Wt, H, iteration, objectives)


def fold_in(
    loss: LeastSquares | KullbackLeibler,
    H: Factor,
    penalty: Penalty,
    *,
    max_iter: int,
    tol: float,
) -> Factor:
    """Return the Wᵀ of the rows of X for a given H, a convex problem for each row.

    A row's answer is its own: it depends on no other row, and stops when ten updates changed it by
    less than ``tol`` of its largest entry.
    """
    Wt, update = loss.left_solver(H, penalty)
    open_rows = np.arange(Wt.shape[1])
    for _ in range(0, max_iter, CHECK_EVERY):
        before = F = Wt[:, open_rows]
        for _ in range(CHECK_EVERY):
            F = update(F, open_rows)
        Wt[:, open_rows] = F
        open_rows = open_rows[np.abs(F - before).max(axis=0) > tol * F.max(axis=0)]
        if not len(open_rows):
            break
    return Wt


def initial_factors(X: Any, k: int, kind: str, rng: np.random.Generator) -> tuple[Factor, Factor]:
    """Return where to start, ``Wt`` (k, n) and ``H`` (k, m).

    Parameters
    ----------
    X : array or CSR matrix of shape (n, m)
        Without entries below zero.
    k : int
        Components; for nndsvd at most ``min(n, m)``.
    kind : {"nndsvd", "nndsvda", "random"}
        The positive parts of singular vectors; the same with zeros filled up by the mean of X, for
        updates that never leave a zero; or Gaussian numbers without their sign, scaled to X.
    rng : numpy.random.Generator
        Draws.
    """
    n, m = X.shape
    mean = float(X.sum()) / (n * m)
    if kind == "random":
        scale = np.sqrt(mean / k)
        Wt, H = (np.abs(rng.standard_normal((k, size))) * scale for size in (n, m))
        return Wt.astype(X.dtype), H.astype(X.dtype)
    U, s, Vt = truncated_svd(X, k, rng)
    Wt, H = np.zeros((k, n), X.dtype), np.zeros((k, m), X.dtype)
    for j in range(k):
        # Of u vᵀ, the larger of its two nonnegative parts, u₊ v₊ᵀ and u₋ v₋ᵀ.
        parts = [(np.maximum(sign * U[:, j], 0), np.maximum(sign * Vt[j], 0)) for sign in (1, -1)]
        norms = [(np.linalg.norm(u), np.linalg.norm(v)) for u, v in parts]
        best = int(norms[1][0] * norms[1][1] > norms[0][0] * norms[0][1])
        (u, v), (u_norm, v_norm) = parts[best], norms[best]
        if u_norm and v_norm:
            root = np.sqrt(s[j] * u_norm * v_norm)
            Wt[j], H[j] = root * u / u_norm, root * v / v_norm
    for factor in (Wt, H):
        factor[factor < ROUNDING * factor.max()] = mean if kind == "nndsvda" else 0
    return Wt, H


def at_entries(X: Any, Wt: Factor, H: Factor) -> np.ndarray:
    """Return ``W H``, all of it for an array, and for CSR at its stored entries in their order."""
    if isinstance(X, np.ndarray):
        return Wt.T @ H
    W, Ht = np.ascontiguousarray(Wt.T), np.ascontiguousarray(H.T)
    found = np.empty(len(X.data), H.dtype)
    edges = X.indptr.tolist()
    for row, (start, end) in enumerate(itertools.pairwise(edges)):
        np.dot(Ht.take(X.indices[start:end], axis=0), W[row], out=found[start:end])
    return found


def _sweep(F: Factor, C: Factor, G: np.ndarray, penalty: Penalty) -> Factor:
    """Return F after each component's turn: the least of ``½ Fᵀ G F - Cᵀ F`` + penalty in it.

    That is ``F_j ← max(0, (C_j - l1 - Σ_{i≠j} G_ji F_i) / (G_jj + l2))``. A component whose
    denominator is 0, since the other factor's is all zeros, stays, and so may bring that one back.
    """
    curvatures = G.diagonal() + np.asarray(penalty.l2, G.dtype)
    moves = curvatures > 0
    scale = np.divide(1, curvatures, out=np.zeros_like(curvatures), where=moves)[:, None]
    others = G * scale
    np.fill_diagonal(others, 0)
    swept = np.empty(F.shape, F.dtype)
    width = max(BLOCK // len(G), 1)
    for start in range(0, F.shape[1], width):
        columns = slice(start, start + width)
        f = F[:, columns].copy(order="C")
        alone = np.multiply(C[:, columns], scale, out=np.empty_like(f))
        if penalty.l1:
            alone -= np.asarray(penalty.l1, G.dtype) * scale
        found = np.empty_like(f[0])
        for j in np.flatnonzero(moves).tolist():
            np.dot(others[j], f, out=found)
            np.subtract(alone[j], found, out=found)
            np.maximum(found, 0, out=f[j])
        swept[:, columns] = f
    return swept


def _scaled(F: Factor, above: Factor, other: Factor, penalty: Penalty) -> Factor:
    below = other.sum(axis=1)[:, None] + penalty.l1 + penalty.l2 * F
    return (F * above / np.maximum(below, SMALLEST)).astype(F.dtype, copy=False)


def _ratio(X: Any, Wt: Factor, H: Factor) -> Any:
    """Return ``X / (W H)`` where X is stored."""
    products = np.maximum(at_entries(X, Wt, H), np.asarray(SMALLEST, H.dtype))
    if isinstance(X, np.ndarray):
        return X / products
    return type(X)((X.data / products, X.indices, X.indptr), shape=X.shape)
