"""The native embedding: that of `lamina.kernels.embedding`, run by ``native/embedding.cc``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from lamina.kernels.native.library import call

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


@jax.custom_vjp
def embedding(W: Float[Array, "v m"], codes: Int[Array, "..."]) -> Float[Array, "... m"]:
    """Return the rows of W for codes (int32)."""
    A = jax.ShapeDtypeStruct((*codes.shape, W.shape[1]), jnp.float32)
    return call("embedding_forward", A, W, codes)


def _forward(W, codes):
    return embedding(W, codes), (W, codes)


def _backward(saved, dA):
    W, codes = saved
    dW = jax.ShapeDtypeStruct(W.shape, jnp.float32)
    return call("embedding_backward", dW, codes, dA), None


embedding.defvjp(_forward, _backward)
