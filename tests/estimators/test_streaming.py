"""Fits on streams: as good as in memory, bounded, resumed bit for bit, bad rows named."""

import tracemalloc
from functools import partial

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina import (
    Checkpoint,
    ConvClassifier,
    LinearClassifier,
    LinearRegressor,
    MLPClassifier,
    MLPRegressor,
    RecurrentClassifier,
    load,
)
from lamina.errors import DivergenceError, InputError
from lamina.estimators import streaming
from lamina.formats import stream
from lamina.formats.encoders import ArrayEncoder, ImageEncoder, TableEncoder
from lamina.formats.streams import pieces
from lamina.training.callbacks import Callback

RNG = np.random.default_rng(0)
N = 1200
X = RNG.normal(size=(N, 5)).astype(np.float32)
Y = (X @ RNG.normal(size=(5, 3))).argmax(axis=1)
VALUES = X @ [1.0, 2, 0, -1, 0.5] + 7
SETTINGS = {"hidden": (8,), "batch_size": 16, "max_epochs": 3, "random_state": 3}


class KilledError(Exception):
    """Stands for the end of the process."""


class KilledAt(Callback):
    """Ends the run after so many blocks."""

    def __init__(self, blocks):
        self.blocks = blocks

    def on_block(self, run, totals):
        self.blocks -= 1
        if self.blocks < 0:
            raise KilledError


@pytest.fixture
def small_blocks(monkeypatch):
    """Let an epoch have many windows and blocks, as that of large data has."""
    monkeypatch.setattr(streaming, "WINDOW_BYTES", 4000)
    monkeypatch.setattr(streaming, "BLOCK_BYTES", 4 * 16 * X[0].nbytes)


def same(one, other):
    """Assert that two fitted estimators are equal bit for bit, times apart."""
    jax.tree.map(assert_array_equal, one.weights_, other.weights_)
    for name, values in one.history_.items():
        if name != "seconds":
            assert values == other.history_[name], name


def test_steps_over_a_stream_are_steps_over_arrays(monkeypatch):
    """In the order of the file, with weights, the classes' too: the same sums as in memory."""
    weight = RNG.random(N) + 0.5
    clf = MLPClassifier(**SETTINGS, class_weight="balanced")
    shuffled = partial(streaming.StreamSource, shuffle=False)
    monkeypatch.setattr(streaming, "StreamSource", lambda *a, **k: shuffled(*a, **k))
    streamed = clf.fit(stream(X, target=Y, sample_weight=weight))
    weights, history = streamed.weights_, streamed.history_
    from lamina.training.batches import ArraySource

    made = ArraySource.of
    monkeypatch.setattr(ArraySource, "of", lambda *a, **k: made(*a, **k, shuffle=False))
    held = clf.fit(X, Y, sample_weight=weight)
    jax.tree.map(partial(assert_allclose, rtol=2e-4, atol=1e-5), weights, held.weights_)
    for name in ("loss", "accuracy", "learning_rate"):
        assert_allclose(history[name], held.history_[name], rtol=1e-5)
    assert_array_equal(streamed.classes_, [0, 1, 2])


def test_a_regression_learns_the_targets_scale_in_one_pass(monkeypatch):
    monkeypatch.setattr(pieces, "TARGET_ROWS", 100)
    weight = RNG.random(N)
    weight[:300] = 0
    data = stream(X, target=VALUES, sample_weight=weight)
    reg = LinearRegressor(max_epochs=20, random_state=0).fit(data)
    mean = np.average(VALUES, weights=weight)
    assert_allclose(reg.target_mean_, mean)
    assert_allclose(reg.target_scale_, np.sqrt(np.average((VALUES - mean) ** 2, weights=weight)))
    assert reg.score(data) > 0.98
    found = reg.predict(data)
    assert_allclose(found, reg.predict(X), rtol=1e-6)
    assert found.dtype == np.float64
    assert_allclose(reg.evaluate(data)["rmse"], reg.evaluate(X, VALUES, weight)["rmse"], rtol=1e-5)


