"""Networks in bfloat16 against themselves in float32."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import LinearClassifier, MLPClassifier
from lamina.layers import GRU, LSTM, BatchNorm, Conv2D, Dense, Flatten, LayerNorm, Sequential
from lamina.layers.half_precision import HalfPrecision
from lamina.layers.layer import PREDICTING, Context
from lamina.training.divergence import first_overflow

ROUNDING = 2.0**-8
"""Half a unit in the last of bfloat16's eight bits, relative."""

NETWORKS = {
    "dense": ((20,), Sequential([Dense(32, "relu"), LayerNorm(), Dense(5)])),
    "conv": ((8, 8, 3), Sequential([Conv2D(8, 3), BatchNorm(), Flatten(), Dense(5)])),
    "recurrent": ((30, 4), Sequential([LSTM(16, output="all"), GRU(16), Dense(5)])),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_values_and_gradients_are_float32s_but_for_rounding(kind):
    shape, network = NETWORKS[kind]
    rng = np.random.default_rng(0)
    weights, statistics = network.initialize(rng, shape)
    X = rng.normal(size=(16, *shape)).astype(np.float32)

    @partial(jax.jit, static_argnums=0)
    def scores(layer, weights):
        return layer.apply(weights, statistics, X, Context(train=True))

    def loss(layer):
        return lambda weights: jnp.mean(jnp.square(scores(layer, weights)[0]))

    half = HalfPrecision(network)
    (exact, means), (rounded, half_means) = scores(network, weights), scores(half, weights)
    assert rounded.dtype == jnp.float32
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert 0 < error < 8 * ROUNDING
    for a, b in zip(jax.tree.leaves(half_means), jax.tree.leaves(means), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=4 * ROUNDING)
    slopes, half_slopes = (jax.jit(jax.grad(loss(layer)))(weights) for layer in (network, half))
    largest = max(np.abs(slope).max() for slope in jax.tree.leaves(slopes))
    for a, b in zip(jax.tree.leaves(half_slopes), jax.tree.leaves(slopes), strict=True):
        assert a.dtype == jnp.float32
        assert np.abs(a - b).max() < 8 * ROUNDING * largest


def products(kind):
    """Return the dtypes of all matrix products' operands in a forward pass."""
    shape, network = NETWORKS[kind]
    half = HalfPrecision(network)
    weights, statistics = network.initialize(np.random.default_rng(0), shape)
    X = np.zeros((2, *shape), np.float32)
    program = jax.make_jaxpr(lambda X: half.apply(weights, statistics, X, PREDICTING)[0])(X)
    return set(_products(program.jaxpr))


def _products(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield from (str(operand.aval.dtype) for operand in equation.invars)
        for inner in jax.tree.leaves(list(equation.params.values())):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _products(inner)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_product_is_taken_in_bfloat16(kind, monkeypatch):
    monkeypatch.setenv("LAMINA_KERNELS", "xla")  # where AMX takes them there are none to see
    assert products(kind) == {"bfloat16"}


def test_a_sum_over_many_steps_is_not_lost():
    """A state that adds 1/512 at each step: in bfloat16 it would stop growing at 1/2."""
    network = HalfPrecision(Sequential([LSTM(1)]))
    step = 1 / 512
    weights = {
        "lstm_0": {
            "W_x": np.array([[0, 0, np.arctanh(step), 0]], np.float32),
            "W_h": np.zeros((1, 4), np.float32),
            "b": np.array([50, 50, 0, 50], np.float32),
        }
    }
    A, _ = network.apply(weights, {}, np.ones((1, 512, 1), np.float32), PREDICTING)
    np.testing.assert_allclose(A, np.tanh(1.0), rtol=4 * ROUNDING)


def test_what_overflows_is_named():
    shape, network = NETWORKS["dense"]
    weights, statistics = network.initialize(np.random.default_rng(0), shape)
    weights["dense_0"]["W"][:] = 3e38
    loss = LinearClassifier().fit(np.eye(3), [0, 1, 2]).loss_
    X, y = np.ones((4, 20), np.float32), np.zeros(4, np.int32)
    found = first_overflow(HalfPrecision(network), loss, weights, statistics, X, y)
    assert found == "the output of dense_0"


def test_a_cpu_says_that_it_computes_in_float32(monkeypatch):
    monkeypatch.setattr("lamina.training.precision.has_bfloat16", lambda: False)
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    settings = {"hidden": (8,), "max_epochs": 2, "random_state": 0}
    with pytest.warns(UserWarning, match="float32 on this cpu"):
        half = MLPClassifier(**settings, precision="bfloat16").fit(X, y)
    full = MLPClassifier(**settings).fit(X, y)
    np.testing.assert_array_equal(half.predict_proba(X), full.predict_proba(X))


def test_an_estimator_trains_in_bfloat16_where_there_is_a_unit_for_it(monkeypatch):
    monkeypatch.setattr("lamina.training.precision.has_bfloat16", lambda: True)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X @ rng.normal(size=(4, 3))).argmax(axis=1)
    settings = {"hidden": (16,), "max_epochs": 30, "random_state": 0}
    half = MLPClassifier(**settings, precision="bfloat16").fit(X, y)
    full = MLPClassifier(**settings).fit(X, y)
    assert half.weights_["dense_0"]["W"].dtype == np.float32
    difference = np.abs(half.predict_proba(X) - full.predict_proba(X)).max()
    assert 1e-4 < difference < 0.1
    assert half.score(X, y) >= full.score(X, y) - 0.02
