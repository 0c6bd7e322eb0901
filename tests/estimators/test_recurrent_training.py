"""Training recurrent estimators: resumed, in passes, interrupted, weighted, stopped, saved."""

import os
import signal

import numpy as np
import pytest

import lamina
from lamina import RecurrentClassifier, RecurrentRegressor


@pytest.fixture(scope="module")
def walks():
    """Return 120 random walks of 5 to 14 steps and 2 channels, and whether the first one rose."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(t, 2)).cumsum(axis=0) for t in rng.integers(5, 15, 120)]
    return X, np.array([int(x[-1, 0] > x[0, 0]) for x in X])


def small(Estimator=RecurrentClassifier, **parameters):
    options = {"hidden": (6,), "dropout": 0.0, "schedule": "constant", "random_state": 0}
    return Estimator(**options | {"max_epochs": 3, "learning_rate": 0.01} | parameters)


def test_a_warm_start_goes_on_from_the_present_weights(walks):
    X, y = walks
    model = small(warm_start=True).fit(X, y)
    statistics = {name: value.copy() for name, value in model.statistics_["standardize_0"].items()}
    first = model.history_["loss"].copy()
    for _ in range(8):
        model.fit(X, y)
    losses = model.history_["loss"]
    assert len(losses) == 27
    assert losses[3] < first[0]  # did not begin again
    assert losses[-1] < 0.6 * first[-1]
    model.fit([100 * x for x in X[:40]], y[:40])  # scaling stays as first learned
    for name, value in statistics.items():
        np.testing.assert_array_equal(model.statistics_["standardize_0"][name], value)


def test_a_warm_start_goes_on_from_a_file(walks, tmp_path):
    X, y = walks
    model = small(warm_start=True).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    read = lamina.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(read.fit(X, y).predict_proba(X), model.fit(X, y).predict_proba(X))


@pytest.mark.parametrize("Estimator", [RecurrentClassifier, RecurrentRegressor])
def test_partial_fit_learns_from_chunks(walks, Estimator):
    X, y = walks
    model = small(Estimator)
    options = {"classes": [0, 1]} if Estimator is RecurrentClassifier else {}
    for _ in range(25):
        for part in (slice(0, 60), slice(60, 120)):
            model.partial_fit(X[part], y[part], **options)
    assert len(model.history_["loss"]) == 50
    assert model.history_["loss"][-1] < model.history_["loss"][0] / 2
    assert model.score(X, y) > (0.9 if options else 0.5)


def test_partial_fit_refuses_another_number_of_channels(walks):
    X, y = walks
    model = small().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="2 channels in every series, got 1 in series 0"):
        model.partial_fit([x[:, :1] for x in X], y)


def test_control_c_keeps_a_usable_model(walks):
    X, y = walks
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

    def press_control_c(record):
        if record["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    model = small(max_epochs=50, callbacks=[press_control_c], warm_start=True)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 50"):
        model.fit(X, y)
    assert len(model.history_["loss"]) == 2
    before = model.predict_proba(X)
    assert np.isfinite(before).all()
    model.set_params(callbacks=None, max_epochs=30).fit(X, y)
    assert model.score(X, y) > 0.9


def test_balanced_classes_move_towards_the_rare_one(walks):
    X, y = walks
    rare = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:4]])
    few = [X[i] for i in rare]
    plain = small(max_epochs=2).fit(few, y[rare]).predict_proba(few)[:, 1]
    balanced = small(max_epochs=2, class_weight="balanced").fit(few, y[rare])
    assert balanced.predict_proba(few)[:, 1].mean() > plain.mean() + 0.05
    counts = np.bincount(y[rare])
    told = dict(enumerate(len(rare) / (2 * counts)))
    named = small(max_epochs=2, class_weight=told).fit(few, y[rare])
    found = named.predict_proba(few)
    np.testing.assert_allclose(balanced.predict_proba(few), found, rtol=1e-4, atol=1e-5)


def test_early_stopping_keeps_the_best_weights(walks):
    X, y = walks
    shuffled = np.random.default_rng(1).permutation(y)  # nothing to learn but by heart
    model = small(early_stopping=3, max_epochs=200, learning_rate=0.03)
    held_out = (X[80:], shuffled[80:])
    model.fit(X[:80], shuffled[:80], validation_data=held_out)
    losses = model.history_["val_loss"]
    assert len(losses) < 200
    assert np.argmin(losses) == len(losses) - 1 - 3
    assert model.evaluate(*held_out)["loss"] == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_file_predicts_the_same_values(walks, cell, tmp_path):
    X, _ = walks
    y = np.array([[x[:, 0].mean(), x[-1, 1]] for x in X])
    model = small(RecurrentRegressor, cell=cell, pooling="max", average_weights=0.9).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    read = lamina.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(read.predict(X), model.predict(X))
    assert read.evaluate(X, y) == model.evaluate(X, y)
    assert read.history_ == model.history_