@pytest.mark.usefixtures("small_blocks")
def test_validation_on_a_stream_early_stopping_and_warm_start():
    clf = MLPClassifier(**{**SETTINGS, "max_epochs": 40, "learning_rate": 0.05}, early_stopping=2)
    held_out = stream(X[:300], target=Y[:300])
    clf.fit(stream(X[300:], target=Y[300:]), validation_data=held_out)
    assert len(clf.history_["val_loss"]) < 40
    assert min(clf.history_["val_loss"]) == pytest.approx(clf.evaluate(X[:300], Y[:300])["loss"])
    own = MLPClassifier(**SETTINGS, early_stopping=50).fit(stream(X, target=Y))
    assert len(own.history_["val_loss"]) == 3  # on pieces that it held out
    before = own.evaluate(X, Y)["loss"]
    own.warm_start = True
    assert own.fit(stream(X, target=Y)).evaluate(X, Y)["loss"] < before
    assert len(own.history_["loss"]) == 6


def test_images_without_targets_are_predicted_as_in_memory():
    images = RNG.integers(0, 256, (150, 6, 6)).astype(np.uint8)
    labels = np.where(images.mean(axis=(1, 2)) > 127, "light", "dark")
    clf = ConvClassifier(
        filters=(4,), depth=1, hidden=(), batch_size=32, max_epochs=2, random_state=0,
        encoder=ImageEncoder(),
    ).fit(stream(images, target=labels))  # fmt: skip
    data = stream(images)
    assert_allclose(clf.predict_proba(data), clf.predict_proba(images), rtol=1e-5, atol=1e-6)
    assert_array_equal(clf.predict(data), clf.predict(images))
    pixels = images / 255.0  # all fit the sample: the statistics are theirs
    assert_allclose(clf.statistics_["standardize_0"]["mean"], pixels.mean(), rtol=1e-5)
    with pytest.raises(InputError, match="expected a target for each row, got inputs only"):
        clf.fit(data)


def test_a_table_is_trained_on_saved_and_loaded(tmp_path):
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["colour"] = np.where(RNG.random(N) > 0.5, "red", "green")
    frame["label"] = frame.a > np.where(frame.colour == "red", 1, -1)
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=100)
    data = stream(tmp_path / "t.parquet", "label")
    clf = MLPClassifier(
        hidden=(16,), batch_size=16, max_epochs=10, random_state=0, encoder=TableEncoder()
    ).fit(data)
    assert clf.score(data) > 0.9
    assert clf.target_names_ == ("label",)
    assert clf.encoder_.fit(frame.drop(columns="label")) == clf.encoder_
    clf.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert_array_equal(again.predict(data), clf.predict(frame))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("blocks", [7, 25])
def test_a_run_that_died_in_an_epoch_goes_on_bit_for_bit(blocks, tmp_path):
    data = stream(X, target=Y)
    whole = MLPClassifier(**SETTINGS, dropout=0.2).fit(data)
    kept = {"checkpoint": Checkpoint(tmp_path, every_steps=1), **SETTINGS, "dropout": 0.2}
    with pytest.raises(KilledError):
        MLPClassifier(**kept, callbacks=[KilledAt(blocks)]).fit(data)
    same(MLPClassifier(**kept).fit(stream(X, target=Y)), whole)
    with pytest.raises(InputError, match="another data"):
        MLPClassifier(**kept).fit(stream(X, target=Y[::-1]))


