"""Normalisation kernels: their hand-derived backward rules against every witness there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels.normalization import batch_norm, layer_norm

EPSILON = 1e-3
SHAPES = [(6, 3), (5, 2, 3, 4)]
WEIGHTS = {
    "plain": None,
    "padded": np.array([1.0, 1, 1, 0, 1, 0]),
    "weighted": np.array([2.0, 1, 0.5, 0, 3, 1]),
}


def operands(shape, seed=0):
    rng = np.random.default_rng(seed)
    X, dA = 2 + 3 * rng.normal(size=shape), rng.normal(size=shape)
    return X, rng.normal(size=shape[-1]), rng.normal(size=shape[-1]), dA


def plain_batch_norm(X, gain, shift, weight):
    """Return the formula as it stands, with weights as numbers of copies."""
    rows = X.reshape(-1, X.shape[-1])
    w = jnp.ones(len(X)) if weight is None else jnp.asarray(weight)
    w = jnp.repeat(w, len(rows) // len(X))[:, None]
    mean = jnp.sum(w * rows, axis=0, keepdims=True) / jnp.sum(w)
    variance = jnp.sum(w * (rows - mean) ** 2, axis=0, keepdims=True) / jnp.sum(w)
    A = (rows - mean) / jnp.sqrt(variance + EPSILON)
    A = A if gain is None else A * gain[None, :]
    A = A if shift is None else A + shift[None, :]
    return jnp.where(w > 0, A, 0).reshape(X.shape), mean[0], variance[0]


def plain_layer_norm(X, gain, shift):
    centred = X - jnp.mean(X, axis=-1, keepdims=True)
    A = centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + EPSILON)
    last = (1,) * (X.ndim - 1) + (-1,)
    A = A if gain is None else A * gain.reshape(last)
    return A if shift is None else A + shift.reshape(last)


def compare(kernel, plain, X, gain, shift, dA):
    """Compare values and all gradients in float64; a gain or shift that is None has none."""

    @jax.jit
    def both(X, gain, shift, dA):
        found, pull = jax.vjp(lambda *a: kernel(*a), X, gain, shift)
        expected, pull_plain = jax.vjp(lambda *a: plain(*a), X, gain, shift)
        return (found, pull(dA)), (expected, pull_plain(dA))

    ours, witnesses = both(X, gain, shift, dA)
    assert jax.tree.structure(ours) == jax.tree.structure(witnesses)
    for array, witness in zip(jax.tree.leaves(ours), jax.tree.leaves(witnesses), strict=True):
        assert array.dtype == np.float64
        assert_allclose(array, witness, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_rule_agrees_with_autodiff(shape, weight, float64):
    weight = None if weight is None else weight[: shape[0]]
    compare(
        lambda X, gain, shift: batch_norm(X, gain, shift, weight, EPSILON)[0],
        lambda X, gain, shift: plain_batch_norm(X, gain, shift, weight)[0],
        *operands(shape),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_layer_rule_agrees_with_autodiff(shape, float64):
    compare(lambda *a: layer_norm(*a, EPSILON), plain_layer_norm, *operands(shape))


@pytest.mark.parametrize(("has_gain", "has_shift"), [(False, True), (True, False), (False, False)])
def test_gain_and_shift_may_be_left_out(has_gain, has_shift, float64):
    X, gain, shift, dA = operands((4, 3))
    few = X, gain if has_gain else None, shift if has_shift else None, dA
    compare(lambda *a: layer_norm(*a, EPSILON), plain_layer_norm, *few)
    compare(
        lambda *a: batch_norm(*a, None, EPSILON)[0], lambda *a: plain_batch_norm(*a, None)[0], *few
    )


@pytest.mark.parametrize("weight", [None, WEIGHTS["weighted"]], ids=["plain", "weighted"])
def test_batch_rule_agrees_with_finite_differences(weight, float64):
    X, gain, shift, _ = operands((6, 2, 3))
    kernel = jax.jit(lambda X, gain, shift: batch_norm(X, gain, shift, weight, EPSILON)[0])
    check_grads(kernel, (X, gain, shift), 1, ["rev"], rtol=1e-6, atol=1e-6)


def test_layer_rule_agrees_with_finite_differences(float64):
    X, gain, shift, _ = operands((3, 2, 4))
    kernel = jax.jit(lambda *a: layer_norm(*a, EPSILON))
    check_grads(kernel, (X, gain, shift), 1, ["rev"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_statistics_are_those_of_the_batch(weight, float64):
    X, gain, shift, _ = operands((6, 2, 3))
    _, mean, variance = batch_norm(X, gain, shift, weight, EPSILON)
    w = np.ones(6) if weight is None else weight
    assert_allclose(mean, np.average(X.mean(axis=1), axis=0, weights=w), rtol=1e-12)
    squares = ((X - np.asarray(mean)) ** 2).mean(axis=1)
    assert_allclose(variance, np.average(squares, axis=0, weights=w), rtol=1e-12)


def test_padding_rows_influence_nothing(float64):
    X, gain, shift, dA = operands((6, 2, 3))
    keep = WEIGHTS["padded"] > 0

    @jax.jit
    def all_of(X, dA, weight):
        found, pull = jax.vjp(lambda *a: batch_norm(*a, weight, EPSILON), X, gain, shift)
        return found, pull((dA, np.zeros(3), np.zeros(3)))

    (A, *statistics), (dX, *gradients) = all_of(X[keep], dA[keep], None)
    for filling in (0.0, 1e6, np.nan):
        X[~keep], dA[~keep] = filling, filling
        (A_all, *statistics_all), (dX_all, *gradients_all) = all_of(X, dA, WEIGHTS["padded"])
        assert_allclose(A_all[keep], A, rtol=1e-12)
        assert_allclose(dX_all[keep], dX, rtol=1e-11, atol=1e-12)
        assert_array_equal(dX_all[~keep], 0)
        assert np.isfinite(A_all).all()
        for found, expected in zip(
            (*statistics_all, *gradients_all), (*statistics, *gradients), strict=True
        ):
            assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def test_a_weight_of_two_is_the_row_twice(float64):
    X, gain, shift, dA = operands((3, 2, 4))
    times = np.array([2, 1, 3])

    @jax.jit
    def of(X, weight, dA):
        A, pull = jax.vjp(lambda *a: batch_norm(*a, weight, EPSILON)[0], X, gain, shift)
        return A, pull(dA)

    share = times[:, None, None]
    A, (dX, *gradients) = of(X, times.astype(float), share * dA)
    rows = np.repeat(np.arange(3), times)
    A_long, (dX_long, *gradients_long) = of(X[rows], None, dA[rows])
    assert_allclose(A_long, A[rows], rtol=1e-12)
    assert_allclose(share * dX_long[np.array([0, 2, 3])], dX, rtol=1e-10, atol=1e-12)
    for found, expected in zip(gradients, gradients_long, strict=True):
        assert_allclose(found, expected, rtol=1e-11)


def test_a_batch_of_nothing_but_padding_is_finite():
    X, gain, shift, _ = (a.astype(np.float32) for a in operands((3, 2)))

    @jax.jit
    def of(X, gain, shift):
        nothing = jnp.zeros(3)
        found, pull = jax.vjp(lambda *a: batch_norm(*a, nothing, EPSILON), X, gain, shift)
        return *found, *pull((X, gain, shift))

    for array in of(X, gain, shift):
        assert_array_equal(array, np.zeros_like(array))


def test_a_large_mean_does_not_cancel():
    """In float32, Σx²/N - μ² would lose every digit of this variance."""
    X = (10_000 + np.random.default_rng(0).normal(size=(500, 2))).astype(np.float32)
    exact = X.astype(np.float64)
    A, mean, variance = batch_norm(X, None, None, None, 1e-5)
    assert_allclose(mean, exact.mean(axis=0), rtol=1e-6)
    assert_allclose(variance, exact.var(axis=0), rtol=1e-3)
    assert_allclose(A, (exact - exact.mean(axis=0)) / exact.std(axis=0), rtol=0.01, atol=0.01)
    rows = layer_norm(np.ascontiguousarray(X.T), None, None, 1e-5)
    assert_allclose(rows.T, A, rtol=1e-3, atol=2e-3)


def test_a_case_worked_by_hand():
    X = jnp.array([[1.0, 0.0], [3.0, 4.0]])
    A, mean, variance = batch_norm(X, jnp.array([2.0, 1.0]), jnp.array([0.0, 5.0]), None, 0.0)
    assert_array_equal(mean, [2, 2])
    assert_array_equal(variance, [1, 4])
    assert_allclose(A, [[-2, 4], [2, 6]], rtol=1e-6)
    # Each row is ±½ about its mean, so with ε = ¾ its scale is 1.
    B = layer_norm(X, jnp.array([4.0, 2.0]), jnp.array([0.0, 1.0]), 0.75)
    assert_allclose(B, [[2, 0], [-2, 2]], rtol=1e-6)


def test_agrees_with_torch_batch_norm():
    torch = pytest.importorskip("torch")
    X, gain, shift, dA = (a.astype(np.float32) for a in operands((4, 3, 5, 2)))
    inputs = [torch.tensor(a, requires_grad=True) for a in (X, gain, shift)]
    expected = torch.nn.functional.batch_norm(
        inputs[0].permute(0, 3, 1, 2), None, None, *inputs[1:], training=True, eps=EPSILON
    ).permute(0, 2, 3, 1)
    expected.backward(torch.tensor(dA))
    A, pull = jax.vjp(lambda *a: batch_norm(*a, None, EPSILON)[0], X, gain, shift)
    assert_allclose(A, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    for found, witness in zip(pull(dA), inputs, strict=True):
        assert_allclose(found, witness.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_agrees_with_torch_layer_norm():
    torch = pytest.importorskip("torch")
    X, gain, shift, dA = (a.astype(np.float32) for a in operands((4, 3, 5)))
    inputs = [torch.tensor(a, requires_grad=True) for a in (X, gain, shift)]
    expected = torch.nn.functional.layer_norm(inputs[0], (5,), *inputs[1:], eps=EPSILON)
    expected.backward(torch.tensor(dA))
    A, pull = jax.vjp(lambda *a: layer_norm(*a, EPSILON), X, gain, shift)
    assert_allclose(A, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    for found, witness in zip(pull(dA), inputs, strict=True):
        assert_allclose(found, witness.grad.numpy(), rtol=1e-4, atol=1e-5)
