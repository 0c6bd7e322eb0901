"""The native dense layer: the one of `lamina.kernels.dense`, run by ``native/dense.cc``.

The C++ kernel knows σ linear and relu; every other σ is XLA's, on a linear kernel's output. In
bfloat16 ``native/half_dense.cc`` takes the same arguments and gives the same results.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax

from lamina.functions.activations import ACTIVATIONS
from lamina.kernels.native.library import NONE, call, named, or_none, static

if TYPE_CHECKING:
    from jaxtyping import Array, Float

WITHIN = ("linear", "relu")
"""The activations that the C++ kernel knows."""


def dense(
    X: Float[Array, "n m"],
    W: Float[Array, "m k"],
    b: Float[Array, " k"] | None,
    activation: str,
) -> Float[Array, "n k"]:
    """Return ``σ(X W + 1 bᵀ)``."""
    if activation in WITHIN:
        return _dense(activation, X, W, b)
    return ACTIVATIONS[activation](_dense("linear", X, W, b))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dense(activation, X, W, b):
    A = jax.ShapeDtypeStruct((X.shape[0], W.shape[1]), X.dtype)
    return call(named("dense_forward", X), A, X, W, or_none(b, X.dtype), relu=activation == "relu")


def _forward(activation, X, W, b):
    wants_dX = static(X.perturbed)
    X, W, b = X.value, W.value, None if b is None else b.value
    A = _dense(activation, X, W, b)
    return A, (X, W, A if activation == "relu" else None, static(b is not None), wants_dX)


def _backward(activation, saved, dA):
    X, W, A, has_b, wants_dX = saved
    shapes = (
        NONE if wants_dX is None else X.shape,
        W.shape,
        NONE if has_b is None else W.shape[1:],
    )
    results = [jax.ShapeDtypeStruct(shape, X.dtype) for shape in shapes]
    dX, dW, db = call(named("dense_backward", X), results, X, W, or_none(A, X.dtype), dA)
    return None if wants_dX is None else dX, dW, None if has_b is None else db


_dense.defvjp(_forward, _backward, symbolic_zeros=True)