@pytest.mark.usefixtures("small_blocks")
def test_a_bad_row_leaves_what_was_trained_and_once_mended_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE_BYTES", 2000)
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "X.npy", X)
    whole = MLPClassifier(**SETTINGS).fit(stream(tmp_path))
    seen = stream(tmp_path).sample.X
    place = next(i for i in range(N) if not (seen == X[i]).all(axis=1).any())
    bad = X.copy()
    bad[place, 1] = np.nan
    np.save(tmp_path / "X.npy", bad)
    clf = MLPClassifier(**SETTINGS, checkpoint=tmp_path / "run")
    with pytest.raises(InputError, match=rf"X\.npy expected finite.* row {place:,} \(counted"):
        clf.fit(stream(tmp_path))
    assert np.isfinite(clf.predict_proba(X)).all()  # the weights are kept
    np.save(tmp_path / "X.npy", X)
    same(MLPClassifier(**SETTINGS, checkpoint=tmp_path / "run").fit(stream(tmp_path)), whole)


def test_a_run_that_diverges_names_the_matrix():
    clf = LinearClassifier(optimizer="sgd", learning_rate=1e38, random_state=0)
    with pytest.raises(DivergenceError, match="in epoch 1, minibatch"):
        clf.fit(stream(X, target=Y))


def test_memory_is_bounded(tmp_path, monkeypatch):
    """Data four times a limit; windows, blocks and sample are scaled down with it.

    In full size, 4 GiB under a limit of 1 GiB on all of the process's memory: see
    `benchmarks/streaming.py`.
    """
    limit, rows = 8 << 20, (32 << 20) // (256 * 4)
    with (tmp_path / "X.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 256)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * 256 * 4)  # zeros that take no room on the disk
    np.save(tmp_path / "y.npy", np.arange(rows) % 2)
    for module, name in (
        (streaming, "WINDOW_BYTES"),
        (streaming, "BLOCK_BYTES"),
        (streaming, "EVALUATION_BYTES"),
        (pieces, "SAMPLE_BYTES"),
    ):
        monkeypatch.setattr(module, name, 1 << 19)
    data = stream(tmp_path)
    clf = LinearClassifier(batch_size=256, max_epochs=1, random_state=0)
    tracemalloc.start()
    clf.fit(data)
    clf.evaluate(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(data) * 256 * 4 == 4 * limit
    assert peak < limit


def test_what_streams_cannot_do_is_said():
    data = stream(X, target=Y)
    cases = [
        (LinearClassifier(optimizer="lbfgs"), data, {}, "all data at once.*Use 'adam'"),
        (MLPClassifier(), data, {"y": Y}, "expected no y beside it"),
        (MLPClassifier(), data, {"sample_weight": VALUES}, "to come with the data"),
        (MLPClassifier(), data, {"classes": [0, 1]}, "classes expected plain batches"),
        (MLPClassifier(), X, {"y": Y, "classes": [0, 1]}, "classes expected batches"),
        (RecurrentClassifier(), data, {}, "expected arrays X and y"),
        (MLPClassifier(), stream(X, target=np.zeros(N)), {}, "at least 2 classes"),
        (MLPRegressor(), stream(X, target=Y.astype(str)), {}, "X .ndarray.:"),
        (MLPClassifier(), stream(X, target=Y, sample_weight=0 * VALUES), {}, "are zero"),
        (MLPClassifier(encoder=ImageEncoder()), data, {}, "X .ndarray.: ImageEncoder expected"),
    ]
    for estimator, given, others, message in cases:
        with pytest.raises(InputError, match=message):
            estimator.fit(given, **others)
        assert not hasattr(estimator, "weights_")
    clf = MLPClassifier(**SETTINGS, encoder=ArrayEncoder()).fit(data)
    with pytest.raises(InputError, match=r"X .ndarray.: ArrayEncoder expected X with 5 columns"):
        clf.predict(stream(X[:, :4]))
    with pytest.raises(InputError, match=r"rows 0 to .*got 7 as well"):
        clf.evaluate(stream(X, target=np.where(np.arange(N) == 3, 7, Y)))
    with pytest.raises(InputError, match="expected an array or a stream, got generator"):
        clf.predict(row for row in X)
