"""The dense layer as one kernel: ``A = σ(X W + 1 bᵀ)`` and its backward rule.

With ``Y = X W + 1 bᵀ`` and ``dA = ∂loss/∂A``::

    dY = dA ∘ σ'(Y)        dX = dY Wᵀ        dW = Xᵀ dY        db = dYᵀ 1

Product, bias and activation are one function because that is where fusion pays: a native kernel
can take its place, and the backward rule saves ``A`` alone wherever ``σ'`` can be written in it.

Source: Goodfellow, Bengio and Courville, Deep Learning, algorithm 6.4.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lamina.functions.activations import ACTIVATIONS
from lamina.kernels import native

if TYPE_CHECKING:
    from jaxtyping import Array, Float


FEW_UNITS, MANY_FEATURES = 32, 128  # where the second form of `_weight_gradient` is faster


def dense(
    X: Float[Array, "n m"],
    W: Float[Array, "m k"],
    b: Float[Array, " k"] | None,
    activation: str = "linear",
) -> Float[Array, "n k"]:
    """Return ``σ(X W + 1 bᵀ)``.

    Parameters
    ----------
    X : array of shape (n, m)
        Input, one sample a row.
    W : array of shape (m, k)
        Weights.
    b : array of shape (k,), or None
        Bias.
    activation : str
        The name of σ, a key of `lamina.functions.activations.ACTIVATIONS`.

    Returns
    -------
    array of shape (n, k)
        In the dtype of W, in which the product is taken.

    Notes
    -----
    Gradients are sums over the batch; averaging belongs to the loss.
    """
    X = jnp.asarray(X, W.dtype)
    if native.is_faster("dense", *work(X, W), W.dtype):
        return native.dense(X, W, b, activation)
    return _dense(X, W, b, activation)


def work(X: Any, W: Any) -> tuple[str, int]:
    """Return the kind of a product, and its number of multiplications."""
    kind = "few units" if W.shape[1] <= FEW_UNITS else "many units"
    return kind, X.shape[0] * W.shape[0] * W.shape[1]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _dense(X, W, b, activation):
    return ACTIVATIONS[activation](_affine(X, W, b))


def _affine(X, W, b):
    Y = X @ W
    return Y if b is None else Y + b[None, :]


def _forward(X, W, b, activation):
    Y = _affine(X, W, b)
    sigma = ACTIVATIONS[activation]
    A = sigma(Y)
    return A, (X, W, b, A if sigma.pullback else Y)


def _backward(activation, saved, dA):
    X, W, b, A_or_Y = saved
    sigma = ACTIVATIONS[activation]
    pullback = sigma.pullback or (lambda Y, dA: jax.vjp(sigma.function, Y)[1](dA)[0])
    dY = pullback(A_or_Y, dA)
    return dY @ W.T, _weight_gradient(X, dY), None if b is None else jnp.sum(dY, axis=0)


def _weight_gradient(X, dY):
    """Return ``Xᵀ dY``; for a wide X and few units as ``(dYᵀ X)ᵀ``.

    On a CPU, XLA copies X to transpose it, which costs several times the product where k is small;
    the barrier keeps it from folding the second form back into the first.
    """
    if dY.shape[1] <= FEW_UNITS and X.shape[1] >= MANY_FEATURES:
        return jax.lax.optimization_barrier(dY.T @ X).T
    return X.T @ dY


_dense.defvjp(_forward, _backward)
