"""Native batch normalisation: `lamina.kernels.normalization` by ``native/normalization.cc``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from lamina.kernels.native.library import call, or_none

if TYPE_CHECKING:
    from jaxtyping import Array, Float


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def batch_norm(
    X: Float[Array, "n ... c"],
    gain: Float[Array, " c"] | None,
    shift: Float[Array, " c"] | None,
    weight: Float[Array, " n"] | None,
    epsilon: float,
    relu: bool = False,
) -> tuple[Float[Array, "n ... c"], Float[Array, " c"], Float[Array, " c"]]:
    """Return X normalised over all axes but the last, with the mean and variance used.

    With ``relu`` that is what relu leaves of it.
    """
    return _forward(X, gain, shift, weight, epsilon, relu)[0]


def _forward(X, gain, shift, weight, epsilon, relu):
    shapes = X.shape, *[X.shape[-1:]] * 3
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    arguments = X, *(or_none(a) for a in (gain, shift, weight))
    A, mean, variance, r = call(
        "batch_norm_forward", results, *arguments, epsilon=np.float32(epsilon), relu=relu
    )
    return (A, mean, variance), (X, gain, shift, weight, mean, r)


def _backward(epsilon, relu, saved, gradients):
    X, gain, shift, weight, mean, r = saved
    results = [jax.ShapeDtypeStruct(a.shape, jnp.float32) for a in (X, mean, mean)]
    arguments = X, *(or_none(a) for a in (gain, shift, weight)), mean, r, gradients[0]
    dX, dgain, dshift = call("batch_norm_backward", results, *arguments, relu=relu)
    return dX, None if gain is None else dgain, None if shift is None else dshift, None


batch_norm.defvjp(_forward, _backward)
