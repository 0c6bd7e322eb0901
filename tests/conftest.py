"""What tests share: no silent rank promotion, float64 on request, formulas as books print them."""

import os

os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")

import numpy as np
import pytest


@pytest.fixture
def float64():
    """Compute in float64 for one test."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def plain_activations():
    """Return each activation's formula, written independently of Lamina's."""
    import jax.numpy as jnp
    from jax.scipy.special import erf

    def softmax(Y):
        return jnp.exp(Y) / jnp.sum(jnp.exp(Y), axis=-1, keepdims=True)

    return {
        "linear": lambda Y: 1.0 * Y,
        "relu": lambda Y: jnp.where(Y > 0, Y, 0),
        "leaky_relu": lambda Y: jnp.where(Y > 0, Y, Y / 100),
        "elu": lambda Y: jnp.where(Y > 0, Y, jnp.exp(Y) - 1),
        "gelu": lambda Y: Y * (1 + erf(Y / np.sqrt(2))) / 2,
        "silu": lambda Y: Y / (1 + jnp.exp(-Y)),
        "softplus": lambda Y: jnp.log(1 + jnp.exp(Y)),
        "sigmoid": lambda Y: 1 / (1 + jnp.exp(-Y)),
        "tanh": lambda Y: (jnp.exp(2 * Y) - 1) / (jnp.exp(2 * Y) + 1),
        "softmax": softmax,
    }
