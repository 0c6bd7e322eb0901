"""Normalisation: centre X and scale it to variance 1, over the batch or over each sample.

With weights w_i (1 each where none are given) and ``N = Σ w``, the mean ``μ = Σ w x / N``, the
variance ``v = Σ w (x - μ)² / N`` and ``r = (v + ε)^(-1/2)``::

    X̂ = r (X - μ)        A = gain ∘ X̂ + shift

The rule backward, with ``G = ∂loss/∂X̂ = gain ∘ dA``. A number x_i moves the loss through its own
x̂_i, through v and through μ. As ``∂v/∂x_i = 2 w_i (x_i - μ) / N`` and ``∂r/∂v = -r³/2``,

    through x̂_i    r G_i
    through v      Σ_j G_j (x_j - μ) · (-r³/2) · 2 w_i (x_i - μ) / N = -r w_i x̂_i Σ_j G_j x̂_j / N
    through μ      -r w_i Σ_j G_j / N        (v's own path through μ vanishes: Σ w (x - μ) = 0)

and so::

    dX = r (G - w ∘ (Σ G + X̂ Σ(G ∘ X̂)) / N)        dgain = Σ dA ∘ X̂        dshift = Σ dA

where the sums of dgain and dshift run over all axes but the last. The variance takes two passes;
``Σ w x² / N - μ²``, in one, cancels where the mean is large.

Sources: Ioffe and Szegedy 2015, Batch Normalization, algorithm 1 and the equations of section 3;
Ba, Kiros and Hinton 2016, Layer Normalization, equations 3 and 4.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lamina.kernels import native
from lamina.kernels.activation import activate

if TYPE_CHECKING:
    from jaxtyping import Array, Float

NATIVE_NUMBERS = 1 << 15
"""The least X for which the native twin was the faster one, forward and backward together: a call
into it takes about ten microseconds."""


def batch_norm(
    X: Float[Array, "n ... c"],
    gain: Float[Array, " c"] | None,
    shift: Float[Array, " c"] | None,
    weight: Float[Array, " n"] | None,
    epsilon: float,
    relu: bool = False,
) -> tuple[Float[Array, "n ... c"], Float[Array, " c"], Float[Array, " c"]]:
    """Return X normalised over all axes but the last, with the mean and variance used.

    Parameters
    ----------
    X : array of shape (n, ..., c)
        A batch, channels last.
    gain, shift : array of shape (c,), or None
        Scale and offset after the normalisation; 1 and 0 where None.
    weight : array of shape (n,), or None
        w >= 0, how much each row counts; 2 is the row twice. Rows of weight 0 are padding: they
        give nothing to the statistics or to any gradient, and their output is 0. None is 1 each.
    epsilon : float > 0
        ε, added to the variance.
    relu : bool
        Whether relu follows: one pass over X fewer in each direction than as a step of its own.

    Returns
    -------
    A : array of shape (n, ..., c)
        In the dtype of X; relu of it, if asked for.
    mean, variance : array of shape (c,)
        Of the rows that are data; the variance is biased (divided by N).

    Notes
    -----
    ``mean`` and ``variance`` are there to feed running statistics, which no loss depends on: the
    backward rule takes their gradients to be zero. Weights are constants and get no gradient.
    """
    if _is_for_native(X, gain, shift, weight):
        return native.batch_norm(X, gain, shift, weight, epsilon, relu)
    found: Any = _batch_norm(X, gain, shift, weight, epsilon)
    return (activate(found[0], "relu"), *found[1:]) if relu else found


def _is_for_native(X, gain, shift, weight):
    given = [a for a in (X, gain, shift, weight) if a is not None]
    if X.size < NATIVE_NUMBERS or any(jnp.result_type(a) != jnp.float32 for a in given):
        return False
    return native.is_active()


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _batch_norm(X, gain, shift, weight, epsilon):
    return _batch_forward(X, gain, shift, weight, epsilon)[0]


def _batch_forward(X, gain, shift, weight, epsilon):
    axes = tuple(range(X.ndim - 1))
    w, N = _by_row(weight, X), cells(X, weight)
    mean = jnp.sum(_weighted(w, X), axis=axes, keepdims=True) / N
    centred = _only(w, X - mean)
    variance = jnp.sum(_weighted(w, jnp.square(centred)), axis=axes, keepdims=True) / N
    r = jax.lax.rsqrt(variance + epsilon)
    A = _only(w, _gained(centred * r, gain, shift))
    return (A, mean.reshape(-1), variance.reshape(-1)), (X, gain, shift, weight, mean, r)


def _batch_backward(epsilon, saved, gradients):
    X, gain, shift, weight, mean, r = saved
    axes = tuple(range(X.ndim - 1))
    w, N = _by_row(weight, X), cells(X, weight)
    dA, X_hat = _only(w, gradients[0]), _only(w, (X - mean) * r)
    dgain = jnp.sum(dA * X_hat, axis=axes, keepdims=True)
    dshift = jnp.sum(dA, axis=axes, keepdims=True)
    # Σ G = gain ∘ dshift and Σ(G ∘ X̂) = gain ∘ dgain: one gain stands before it all.
    dX = _gained(r * (dA - _weighted(w, dshift / N + X_hat * (dgain / N))), gain, None)
    return dX, _like(dgain, gain), _like(dshift, shift), None


_batch_norm.defvjp(_batch_forward, _batch_backward)


def cells(X: Float[Array, "n ... c"], weight: Float[Array, " n"] | None):
    """Return N, by how many cells a channel's statistics are divided; 1 where there are none."""
    of_row = math.prod(X.shape[1:-1])
    if weight is None:
        return max(X.shape[0] * of_row, 1)
    N = jnp.sum(weight.astype(X.dtype)) * of_row
    return jnp.where(N > 0, N, 1)


