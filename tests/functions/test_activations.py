"""Activations: values and backward rules against autodiff, finite differences and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.functions.activations import ACTIVATIONS, LEAK, activation

NAMES = sorted(ACTIVATIONS)
WITH_PULLBACK = [name for name in NAMES if ACTIVATIONS[name].pullback]
TORCH = {
    "linear": lambda F, Y: Y * 1,
    "relu": lambda F, Y: F.relu(Y),
    "relu6": lambda F, Y: F.relu6(Y),
    "leaky_relu": lambda F, Y: F.leaky_relu(Y),
    "elu": lambda F, Y: F.elu(Y),
    "gelu": lambda F, Y: F.gelu(Y),
    "silu": lambda F, Y: F.silu(Y),
    "softplus": lambda F, Y: F.softplus(Y),
    "sigmoid": lambda F, Y: F.sigmoid(Y),
    "tanh": lambda F, Y: F.tanh(Y),
    "softmax": lambda F, Y: F.softmax(Y, dim=-1),
}


@pytest.fixture(scope="module")
def Y():
    return np.random.default_rng(0).normal(0, 3, (5, 4))


@pytest.fixture(scope="module")
def dA():
    return np.random.default_rng(1).normal(size=(5, 4))


def value_and_pulled(function, Y, dA):
    """Return ``A`` and autodiff's ``dY``, in one program, which compiles faster than its parts."""

    def both(Y, dA):
        A, pull = jax.vjp(function, Y)
        return A, pull(dA)[0]

    return jax.jit(both)(Y, dA)


def test_every_activation_has_both_witnesses(plain_activations):
    assert set(plain_activations) == set(TORCH) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_autodiff_agree_with_the_plain_formula(name, Y, dA, float64, plain_activations):
    found, gradient = value_and_pulled(activation(name), Y, dA)
    expected, witness = value_and_pulled(plain_activations[name], Y, dA)
    assert found.dtype == np.float64
    assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert_allclose(gradient, witness, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", WITH_PULLBACK)
def test_pullback_from_the_output_is_the_derivative(name, Y, dA, float64, plain_activations):
    row = activation(name)
    _, expected = value_and_pulled(plain_activations[name], Y, dA)
    found = jax.jit(lambda Y, dA: row.pullback(row(Y), dA))(Y, dA)
    assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_agrees_with_finite_differences(name, Y, float64):
    sigma = jax.jit(activation(name).function)
    check_grads(sigma, (jnp.asarray(Y),), order=1, modes=["rev"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_agree_with_pytorch(name, Y, dA):
    torch = pytest.importorskip("torch")
    Y, dA = Y.astype(np.float32), dA.astype(np.float32)
    Y_torch = torch.tensor(Y, dtype=torch.float64, requires_grad=True)
    A_torch = TORCH[name](torch.nn.functional, Y_torch)
    A_torch.backward(torch.tensor(dA, dtype=torch.float64))
    A, gradient = value_and_pulled(activation(name), Y, dA)
    assert_allclose(A, A_torch.detach().numpy(), rtol=2e-6, atol=1e-7)
    assert_allclose(gradient, Y_torch.grad.numpy(), rtol=2e-5, atol=1e-6)
    row = activation(name)
    if row.pullback:
        assert_allclose(row.pullback(A, dA), Y_torch.grad.numpy(), rtol=2e-5, atol=1e-6)


def test_kinks_by_hand():
    zero, one = jnp.zeros((1, 1)), jnp.ones((1, 1))
    assert activation("relu").pullback(zero, one)[0, 0] == 0  # as in PyTorch
    assert activation("leaky_relu").pullback(zero, one)[0, 0] == np.float32(LEAK)
    assert activation("leaky_relu")(-one)[0, 0] == np.float32(-0.01)
    assert activation("elu").pullback(zero, one)[0, 0] == 1


@pytest.mark.parametrize("name", WITH_PULLBACK)
def test_pullback_and_autodiff_agree_at_zero(name):
    """A layer must not learn differently because its activation stands on its own line."""
    Y, dA = np.zeros((1, 3), np.float32), np.array([[1, 2, 4]], np.float32)
    A, gradient = value_and_pulled(activation(name), Y, dA)
    assert_allclose(activation(name).pullback(A, dA), gradient, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_inputs_stay_finite(name):
    Y = np.array([[-1e4, 0.5, 1e4]], np.float32)
    A, gradient = value_and_pulled(activation(name), Y, np.ones_like(Y))
    assert np.isfinite(A).all()
    assert np.isfinite(gradient).all()
    row = activation(name)
    if row.pullback:
        assert np.isfinite(row.pullback(A, jnp.ones_like(A))).all()


def test_softmax_normalises_each_row_by_itself():
    A = activation("softmax")(jnp.array([[0.0, np.log(3.0)], [1000.0, 1000.0]]))
    assert_allclose(A, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)


def test_unknown_activation_names_the_nearest():
    with pytest.raises(InputError, match=r"got 'sigmod'\. Did you mean 'sigmoid'\?"):
        activation("sigmod")
    with pytest.raises(InputError, match=r"got None\.$"):
        activation(None)


def test_names_are_keys():
    assert_array_equal(NAMES, sorted(row.name for row in ACTIVATIONS.values()))
