"""The dense kernel: its hand-derived backward rule against every witness there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from numpy.testing import assert_allclose

from lamina.functions.activations import ACTIVATIONS
from lamina.kernels.dense import dense

NAMES = sorted(ACTIVATIONS)


def operands(n, m, k, seed=0):
    rng = np.random.default_rng(seed)
    X, W, b, dA = (rng.normal(size=shape) for shape in ((n, m), (m, k), (k,), (n, k)))
    return X, W, b, dA


def compare_with_autodiff(n, m, k, name, bias, plain, seed=0):
    X, W, b, dA = operands(n, m, k, seed)
    arguments = (X, W, b) if bias else (X, W)

    def plain_dense(X, W, b=None):
        Y = X @ W
        return plain(Y if b is None else Y + jnp.broadcast_to(b, Y.shape))

    @jax.jit  # one program for the two, else each small product is compiled by itself
    def both(*arguments):
        found, pull = jax.vjp(lambda X, W, b=None: dense(X, W, b, name), *arguments)
        expected, pull_plain = jax.vjp(plain_dense, *arguments)
        return (found, *pull(dA)), (expected, *pull_plain(dA))

    with jax.enable_x64(True):
        ours, witnesses = both(*arguments)
    assert len(ours) == 1 + len(arguments)
    for array, witness in zip(ours, witnesses, strict=True):
        assert array.dtype == np.float64
        assert_allclose(array, witness, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_rule_agrees_with_autodiff(name, bias, plain_activations):
    compare_with_autodiff(5, 3, 4, name, bias, plain_activations[name])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    name=st.sampled_from(NAMES),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_rule_agrees_with_autodiff_for_any_shape(shape, name, bias, seed, plain_activations):
    compare_with_autodiff(*shape, name, bias, plain_activations[name], seed)


@pytest.mark.parametrize("name", NAMES)
def test_rule_agrees_with_finite_differences(name, float64):
    X, W, b, _ = operands(3, 2, 3)
    kernel = jax.jit(lambda X, W, b: dense(X, W, b, name))
    check_grads(kernel, (X, W, b), 1, ["rev"], rtol=1e-6, atol=1e-6)


def test_a_case_worked_by_hand():
    X = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    W = jnp.array([[1.0, 0.0, -1.0], [2.0, 1.0, 1.0]])
    b = jnp.array([-2.0, 0.5, 0.0])
    A, pull = jax.vjp(lambda *a: dense(*a, "relu"), X, W, b)
    # Y = [[3, 2.5, 1], [-1, -0.5, -4]]: the second sample is dead, and gives no gradient.
    np.testing.assert_array_equal(A, [[3, 2.5, 1], [0, 0, 0]])
    dX, dW, db = pull(jnp.array([[1.0, 10.0, 100.0], [7.0, 7.0, 7.0]]))
    np.testing.assert_array_equal(dX, [[1 - 100, 2 + 10 + 100], [0, 0]])
    np.testing.assert_array_equal(dW, [[1, 10, 100], [2, 20, 200]])
    np.testing.assert_array_equal(db, [1, 10, 100])


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_agrees_with_torch_linear(name):
    torch = pytest.importorskip("torch")
    X, W, b, dA = (a.astype(np.float32) for a in operands(32, 20, 12))
    layer = torch.nn.Linear(20, 12)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(W.T))
        layer.bias.copy_(torch.tensor(b))
    X_torch = torch.tensor(X, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(layer(X_torch))
    expected.backward(torch.tensor(dA))
    A, pull = jax.vjp(lambda *a: dense(*a, name), X, W, b)
    dX, dW, db = pull(dA)
    assert A.dtype == dX.dtype == dW.dtype == db.dtype == np.float32
    assert_allclose(A, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert_allclose(dX, X_torch.grad.numpy(), rtol=1e-4, atol=1e-5)
    assert_allclose(dW, layer.weight.grad.numpy().T, rtol=1e-4, atol=2e-5)
    assert_allclose(db, layer.bias.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_output_is_saved_where_it_suffices(name):
    """What the backward rule keeps is (X, W, b) and one (n, k) array: A, or Y where it must be."""
    X, W, b, _ = (a.astype(np.float32) for a in operands(3, 2, 3))
    A, pull = jax.vjp(lambda *a: dense(*a, name), X, W, b)
    saved = [leaf for leaf in jax.tree.leaves(pull) if np.shape(leaf) == (3, 3)]
    assert len(saved) == 1
    expected = A if ACTIVATIONS[name].pullback else X @ W + b
    assert_allclose(saved[0], expected, rtol=1e-5, atol=1e-6)


def test_jit_and_vmap_keep_the_rule(float64):
    X, W, b, dA = operands(4, 3, 2)

    def per_sample(x, d):
        return jax.vjp(lambda W: dense(x[None, :], W, b, "tanh"), W)[1](d[None, :])[0]

    summed = jax.jit(lambda: jnp.sum(jax.vmap(per_sample)(X, dA), axis=0))()
    A = np.tanh(X @ W + b)
    assert_allclose(summed, X.T @ ((1 - A**2) * dA), rtol=1e-12)
