"""An activation on its own: its rule backward, native or not, and what it keeps for that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.functions.activations import ACTIVATIONS
from lamina.kernels import native
from lamina.kernels.activation import NATIVE_NUMBERS, activate

needs_kernels = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)


def normal(*shape, dtype=np.float64):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_rule_is_autodiffs(name, float64):
    X, dA = normal(4, 5), normal(1, 4, 5)[0]
    A, pullback = jax.vjp(lambda X: activate(X, name), X)
    expected, of_function = jax.vjp(ACTIVATIONS[name].function, X)
    assert_array_equal(A, expected)
    assert_allclose(pullback(dA)[0], of_function(dA)[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "kept"), [("relu", "A"), ("tanh", "A"), ("gelu", "X")])
def test_one_array_is_kept_for_the_rule_backward(name, kept):
    X = jnp.asarray(normal(4, 5, dtype=np.float32))
    A, pullback = jax.vjp(lambda X: activate(X, name), X)
    (saved,) = jax.tree.leaves(pullback)
    assert_array_equal(saved, A if kept == "A" else X)


@needs_kernels
def test_a_large_relus_rule_is_native():
    X = normal(1, 3, NATIVE_NUMBERS // 3 + 7, dtype=np.float32)
    X[0, 0, :3], dA = [0, np.nan, -0.0], normal(3, *X.shape[1:], dtype=np.float32)[:1]
    program = jax.jit(lambda X: jax.vjp(lambda X: activate(X, "relu"), X)[1](dA)[0])
    assert "lamina_relu_backward" in program.lower(X).as_text()
    assert_array_equal(program(X), np.where(X > 0, dA, 0))
    small = jax.jit(lambda X: jax.vjp(lambda X: activate(X, "relu"), X)[1](X)[0])
    assert "lamina_relu_backward" not in small.lower(X[:, :1, :9]).as_text()
