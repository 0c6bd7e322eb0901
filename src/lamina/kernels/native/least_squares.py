"""The native solver of `lamina.kernels.least_squares`, run by ``native/least_squares.cc``.

Columns are padded with zeros to whole vectors, and ``indptr`` goes as pairs of 32 bits, since XLA
has 64 only where JAX was told to.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from lamina.kernels.native.library import call, lanes, or_none

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


def solve_diagonal(
    Y: Float[Array, "k d"],
    indptr: Int[np.ndarray, " n+1"],
    indices: Int[Array, " e"],
    weight: Float[Array, " e"] | None,
    rhs: Float[Array, " e"],
    ridge: Float[Array, " n"],
    p: Float[Array, " d"],
    q: Float[Array, " d"],
    start: Float[Array, "n d"] | None,
    solver: str,
    steps: int,
) -> Float[Array, "n d"]:
    """Return X, whose row u solves ``(diag(p + λ_u q) + Σ w y yᵀ) x_u = Σ r y``."""
    n = len(indptr) - 1
    if n == 0 or len(rhs) == 0:
        return jnp.zeros((n, Y.shape[1]), jnp.float32)
    pairs = np.ascontiguousarray(indptr, np.int64).view(np.int32)
    steps = -1 if solver == "exact" else steps
    return _solve(Y, pairs, indices, weight, rhs, ridge, p, q, start, steps)


@partial(jax.jit, static_argnames=("steps",))
def _solve(Y, pairs, indices, weight, rhs, ridge, p, q, start, steps):
    d = Y.shape[1]
    beyond = -d % lanes()
    Y, start = (None if a is None else jnp.pad(a, ((0, 0), (0, beyond))) for a in (Y, start))
    p, q = jnp.pad(p, (0, beyond), constant_values=1), jnp.pad(q, (0, beyond))
    X = jax.ShapeDtypeStruct((len(ridge), d + beyond), jnp.float32)
    arguments = (or_none(weight), rhs, ridge, p, q, or_none(start))
    return call("least_squares", X, Y, pairs, indices, *arguments, steps=steps)[:, :d]
