"""The n greatest scores of each row of ``U Yᵀ + 1 bᵀ``, without that matrix.

``U Yᵀ`` of a million users and a hundred thousand items does not fit in memory, and all but n of a
row are of no use; so rows are scored a chunk at a time and only the best are kept. On a CPU
``native/top_n.cc`` does it; what follows is its reference, and what runs everywhere else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_number
from lamina.kernels import native

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

CHUNK_SCORES = 1 << 24  # how many scores are held at a time
EXCLUDED_ROUND = 256  # chunks whose exclusions round to the same number share a program


def top_n(
    U: Float[Array, "q d"],
    Y: Float[Array, "k d"],
    n: int,
    exclude: tuple[Int[Array, " q+1"], Int[Array, " e"]] | None = None,
    bias: Float[Array, " k"] | None = None,
) -> tuple[Int[Array, "q n"], Float[Array, "q n"]]:
    """Return the n greatest entries of each row of ``U Yᵀ + 1 bᵀ``, best first.

    Parameters
    ----------
    U : array of shape (q, d)
        Who asks, one a row.
    Y : array of shape (k, d)
        What can be found, one a row.
    n : int
        How many for each row.
    exclude : pair of int arrays of shapes (q + 1,) and (e,), or None
        What must not be found, as a sparse matrix's ``indptr`` and ``indices``: row u leaves out
        ``indices[indptr[u]:indptr[u + 1]]``.
    bias : array of shape (k,), or None
        Added to the scores.

    Returns
    -------
    ids : int32 array of shape (q, n)
        Rows of Y, of equal scores the lower first; −1 where fewer than n are left.
    scores : float32 array of shape (q, n)
        Their scores; −inf where fewer than n are left.

    Notes
    -----
    A score that is not a number, or is −inf, is never found.
    """
    check_number("n", n, at_least=1, whole=True)
    U, Y = jnp.asarray(U, jnp.float32), jnp.asarray(Y, jnp.float32)
    (q, d), k = U.shape, Y.shape[0]
    if Y.shape[1] != d:
        raise InputError(f"Y expected {d} columns as U has, got {Y.shape[1]}.")
    if bias is not None:
        bias = jnp.asarray(bias, jnp.float32)
    excluded = None if exclude is None else _checked(*exclude, q)
    if native.is_active() and q * k * d:
        return native.top_n(U, Y, int(n), excluded, bias)
    return _top_n(U, Y, int(n), excluded, bias)


def _checked(indptr, indices, q):
    """Return the structure of what is excluded, on the host."""
    indptr, indices = np.asarray(indptr, np.int64), np.asarray(indices, np.int32)
    if indptr.shape != (q + 1,):
        raise InputError(f"exclude expected an indptr of {q + 1} numbers, got {indptr.shape}.")
    if indptr[0] < 0 or indptr[-1] > len(indices) or (np.diff(indptr) < 0).any():
        raise InputError(
            "exclude expected ascending numbers within its indices as indptr, got others. "
            "Take both from one CSR matrix."
        )
    return indptr, indices


def _top_n(U, Y, n, exclude, bias):
    (q, d), k = U.shape, Y.shape[0]
    indptr, indices = (np.zeros(q + 1, int), np.zeros(0, int)) if exclude is None else exclude
    bias = np.zeros(k, np.float32) if bias is None else bias
    ids, scores = np.full((q, n), -1, np.int32), np.full((q, n), -np.inf, np.float32)
    if k == 0 or q == 0:
        return jnp.asarray(ids), jnp.asarray(scores)
    U = np.asarray(U)
    height = min(q, max(1, CHUNK_SCORES // k))
    for first in range(0, q, height):
        last = min(q, first + height)
        rows = np.zeros((height, d), np.float32)
        rows[: last - first] = U[first:last]
        counts = np.diff(indptr[first : last + 1])
        total = int(counts.sum())
        pairs = np.full((2, -(-total // EXCLUDED_ROUND) * EXCLUDED_ROUND), k, np.int32)
        pairs[0, :total] = np.repeat(np.arange(last - first), counts)
        pairs[1, :total] = indices[indptr[first] : indptr[last]]
        found = _best(rows, Y, bias, pairs, min(n, k))
        for to, part in zip((ids, scores), found, strict=True):
            to[first:last, : min(n, k)] = part[: last - first]
    return jnp.asarray(ids), jnp.asarray(scores)


@partial(jax.jit, static_argnums=4)
def _best(U, Y, bias, excluded, n):
    """Return ids and scores of the n best of each row; column k of ``excluded`` is none."""
    scores = jnp.matmul(U, Y.T, precision="highest") + bias[None, :]
    scores = scores.at[excluded[0], excluded[1]].set(-jnp.inf, mode="drop")
    scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    best, ids = jax.lax.top_k(scores, n)
    return jnp.where(best == -jnp.inf, -1, ids).astype(jnp.int32), best
