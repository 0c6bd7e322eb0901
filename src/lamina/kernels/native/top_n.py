"""The native search of `lamina.kernels.top_n`, run by ``native/top_n.cc``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from lamina.kernels.native.library import call, or_none

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


def top_n(
    U: Float[Array, "q d"],
    Y: Float[Array, "k d"],
    n: int,
    exclude: tuple[Int[np.ndarray, " q+1"], Int[np.ndarray, " e"]] | None,
    bias: Float[Array, " k"] | None,
) -> tuple[Int[Array, "q n"], Float[Array, "q n"]]:
    """Return the n greatest entries of each row of ``U Yᵀ + 1 bᵀ``, best first."""
    indptr, indices = (None, None) if exclude is None else exclude
    pairs = None if indptr is None else np.ascontiguousarray(indptr, np.int64).view(np.int32)
    return _top_n(U, Y, pairs, indices, bias, n)


@partial(jax.jit, static_argnames=("n",))
def _top_n(U, Y, pairs, indices, bias, n):
    results = [jax.ShapeDtypeStruct((len(U), n), dtype) for dtype in (jnp.int32, jnp.float32)]
    exclude = (or_none(array, "int32") for array in (pairs, indices))
    ids, scores = call("top_n", results, U, Y, *exclude, or_none(bias))
    return ids, scores