def _by_row(weight, X):
    """Return the weights with X's rank; None for None."""
    return None if weight is None else weight.reshape(-1, *[1] * (X.ndim - 1)).astype(X.dtype)


def _weighted(w, Y):
    """Return ``w ∘ Y``, with 0 in the rows that are padding, whatever stood there."""
    return Y if w is None else jnp.where(w > 0, w * Y, 0)


def _only(w, Y):
    """Return Y with 0 in the rows that are padding, whatever stood there."""
    return Y if w is None else jnp.where(w > 0, Y, 0)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    X: Float[Array, "... m"],
    gain: Float[Array, " m"] | None,
    shift: Float[Array, " m"] | None,
    epsilon: float,
) -> Float[Array, "... m"]:
    """Return X normalised over its last axis.

    Parameters
    ----------
    X : array of shape (..., m)
        Samples, features last.
    gain, shift : array of shape (m,), or None
        Scale and offset after the normalisation; 1 and 0 where None.
    epsilon : float > 0
        ε, added to the variance.

    Returns
    -------
    array of shape (..., m)
        In the dtype of X.
    """
    return _layer_forward(X, gain, shift, epsilon)[0]


def _layer_forward(X, gain, shift, epsilon):
    mean = jnp.mean(X, axis=-1, keepdims=True)
    centred = X - mean
    r = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + epsilon)
    return _gained(centred * r, gain, shift), (X, gain, shift, mean, r)


def _layer_backward(epsilon, saved, dA):
    X, gain, shift, mean, r = saved
    axes = tuple(range(X.ndim - 1))
    X_hat, G = (X - mean) * r, _gained(dA, gain, None)
    mean_G = jnp.mean(G, axis=-1, keepdims=True)
    mean_GX = jnp.mean(G * X_hat, axis=-1, keepdims=True)
    dX = r * (G - mean_G - X_hat * mean_GX)
    dgain = None if gain is None else jnp.sum(dA * X_hat, axis=axes)
    return dX, dgain, None if shift is None else jnp.sum(dA, axis=axes)


layer_norm.defvjp(_layer_forward, _layer_backward)


def _gained(Y, gain, shift):
    """Return ``gain ∘ Y + shift``, channels last."""
    lead = (1,) * (Y.ndim - 1)
    Y = Y if gain is None else Y * gain.reshape(*lead, -1)
    return Y if shift is None else Y + shift.reshape(*lead, -1)


def _like(total, vector):
    """Return ``total`` in the shape of ``vector``; None for None."""
    return None if vector is None else total.reshape(vector.shape)
