"""Recurrent estimators: series of any length and form, texts, and what they refuse."""

import os
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina import RecurrentClassifier, RecurrentRegressor, Sequences
from lamina.errors import InputError
from lamina.formats.read import read


@pytest.fixture(scope="module")
def walks():
    """Return 160 random walks of 5 to 14 steps and 2 channels, and whether the first one rose."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(t, 2)).cumsum(axis=0) for t in rng.integers(5, 15, 160)]
    return X, np.array([int(x[-1, 0] > x[0, 0]) for x in X])


def small(**parameters):
    options = {"hidden": (8,), "dropout": 0.0, "max_epochs": 3, "random_state": 0}
    return RecurrentClassifier(**options | parameters)


@pytest.fixture(scope="module")
def fitted(walks):
    return small(max_epochs=40, learning_rate=0.01).fit(*walks)


def padded(X, steps, fill=np.nan):
    values = np.full((len(X), steps, 2), fill)
    for row, x in zip(values, X, strict=True):
        row[: len(x)] = x
    return Sequences(values, np.array([len(x) for x in X]))


def test_it_learns(fitted, walks):
    X, y = walks
    rng = np.random.default_rng(1)
    new = [rng.normal(size=(t, 2)).cumsum(axis=0) for t in rng.integers(3, 20, 200)]
    assert fitted.score(X, y) >= 0.95
    assert fitted.score(new, [int(x[-1, 0] > x[0, 0]) for x in new]) > 0.85
    assert 0 < fitted.padding_ < 0.5


def test_padding_changes_nothing(fitted, walks):
    X, y = walks
    expected = fitted.decision_function(X)
    for steps, fill in ((14, np.nan), (23, 1e6)):
        found = fitted.decision_function(padded(X, steps, fill))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for i in (0, 7):  # one at a time, as long as it is
        np.testing.assert_allclose(fitted.decision_function([X[i]]), expected[i : i + 1], atol=1e-5)
    again = small(max_epochs=40, learning_rate=0.01).fit(padded(X, 14, 99.0), y)
    np.testing.assert_allclose(again.decision_function(X), expected, rtol=1e-3, atol=1e-4)


def test_lists_arrays_and_rows_are_the_same_series():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 6, 2)), rng.integers(0, 2, 30)
    by_array = small().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(small().fit(list(X), y).predict_proba(list(X)), by_array)
    flat = X.reshape(30, 12)
    for shape in ((6, 2), (-1, 2)):
        model = small(series_shape=shape).fit(flat, y)
        np.testing.assert_array_equal(model.predict_proba(flat), by_array)
        assert model.n_features_in_ == 12


def test_series_of_one_channel_may_be_vectors(walks):
    X, y = walks
    vectors = [x[:, 0] for x in X]
    columns = [x[:, :1] for x in X]
    np.testing.assert_array_equal(
        small().fit(vectors, y).predict_proba(vectors),
        small().fit(columns, y).predict_proba(columns),
    )


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "rnn_relu"])
def test_a_file_predicts_alike(cell, walks, tmp_path):
    X, y = walks
    model = small(cell=cell, hidden=(4, 3), dropout=0.1, pooling="mean", max_epochs=1).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    read = lamina.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(read.predict_proba(X), model.predict_proba(X))
    assert read.network_ == model.network_


def test_standardising_makes_units_irrelevant(walks):
    X, y = walks
    scaled = [x * [100.0, 0.01] + [5.0, -3.0] for x in X]
    found = small().fit(scaled, y).predict_proba(scaled)
    np.testing.assert_allclose(found, small().fit(X, y).predict_proba(X), atol=1e-3)


def test_weights_classes_and_stopping_work_on_series(walks):
    X, y = walks
    model = small(class_weight="balanced", early_stopping=2, max_epochs=5)
    model.fit(X, y, sample_weight=np.linspace(1, 2, 160))
    assert "val_loss" in model.history_
    model.partial_fit(X[:10], y[:10])


def test_a_regressor_predicts_in_the_units_of_y(walks):
    X, _ = walks
    y = np.array([100 + 10 * x[:, 0].mean() for x in X])
    model = RecurrentRegressor(
        cell="gru", hidden=(8,), pooling="mean", dropout=0.0, max_epochs=60, random_state=0
    )
    assert model.fit(X, y).score(X, y) > 0.9


def test_texts_are_read_word_by_word(tmp_path):
    rng = np.random.default_rng(0)
    filler, X, y = ["the", "film", "was", "it", "and"], [], []
    for i in range(120):
        words = list(rng.choice(filler, rng.integers(2, 6)))
        words.insert(rng.integers(len(words)), ("bad", "poor")[i // 2 % 2] if i % 2 else "fine")
        X.append(" ".join(words))
        y.append("negative" if i % 2 else "positive")
    model = small(max_epochs=40, learning_rate=0.01).fit(X, y)
    assert model.score(X, y) > 0.95
    assert model.predict(["it was a fine unseenword film"]).tolist() == ["positive"]
    model.save(tmp_path / "model.safetensors")
    read = lamina.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(read.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: [*X[:3], np.empty((0, 2))], "at least one step, got shape .0, 2. for series 3"),
        (lambda X: [*X[:2], X[2][:, :1]], "2 channels in every series, got 1 in series 2"),
        (lambda X: [X[0], np.where(np.arange(len(X[1]))[:, None] == 2, np.nan, X[1])],
         "finite numbers, got nan in series 1, step 2, channel 0"),
        (lambda X: Sequences(np.zeros((2, 5, 2)), np.array([5, 6])),
         "lengths from 1 to 5, the padded steps, got 6 for series 1"),
        (lambda X: np.zeros((4, 6)), "Pass series_shape"),
        (lambda X: [["a", "b"]], "expected numbers, got something else in series 0"),
    ],
)  # fmt: skip
def test_bad_series_are_refused(fitted, walks, change, message):
    bad = change(walks[0])
    with pytest.raises(InputError, match=message):
        small().fit(bad, np.arange(len(bad)) % 2)
    with pytest.raises(InputError, match=message):
        fitted.predict(bad)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cell": "lstn"}, "cell expected .* Did you mean 'lstm'"),
        ({"hidden": 8}, r"hidden expected a sequence .* Use hidden=\(64,\)"),
        ({"pooling": "sum"}, "pooling expected"),
    ],
)
def test_bad_settings_are_refused(walks, parameters, message):
    with pytest.raises(InputError, match=message):
        small(**parameters).fit(*walks)


def test_a_series_shape_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"series_shape expected \(t, m\) with t·m = 12"):
        small(series_shape=(5, 2)).fit(np.zeros((4, 12)), [0, 1, 0, 1])


def test_japanese_vowels():
    """Real series of 7 to 29 steps: nine speakers told apart, on a test part never trained on."""
    folder = Path(os.environ.get("LAMINA_DATA_DIR", "")) / "japanese-vowels"
    if "LAMINA_DATA_DIR" not in os.environ or not folder.is_dir():
        pytest.skip("LAMINA_DATA_DIR names no folder with japanese-vowels")
    train, test = (read(folder, part=part) for part in ("train", "test"))
    model = RecurrentClassifier(random_state=0).fit(train.X, train.y)
    assert model.score(test.X, test.y) >= 0.97
