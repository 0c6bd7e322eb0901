"""Regularised least squares for many rows at once: half an iteration of alternating least squares.

Each row u of X minimises, over the entries i that it has in a sparse matrix, ::

    Σ_i w_ui (x_u·y_i)² − 2 Σ_i r_ui (x_u·y_i) + a₀ x_uᵀ(YᵀY)x_u + λ_u Σ_j c_j x_uj²

and so solves its normal equations::

    (a₀ YᵀY + Σ_i w_ui y_i y_iᵀ + λ_u diag(c)) x_u = Σ_i r_ui y_i

With a₀ = 0, w = 1 and r the ratings this is explicit feedback; with a₀ = 1, w = confidence − 1 and
r = confidence it is implicit feedback, where every absent entry counts as a zero of confidence 1.
A bias is a column of ones in Y, with its own c_j.

Sources: Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit feedback datasets",
equation 4; Takács, Pilászy and Tikk 2011, "Applications of the conjugate gradient method for
implicit feedback collaborative filtering", for few steps from the last iteration's solution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_choice, check_number

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

SOLVERS = ("cg", "exact")


def solve_rows(
    Y: Float[Array, "k d"],
    indptr: Int[Array, " n+1"],
    indices: Int[Array, " e"],
    weight: Float[Array, " e"] | None,
    rhs: Float[Array, " e"],
    ridge: Float[Array, " n"],
    gramian_weight: float = 0.0,
    start: Float[Array, "n d"] | None = None,
    column_ridge: Float[Array, " d"] | None = None,
    solver: str = "cg",
    steps: int = 3,
) -> Float[Array, "n d"]:
    """Return X, whose row u solves ``(a₀ YᵀY + Σ w y yᵀ + λ_u diag(c)) x_u = Σ r y``.

    Parameters
    ----------
    Y : array of shape (k, d)
        The factors that stay fixed, one a row.
    indptr : int array of shape (n + 1,)
        Row u has the entries from ``indptr[u]`` up to ``indptr[u + 1]``.
    indices : int array of shape (e,)
        The row of Y that each entry is about; none twice in a row of X.
    weight : array of shape (e,), or None
        w, at least 0; None is 1 everywhere.
    rhs : array of shape (e,)
        r.
    ridge : array of shape (n,)
        λ, at least 0.
    gramian_weight : float
        a₀, at least 0.
    start : array of shape (n, d), or None
        Where conjugate gradients start; None is zeros.
    column_ridge : array of shape (d,), or None
        c, at least 0; None is 1 everywhere.
    solver : {"cg", "exact"}
        Conjugate gradients, ``steps`` of them, or a Cholesky factorisation for each row.
    steps : int
        How many conjugate gradient steps.

    Returns
    -------
    float32 array of shape (n, d)
        Zero in rows without entries.

    Notes
    -----
    The structure of the sparse matrix is read on the host, so this is not for use inside ``jit``.
    """
    check_choice("solver", solver, SOLVERS)
    check_number("steps", steps, at_least=0, whole=True)
    Y = np.asarray(Y, np.float64)
    indptr, indices = np.asarray(indptr), np.asarray(indices)
    n, d = len(indptr) - 1, Y.shape[1]
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(Y):
        raise InputError(f"indices expected rows of Y, from 0 to {len(Y) - 1}, got others.")
    w = np.ones(len(indices)) if weight is None else np.asarray(weight, np.float64)
    r, ridge = np.asarray(rhs, np.float64), np.asarray(ridge, np.float64)
    c = np.ones(d) if column_ridge is None else np.asarray(column_ridge, np.float64)
    X = np.zeros((n, d)) if start is None else np.array(start, np.float64)
    shared = gramian_weight * Y.T @ Y
    for u in range(n):
        entries = slice(indptr[u], indptr[u + 1])
        y = Y[indices[entries]]
        A = shared + (y.T * w[entries]) @ y + np.diag(ridge[u] * c)
        if not len(y):
            X[u] = 0
        elif solver == "exact":
            X[u] = np.linalg.solve(A, y.T @ r[entries])
        else:
            X[u] = _descend(A, y.T @ r[entries], X[u], steps)
    return jnp.asarray(X, jnp.float32)


def _descend(A, b, x, steps):
    """Take steps of conjugate gradients towards ``A x = b``, preconditioned by A's diagonal."""
    scale = 1 / np.maximum(np.diag(A), 1e-30)
    residual = b - A @ x
    direction = scale * residual
    size = residual @ direction
    for _ in range(steps):
        if size == 0:
            break
        image = A @ direction
        length = size / (direction @ image)
        x, residual = x + length * direction, residual - length * image
        before, size = size, residual @ (scale * residual)
        direction = scale * residual + size / before * direction
    return x
