"""Global average pooling: by hand, and its native twin against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina.kernels import native
from lamina.kernels.global_average import NATIVE_NUMBERS, global_average_pool

needs_kernels = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)


@needs_kernels
@pytest.mark.parametrize("shape", [(37, 6, 7, 23), (3, 401, 33), (2, 4, 4, 1100)])
def test_large_means_and_their_gradients_are_native(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(1, 1, shape).astype(np.float32)
    dA = rng.normal(size=(shape[0], shape[-1])).astype(np.float32)
    axes = tuple(range(1, X.ndim - 1))
    both = jax.jit(lambda X: (global_average_pool(X), jax.vjp(global_average_pool, X)[1](dA)[0]))
    assert X.size >= NATIVE_NUMBERS
    assert "lamina_global_average_backward" in both.lower(X).as_text()
    A, dX = both(X)
    assert_allclose(A, X.mean(axes, np.float64), rtol=1e-5, atol=1e-6)
    cells = np.prod(shape[1:-1])
    assert_allclose(dX, np.broadcast_to(np.expand_dims(dA / cells, axes), shape), rtol=1e-6)


@needs_kernels
def test_edges():
    empty = native.global_average_pool(jnp.zeros((0, 3, 3, 5)))
    assert empty.shape == (0, 5)
    X = np.ones((2, 3, 5), np.float32)
    X[1, 2, 4] = np.nan
    A = np.asarray(native.global_average_pool(X))
    assert np.isnan(A[1, 4])
    assert np.isnan(A).sum() == 1
