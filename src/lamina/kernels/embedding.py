"""The embedding as one kernel: a row of W for each code, and its backward rule.

With codes x_s::

    A_s = W[x_s]        dW[v] = Σ_{s: x_s = v} dA_s

It is ``A = H W`` with one-hot rows ``H``, and ``dW = Hᵀ dA``, without the products.

Source: Bengio, Ducharme, Vincent and Jauvin 2003, section 2, where the matrix is called C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from lamina.kernels import native

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

NATIVE_NUMBERS = 1 << 11
"""The least size of A for which the native twin was the faster one: XLA adds the rows of dA to dW
number by number, with one thread."""


def embedding(W: Float[Array, "v m"], codes: Int[Array, "..."]) -> Float[Array, "... m"]:
    """Return the row of W for each code.

    Parameters
    ----------
    W : array of shape (v, m)
        A row for each of v codes.
    codes : array of whole numbers
        From 0 to v - 1.

    Returns
    -------
    array of shape (*codes.shape, m)
        A code outside 0 … v - 1 gives a row that is not a number, since a compiled program cannot
        raise, and adds to no gradient.
    """
    W, codes = jnp.asarray(W), jnp.asarray(codes).astype(jnp.int32)  # codes may come as floats
    if W.dtype == jnp.float32 and codes.size * W.shape[1] >= NATIVE_NUMBERS and native.is_active():
        return native.embedding(W, codes)
    return _embedding(W, codes)


def _embedding(W, codes):
    return W.at[codes].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
