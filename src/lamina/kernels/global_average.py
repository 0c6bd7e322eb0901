"""Global average pooling: ``A = Σ_v X_v / N`` over a sample's N cells, and ``dX_v = dA / N``.

Source: Lin, Chen and Yan 2014, Network in Network, section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from lamina.kernels import native

if TYPE_CHECKING:
    from jaxtyping import Array, Float

NATIVE_NUMBERS = 1 << 15
"""The least X for the native twin: a call into it takes about ten microseconds."""


def global_average_pool(X: Float[Array, "n ... c"]) -> Float[Array, "n c"]:
    """Return each channel's mean over all positions.

    Parameters
    ----------
    X : array of shape (n, h, w, c) or (n, t, c)
        Images or sequences.

    Returns
    -------
    array of shape (n, c)
    """
    if X.size >= NATIVE_NUMBERS and X.dtype == jnp.float32 and native.is_active():
        return native.global_average_pool(X)
    return _mean(X)


def _mean(X):
    return jnp.mean(X, axis=tuple(range(1, X.ndim - 1)))
