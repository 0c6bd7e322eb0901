"""What a watched run records, against a step taken by hand; and that it is not disturbed."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina import MLPClassifier, Watch, load
from lamina.errors import FileFormatError, InputError
from lamina.formats.model_file import read_model, write_model
from lamina.layers import Dense, Sequential
from lamina.layers.layer import PREDICTING
from lamina.training.callbacks import Callback

NETWORK = Sequential([Dense(4, "tanh"), Dense(2)])
X = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
SETTINGS = {"hidden": (8,), "batch_size": 16, "max_epochs": 3, "dropout": 0.1, "random_state": 0}


@pytest.fixture(scope="module")
def watched():
    return MLPClassifier(**SETTINGS, callbacks=[Watch(every=1)]).fit(X, Y)


@pytest.mark.parametrize("block_steps", [1, 4])  # stepped one by one, and in blocks
def test_the_figures_are_those_of_the_step_that_comes_next(start_run, block_steps, float64):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    watch = Watch(every=1)
    shared = {"batch_size": 4, "shuffle": True, "block_steps": block_steps, "schedule": "cosine"}
    run = start_run(NETWORK, X, y, epochs=2, callbacks=[watch], **shared)
    run.train()
    after = start_run(NETWORK, X, y, epochs=2, **shared)  # the same run, up to the first epoch
    after.callbacks = [Stop()]
    after.train()
    rows = next(iter(after.source.blocks(1))).order[0]
    weights = jax.tree.map(np.asarray, after.state.weights)

    def objective(weights):
        scores = NETWORK.apply(weights, {}, X[rows], PREDICTING)[0]
        return after.objective.loss(scores, y[rows]).mean()

    gradients = jax.grad(objective)(weights)
    rate = 0.1 * 0.5 * (1 + np.cos(np.pi * 1 / 5))  # the second of six steps
    assert_allclose(watch.watched["learning_rate"][0], rate, rtol=1e-12)
    for path, figures in watch.watched["matrices"].items():
        layer, name = path.split("/")
        W, dW = weights[layer][name], np.asarray(gradients[layer][name])
        expected = np.linalg.norm(dW), rate * np.linalg.norm(dW) / np.linalg.norm(W)
        found = figures["gradient_norm"][0], figures["update_ratio"][0]
        assert_allclose(found, expected, rtol=1e-9)
        assert_allclose(figures["weight_norm"][0], np.linalg.norm(W), rtol=1e-12)
    assert list(watch.watched["matrices"]) == ["dense_0/W", "dense_1/W"]
    assert watch.watched["epoch"] == [1, 2]


class Stop(Callback):
    def on_epoch(self, run, record):
        return True


def test_watching_changes_nothing_of_the_run(watched):
    plain = MLPClassifier(**SETTINGS).fit(X, Y)
    jax.tree.map(assert_array_equal, watched.weights_, plain.weights_)
    assert watched.history_["loss"] == plain.history_["loss"]
    assert not hasattr(plain, "watched_")
    assert watched.fit(X, Y).watched_["epoch"] == [1, 2, 3]  # anew in each fit


def test_how_often_it_looks():
    usual = MLPClassifier(**SETTINGS, callbacks=[Watch()]).fit(X, Y)  # 19 steps an epoch
    assert usual.watched_["epoch"] == [1, 3]
    two = MLPClassifier(**SETTINGS | {"max_epochs": 4}, callbacks=[Watch(2)]).fit(X, Y)
    assert two.watched_["epoch"] == [1, 3, 4]
    with pytest.raises(InputError, match="Watch every expected"):
        Watch(every=0)


def test_it_travels_in_the_model_file(watched, tmp_path):
    watched.save(tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").watched_ == watched.watched_
    document, arrays = read_model(tmp_path / "model.safetensors")
    document["watched"]["matrices"]["dense_0/W"]["weight_norm"].pop()
    write_model(tmp_path / "broken.safetensors", document, arrays)
    with pytest.raises(FileFormatError, match="watched expected 3 values"):
        load(tmp_path / "broken.safetensors")


def test_it_survives_the_process(watched, tmp_path):
    class Killed(Callback):
        def on_epoch(self, run, record):
            if run.epoch == 2:
                raise KeyError

    kept = {**SETTINGS, "checkpoint": tmp_path}
    with pytest.raises(KeyError):
        MLPClassifier(**kept, callbacks=[Watch(1), Killed()]).fit(X, Y)
    resumed = MLPClassifier(**kept, callbacks=[Watch(1)]).fit(X, Y)
    assert resumed.watched_ == watched.watched_
