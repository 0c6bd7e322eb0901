"""Layers without weights: activation, dropout, other shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.layers import (
    PREDICTING,
    Activation,
    Context,
    Dense,
    Dropout,
    Flatten,
    Reshape,
    Sequential,
    SpatialDropout,
)


def apply(layer, X, train=False, key=None):
    return layer.apply({}, {}, X, Context(train, key))[0]


# Dropout


@pytest.mark.parametrize("rate", [0.2, 0.75])
def test_dropout_drops_its_share_and_keeps_the_expectation(rate):
    X = jnp.full((400, 250), 3.0)
    A = np.asarray(apply(Dropout(rate), X, train=True, key=jax.random.key(0)))
    dropped = A == 0
    tolerance = 5 * np.sqrt(rate * (1 - rate) / A.size)
    assert dropped.mean() == pytest.approx(rate, abs=tolerance)
    assert_allclose(A[~dropped], 3 / (1 - rate), rtol=1e-6)
    assert A.mean() == pytest.approx(3, abs=3 / (1 - rate) * tolerance)


def test_dropout_is_the_identity_at_prediction():
    X = jnp.arange(6.0).reshape(2, 3)
    assert_array_equal(apply(Dropout(0.9), X), X)
    assert_array_equal(apply(Dropout(0.0), X, train=True), X)


def test_dropout_draws_by_key():
    X = jnp.ones((20, 20))
    masks = [np.asarray(apply(Dropout(0.5), X, True, jax.random.key(i))) for i in (0, 0, 1)]
    assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_dropped_entries_pass_no_gradient():
    X = jnp.ones((10, 10))

    def total(X):
        A = apply(Dropout(0.4), X, True, jax.random.key(3))
        return jnp.sum(A), A

    gradient, A = jax.grad(total, has_aux=True)(X)
    assert_allclose(gradient, A, rtol=1e-6)  # at X = 1, A = M / (1 - p) = ∂A/∂X
    assert (np.asarray(A) == 0).any()


def test_two_dropouts_in_a_network_draw_apart():
    network = Sequential([Dropout(0.5), Dropout(0.5)])
    X = jnp.ones((100, 100))
    A, _ = network.apply({}, {}, X, Context(True, jax.random.key(0)))
    assert np.mean(np.asarray(A) > 0) == pytest.approx(0.25, abs=0.02)  # one mask twice: 0.5


def test_who_needs_a_key():
    assert Dropout(0.1).random
    assert not Dropout(0).random
    assert not Dense(3).random
    assert Sequential([Dense(3), Sequential([Dropout(0.1)])]).random
    assert not Sequential([Dense(3), Dropout(0)]).random


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, "half"])
def test_dropout_rate_out_of_range_is_refused(rate):
    with pytest.raises(InputError, match="dropout rate expected a number at least 0 and below 1"):
        Dropout(rate)


# SpatialDropout


@pytest.mark.parametrize("shape", [(300, 3, 2, 50), (300, 6, 50)])
def test_spatial_dropout_drops_whole_channels(shape):
    A = apply(SpatialDropout(0.3), jnp.full(shape, 2.0), True, jax.random.key(0))
    channels = np.asarray(A).reshape(300, 6, 50)
    assert_array_equal(channels, channels[:, :1].repeat(6, axis=1))  # all cells share one fate
    dropped = channels[:, 0] == 0
    assert dropped.mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / dropped.size))
    assert_allclose(channels[:, 0][~dropped], 2 / 0.7, rtol=1e-6)
    shares = dropped.mean(axis=1)
    assert 0 < shares.std() < 0.15  # each sample draws for itself, each channel too


def test_spatial_dropout_is_the_identity_at_prediction():
    X = jnp.arange(12.0).reshape(2, 3, 2)
    assert_array_equal(apply(SpatialDropout(0.9), X), X)
    assert_array_equal(apply(SpatialDropout(0), X, train=True), X)
    assert SpatialDropout(0.1).random
    assert not SpatialDropout(0).random
    with pytest.raises(InputError, match="spatial dropout rate expected a number at least 0"):
        SpatialDropout(1)


# Activation, Flatten and Reshape


def test_activation_layer_is_the_activation_of_dense():
    X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    W = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    weights = {"dense_0": {"W": W, "b": np.ones(4, np.float32)}}
    split = Sequential([Dense(4), Activation("tanh")])
    A, _ = split.apply(weights, {}, X, PREDICTING)
    assert_allclose(A, np.tanh(X @ W + 1), rtol=1e-5)
    assert split.output_shape((3,)) == (4,)
    with pytest.raises(InputError, match="Did you mean 'tanh'"):
        Activation("tan")


def test_a_split_activation_learns_the_same_at_zero():
    """Zero scores are the rule behind zero weights; relu's slope there is 0, alone or fused."""
    X, zero = np.ones((2, 3), np.float32), np.zeros((3, 4), np.float32)

    def gradient(network):
        def total(weights):
            return jnp.sum(network.apply(weights, {}, X, Context(train=True))[0])

        return jax.grad(total)({"dense_0": {"W": zero}})["dense_0"]["W"]

    fused = gradient(Sequential([Dense(4, "relu", bias=False)]))
    split = gradient(Sequential([Dense(4, bias=False), Activation("relu")]))
    assert_array_equal(split, fused)


def test_flatten_reads_each_sample_row_by_row():
    X = jnp.arange(24.0).reshape(2, 2, 3, 2)
    assert_array_equal(apply(Flatten(), X), np.arange(24.0).reshape(2, 12))
    assert Flatten().output_shape((2, 3, 2), "flatten_0") == (12,)
    assert Flatten().output_shape((5,), "flatten_0") == (5,)


def test_reshape_keeps_the_order_of_entries():
    X = jnp.arange(24.0).reshape(2, 12)
    for shape in ((2, 3, 2), [2, -1, 2], (-1, 3, 2)):
        layer = Reshape(shape)
        assert layer.output_shape((12,), "reshape_0") == (2, 3, 2)
        assert_array_equal(apply(layer, X), np.arange(24.0).reshape(2, 2, 3, 2))
    flat = apply(Reshape((-1,)), X.reshape(2, 3, 4))
    assert_array_equal(flat, apply(Flatten(), X.reshape(2, 3, 4)))
    assert apply(Reshape((4, -1)), jnp.zeros((0, 12))).shape == (0, 4, 3)  # an empty batch


@pytest.mark.parametrize("shape", [(5, 2), (5, -1), (24, -1)])
def test_reshape_refuses_sizes_that_disagree(shape):
    network = Sequential([Activation("relu"), Reshape(shape)])
    with pytest.raises(
        InputError, match=r"^net/reshape_0 expected .*got samples of shape \(3, 4\)"
    ) as e:
        network.output_shape((3, 4), "net")
    assert str(shape) in str(e.value)


@pytest.mark.parametrize("shape", [(-1, -1), (0, 3), (-2, 3), (2.5, 2), 12, "ab", None])
def test_reshape_refuses_what_is_no_shape(shape):
    with pytest.raises(InputError, match=r"^Reshape (size )?expected"):
        Reshape(shape)
