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

What all rows share is made diagonal first: with T such that ``Tᵀ(a₀ YᵀY)T = diag(p)`` and
``Tᵀ diag(c) T = diag(q)``, the rows ``z = T⁻¹ x`` and ``Tᵀ y`` have ::

    (diag(p + λ_u q) + Σ_i w_ui y_i y_iᵀ) z_u = Σ_i r_ui y_i

so a step of conjugate gradients costs two products with the row's own factors and none with YᵀY,
and is preconditioned by the diagonal of the whole. On a CPU ``native/least_squares.cc`` solves
these; what follows is its reference, and what runs everywhere else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.kernels import native
from lamina.kernels.split_rows import SplitRows, each_own, fetched, split_table
from lamina.placement import devices_in_use, gathered

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

SOLVERS = ("cg", "exact")
CHUNK_ENTRIES = {"cpu": 1 << 13}  # factors held at a time: what fits a CPU's cache,
OTHER_CHUNK_ENTRIES = 1 << 18  # and what keeps an accelerator busy
LEAST_WIDTH = 8
CONVERGED = 1e-14  # of the first residual's square
LEAST_SHARE = 1e-7  # of the largest eigenvalue: what is less is rounding


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
    Arrays that are on the device already are not copied there again. A row whose system is singular
    gets one of its solutions, or what is not a number. Over several devices (`lamina.placement`)
    each holds and solves rows of its own, the Gramian is summed over them, and X is NumPy's.
    """
    check_choice("solver", solver, SOLVERS)
    check_number("steps", steps, at_least=0, whole=True)
    starts = np.asarray(indptr)
    n, (k, d) = len(starts) - 1, Y.shape
    _check_structure(starts, indices, k)
    e = indices.shape
    _check_shape("weight", weight, e)
    _check_shape("rhs", rhs, e)
    _check_shape("ridge", ridge, (n,))
    _check_shape("start", start, (n, d))
    _check_shape("column_ridge", column_ridge, (d,))
    split = devices_in_use() > 1
    made: Any = np.asarray if split else jnp.asarray
    Y, rhs, ridge = (made(array, np.float32) for array in (Y, rhs, ridge))
    weight = None if weight is None else made(weight, np.float32)
    start = None if start is None else made(start, np.float32)
    indices = made(indices, np.int32)
    if split:
        Y, start = split_table(Y), None if start is None else split_table(start)
    shared = _shared(Y, ridge, gramian_weight, column_ridge)
    if shared.basis is not None:
        Y = _product(Y, shared.basis.T)
        start = None if start is None else _product(start, shared.basis.inverse.T)
    p, q = (made(array, np.float32) for array in (shared.p, shared.q))
    if split:
        solve: Any = _solve_split
    else:
        solve = native.solve_diagonal if native.is_active() else _solve_diagonal
    X = solve(Y, starts, indices, weight, rhs, ridge, p, q, start, solver, int(steps))
    X = X if shared.basis is None else _product(X, shared.basis.T.T)
    found: Any = gathered(X)[:n] if split else X
    return found


def _check_structure(indptr, indices, k):
    sound = indptr.ndim == 1 and len(indptr) > 0 and indptr[0] == 0
    if not (sound and indptr[-1] == len(indices) and (np.diff(indptr) >= 0).all()):
        raise InputError(
            "indptr expected ascending numbers from 0 to the number of entries "
            f"({len(indices)}), got others. Take it and indices from one CSR matrix."
        )
    if isinstance(indices, np.ndarray) and len(indices):
        least, most = indices.min(), indices.max()
        if least < 0 or most >= k:
            raise InputError(f"indices expected rows of Y, 0 to {k - 1}, got {least} to {most}.")


def _check_shape(name, array, shape):
    if array is not None and np.shape(array) != shape:
        raise InputError(f"{name} expected shape {shape}, got {np.shape(array)}.")


class _Basis(NamedTuple):
    T: np.ndarray
    inverse: np.ndarray


class _Shared(NamedTuple):
    """What all rows share, made diagonal by ``basis``; None is the identity."""

    basis: _Basis | None
    p: np.ndarray
    q: np.ndarray


def _shared(Y, ridge, gramian_weight, column_ridge) -> _Shared:
    """Return T with ``Tᵀ(a₀ YᵀY)T = diag(p)`` and ``Tᵀ diag(c) T = diag(q)``.

    With one c for all columns T is orthogonal, the eigenvectors of YᵀY. With several, both are the
    generalised eigenvectors of diag(c) and ``M = a₀ YᵀY + τ diag(c)``, τ the mean ridge: then
    ``TᵀMT`` is the identity and p = 1 − τ q.
    """
    d = Y.shape[1]
    c = np.ones(d) if column_ridge is None else np.asarray(column_ridge, np.float64)
    if gramian_weight == 0:
        return _Shared(None, np.zeros(d), c)
    gramian = gramian_weight * np.float64(gathered(_product(Y.T, Y)))
    if not np.isfinite(gramian).all():  # then so is every row, and no basis makes it better
        return _Shared(None, np.full(d, np.nan), c)
    if (c == c[:1]).all():
        values, T = np.linalg.eigh(gramian)
        return _Shared(_Basis(T, T.T), np.maximum(values, 0), c)
    tau = float(jnp.mean(ridge)) or 1.0
    M = gramian + tau * np.diag(c)
    scale = np.sqrt(np.where(np.diag(M) > 0, np.diag(M), 1))
    values, V = np.linalg.eigh(M / np.outer(scale, scale))
    root = np.sqrt(np.maximum(values, LEAST_SHARE * values[-1]))
    whitening = V / np.outer(scale, root)
    q, R = np.linalg.eigh(whitening.T @ (c[:, None] * whitening))
    q = np.maximum(q, 0)
    inverse = R.T @ (np.outer(root, scale) * V.T)
    return _Shared(_Basis(whitening @ R, inverse), np.maximum(1 - tau * q, 0), q)


@jax.jit
def _product(A, B):
    return jnp.matmul(A, B.astype(A.dtype), precision="highest")


def _solve_diagonal(Y, indptr, indices, weight, rhs, ridge, p, q, start, solver, steps):
    """Return X, whose row u solves ``(diag(p + λ_u q) + Σ w y yᵀ) x_u = Σ r y``.

    Rows with about as many entries are solved together, as one batch of matrices padded with zeros
    to a power of two, so there are few programs; and no more of them at a time than memory allows.
    """
    counts = np.diff(indptr)
    order = np.argsort(counts, kind="stable")
    X = jnp.zeros((len(counts), Y.shape[1]), jnp.float32)
    most = CHUNK_ENTRIES.get(jax.default_backend(), OTHER_CHUNK_ENTRIES)
    rows = _Rows(*map(jnp.asarray, (order.astype(np.int32), indptr.astype(np.int32))))
    first, width = int(np.searchsorted(counts[order], 1)), LEAST_WIDTH
    while first < len(counts):
        last = int(np.searchsorted(counts[order], width, side="right"))
        if first < last:
            values = Y, indices, weight, rhs, ridge, p, q, start
            height = max(1, most // width)
            X = _solve_bucket(X, rows, values, first, last, steps, height, width, solver)
        first, width = last, 2 * width
    return X


def _solve_split(Y, indptr, indices, weight, rhs, ridge, p, q, start, solver, steps):
    """Do what `_solve_diagonal` does, each device for the rows that it has."""
    split = SplitRows.of(indptr)
    parts, each = split.counts.shape
    order, counts = np.argsort(split.counts, axis=1, kind="stable"), np.sort(split.counts, axis=1)
    X = split_table(np.zeros((parts * each, Y.shape[1]), np.float32))
    rows = _Rows(*(split_table(np.int32(array.ravel())) for array in (order, split.indptr)))
    values = Y, *map(split.entries, (indices, weight, rhs)), split_table(ridge), p, q, start
    most = CHUNK_ENTRIES.get(jax.default_backend(), OTHER_CHUNK_ENTRIES) // parts

    def with_at_most(entries):
        return np.array([np.searchsorted(c, entries, side="right") for c in counts], np.int32)

    first, width = with_at_most(0), LEAST_WIDTH
    while (first < each).any():
        last = with_at_most(width)
        height = max(1, most // width)
        chunks = np.max(-((first - last) // height))
        if chunks:
            ends = split_table(first), split_table(last)
            X = _solve_split_bucket(X, rows, values, *ends, chunks, steps, height, width, solver)
        first, width = last, 2 * width
    return X


class _Rows(NamedTuple):
    order: Int[Array, " n"]
    indptr: Int[Array, " n+1"]


@partial(jax.jit, static_argnames=("height", "width", "solver"), donate_argnums=0)
def _solve_bucket(X, rows, values, first, last, steps, height, width, solver):
    """Write to X its rows ``order[first:last]``, none with more than ``width`` entries."""
    Y, *others = values
    chunks = (last - first + height - 1) // height
    values = (lambda entries: Y[entries]), *others
    return _solve_chunks(X, rows, values, first, last, chunks, steps, height, width, solver)


@partial(jax.jit, static_argnames=("height", "width", "solver"), donate_argnums=0)
def _solve_split_bucket(X, rows, values, first, last, chunks, steps, height, width, solver):
    """Do what `_solve_bucket` does, each device with its own X, rows and ends."""
    Y, indices, weight, rhs, ridge, p, q, start = values

    def solve_own(tables, numbers):
        X, Y, rows, entries, ridge, start, (first,), (last,) = tables
        p, q, chunks, steps = numbers
        values = partial(fetched, Y), *entries, ridge, p, q, start
        return _solve_chunks(X, rows, values, first, last, chunks, steps, height, width, solver)

    tables = X, Y, rows, (indices, weight, rhs), ridge, start, first, last
    return each_own(solve_own, tables, (p, q, chunks, steps))


def _solve_chunks(X, rows, values, first, last, chunks, steps, height, width, solver):
    """Write to X its rows ``order[first:last]``, ``height`` at a time."""
    of_Y, indices, weight, rhs, ridge, p, q, start = values
    n = X.shape[0]

    def solve_chunk(chunk, X):
        place = first + chunk * height + jnp.arange(height)
        u = jnp.where(place < last, rows.order[jnp.minimum(place, n - 1)], n)
        begin, end = rows.indptr[jnp.minimum(u, n)], rows.indptr[jnp.minimum(u + 1, n)]
        entry = begin[:, None] + jnp.arange(width)[None, :]
        there = entry < end[:, None]
        entry = jnp.where(there, entry, 0)
        P = jnp.where(there[:, :, None], of_Y(indices[entry]), 0)
        w = jnp.where(there, 1.0 if weight is None else weight[entry], 0)
        r = jnp.where(there, rhs[entry], 0)
        within = jnp.minimum(u, n - 1)
        D = p[None, :] + ridge[within][:, None] * q[None, :]
        if solver == "exact":
            x = _by_cholesky(P, w, r, D)
        else:
            x = _by_gradients(P, w, r, D, None if start is None else start[within], steps)
        return X.at[u].set(x, mode="drop")

    return jax.lax.fori_loop(0, chunks, solve_chunk, X)


def _sum(equation, *arrays):
    return jnp.einsum(equation, *arrays, precision="highest")


def _by_cholesky(P, w, r, D):
    A = _sum("uid,uie->ude", w[:, :, None] * P, P) + jax.vmap(jnp.diag)(D)
    b = _sum("uid,ui->ud", P, r)
    factor = jnp.linalg.cholesky(A)
    return jax.scipy.linalg.cho_solve((factor, True), b[:, :, None])[:, :, 0]


def _by_gradients(P, w, r, D, x, steps):
    """Take steps of conjugate gradients (Golub and Van Loan, algorithm 11.5.1)."""

    def system(v):
        return _sum("uid,ui->ud", P, w * _sum("uid,ud->ui", P, v)) + D * v

    def divide(a, b):  # 0 where there is nothing more to gain
        return jnp.where(b <= 0, 0, a / jnp.where(b <= 0, 1, b))

    scale = 1 / jnp.maximum(_sum("uid,ui->ud", P * P, w) + D, 1e-30)
    x = jnp.zeros_like(D) if x is None else x
    residual = _sum("uid,ui->ud", P, r) - system(x)
    direction = scale * residual
    size = jnp.sum(residual * direction, axis=1)
    enough = CONVERGED * size

    def step(_, state):
        x, residual, direction, size = state
        image = system(direction)
        length = divide(size, jnp.sum(direction * image, axis=1))
        length = jnp.where(size <= enough, 0, length)[:, None]
        x, residual = x + length * direction, residual - length * image
        after = jnp.sum(residual * residual * scale, axis=1)
        direction = scale * residual + divide(after, size)[:, None] * direction
        return x, residual, direction, after

    return jax.lax.fori_loop(0, steps, step, (x, residual, direction, size))[0]
