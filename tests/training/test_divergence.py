"""Numbers that stop being finite: which matrix, which epoch, and the weights that remain."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lamina import LinearRegressor
from lamina.errors import DivergenceError
from lamina.layers import Activation, Dense, Sequential

TWO = Sequential([Dense(1, bias=False), Dense(1, bias=False)])


def two(W_0, W_1):
    return {"dense_0": {"W": np.full((1, 1), W_0)}, "dense_1": {"W": np.full((1, 1), W_1)}}


@pytest.mark.parametrize(
    ("x", "weights", "loss", "found"),
    [
        (np.inf, two(1, 1), "squared", "the input X"),
        (1.0, two(1, np.nan), "squared", "the weights dense_1/W"),
        (1e30, two(1e20, 1), "squared", "the output of dense_0"),
        (1.0, two(1e20, 1e30), "squared", "the output of dense_1"),
        (1.0, two(1, 1e25), "squared", "the loss"),
        (1e25, two(1e-25, 1), "absolute", "the gradient of dense_0/W"),
        (1.0, two(1e25, 1e-25), "absolute", "the gradient of dense_1/W"),
        (1e25, two(1, 1e-4), "absolute", "the gradient of dense_1/W"),  # both; the last comes first
    ],
)
def test_the_first_that_overflows_is_named(x, weights, loss, found, start_run):
    X, y = np.full((8, 1), x, np.float32), np.zeros((8, 1), np.float32)
    run = start_run(TWO, X, y, loss=loss, weights=weights)
    with pytest.raises(DivergenceError, match=f"in epoch 1, minibatch 1: {found} is no longer fin"):
        run.train()


@pytest.mark.parametrize("block_steps", [1, 2, 8])
def test_the_minibatch_is_named_and_the_weights_before_it_are_kept(
    block_steps, start_run, regression
):
    """Minibatch 2 of 4 holds an infinity: what remains are the weights after minibatch 1."""
    _, _, weights = regression
    rng = np.random.default_rng(0)
    X = rng.normal(size=(16, 3)).astype(np.float32)
    y = rng.normal(size=(16, 2)).astype(np.float32)
    network, options = Sequential([Dense(2)]), {"batch_size": 4, "block_steps": block_steps}
    before = start_run(network, X[:4], y[:4], weights=weights)
    before.train()
    X[5, 1] = np.inf
    run = start_run(network, X, y, weights=weights, **options)
    with pytest.raises(DivergenceError, match="epoch 1, minibatch 2: the input X"):
        run.train()
    for name in ("W", "b"):
        kept = np.asarray(run.state.weights["dense_0"][name])
        np.testing.assert_allclose(kept, before.state.weights["dense_0"][name], rtol=1e-6)
    assert int(run.state.step) == 1
    assert int(run.state.batch) == 1


def test_the_optimiser_and_the_totals_are_kept_too(start_run, regression):
    """A failed step changes nothing: the state is that of a run that ended one epoch before."""
    X, y, weights = (jax.tree.map(np.float32, part) for part in regression)
    X, y = X * 1e3, y * 1e3
    network = Sequential([Dense(2)])
    options = {"weights": weights, "optimizer": "momentum", "rate": 1.0}
    failed = start_run(network, X, y, epochs=100, **options)
    with pytest.raises(DivergenceError) as caught:
        failed.train()
    epochs = len(failed.history["loss"])
    assert 1 < epochs < 20
    assert f"in epoch {epochs + 1}, minibatch 1" in str(caught.value)
    good = start_run(network, X, y, epochs=epochs, **options)
    good.train()
    for a, b in zip(
        jax.tree.leaves((failed.state.weights, failed.state.optimizer, failed.state.totals)),
        jax.tree.leaves((good.state.weights, good.state.optimizer, good.state.totals)),
        strict=True,
    ):
        assert_array_equal(a, b)
        assert np.isfinite(a).all()


def test_an_activation_can_be_the_first(start_run):
    X, y = np.full((8, 1), 60.0, np.float32), np.zeros((8, 1), np.float32)
    network = Sequential([Dense(1, bias=False), Activation("linear"), Dense(1, bias=False)])
    run = start_run(network, X, y, weights=two(1e38, 1))
    with pytest.raises(DivergenceError, match="the output of dense_0"):
        run.train()


def test_an_estimator_says_what_to_try_and_stays_usable():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    model = LinearRegressor(optimizer="sgd", learning_rate=50.0, max_epochs=300, random_state=0)
    with pytest.raises(DivergenceError) as caught:
        model.fit(X, X @ [1.0, 2.0, 3.0])
    message = str(caught.value)
    for words in ("Try", "learning_rate", "50", "clip_norm=1.0", "last good weights are kept"):
        assert words in message
    assert f"in epoch {len(model.history_['loss']) + 1}" in message
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict(X)).all()
