"""Estimators as ONNX files: onnxruntime predicts what they predict, encoders and labels included.

But for the digits' weights are drawn and not trained: what is tested is how they are written.
"""

from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

from lamina import (
    CharacterModel,
    ConvClassifier,
    Forecaster,
    LinearClassifier,
    MLPClassifier,
    MLPRegressor,
    NetworkClassifier,
    RecurrentClassifier,
    RecurrentRegressor,
    export_onnx,
    import_onnx,
)
from lamina.errors import InputError
from lamina.formats.encoders import ArrayEncoder, ImageEncoder, SeriesEncoder, TableEncoder
from lamina.layers import Dense, Sequential
from lamina.training.loop import Run

pytest.importorskip("onnx", reason="the package onnx is not installed")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
NAMES = np.array(["ant", "bee", "cow"])[X[:, :3].argmax(axis=1)]
SERIES = [RNG.normal(size=(t, 2)).astype(np.float32) for t in RNG.integers(2, 9, 24)]
SHORT = {"max_epochs": 2, "random_state": 0, "verbose": 0}


@pytest.fixture
def drawn(monkeypatch):
    """Let ``fit`` draw weights, which takes no compilation."""

    def moved(W):
        return W + RNG.normal(size=W.shape).astype(W.dtype) / 3

    def train(run):
        run.state = replace(run.state, weights=jax.tree.map(moved, run.state.weights))

    monkeypatch.setattr(Run, "train", train)


@pytest.fixture
def ran(tmp_path):
    """Return a function (estimator, inputs, options) -> outputs by name."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

    def run(estimator, feeds, **options):
        export_onnx(estimator, tmp_path / "m.onnx", **options)
        session = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, feeds), strict=True))

    return run


def padded(series, filled=1e3):
    lengths = np.array([len(each) for each in series], np.int32)
    values = np.full((len(series), lengths.max(), 2), filled, np.float32)
    for row, each in zip(values, series, strict=True):
        row[: len(each)] = each
    return {"X": values, "lengths": lengths}


def assert_classifies(outputs, model, data):
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(data), atol=1e-5)
    np.testing.assert_array_equal(outputs["label"], model.predict(data))


@pytest.mark.parametrize("labels", [NAMES, NAMES == "ant", X[:, :3].argmax(axis=1) * 7 - 3],
                         ids=["text", "bool", "whole"])  # fmt: skip
def test_a_classifier_and_its_labels(drawn, ran, labels):
    model = MLPClassifier(hidden=(8,), **SHORT).fit(X, labels)
    outputs = ran(model, {"X": X})
    assert list(outputs) == ["scores", "probabilities", "label"]
    assert_classifies(outputs, model, X)


def test_real_digits_linear(ran):
    from sklearn.datasets import load_digits

    digits = load_digits()
    model = LinearClassifier(encoder=ArrayEncoder(), optimizer="adam", **SHORT).fit(
        digits.data, digits.target
    )
    assert_classifies(ran(model, {"X": digits.data.astype(np.float32)}), model, digits.data)


def test_many_labels_and_hinge(drawn, ran):
    many = MLPClassifier(hidden=(8,), **SHORT).fit(X, (X > 0).astype(int))
    assert_classifies(ran(many, {"X": X}), many, X)
    hinge = LinearClassifier(loss="hinge", **SHORT).fit(X, NAMES)
    assert list(ran(hinge, {"X": X})) == ["scores", "label"]


@pytest.mark.parametrize("columns", [1, 2])
def test_a_regressor_answers_in_its_own_units(drawn, ran, columns):
    y = 1e5 + 300 * X[:, :columns].astype(float)
    y = y[:, 0] if columns == 1 else y
    model = MLPRegressor(hidden=(8,), **SHORT).fit(X, y)
    found = ran(model, {"X": X})["prediction"]
    assert (found.shape, found.dtype) == (y.shape, np.dtype(np.float64))
    np.testing.assert_allclose(found, model.predict(X), atol=300 * 1e-5)


def test_a_table_with_missing_cells_and_text(drawn, ran):
    table = pd.DataFrame({"age": X[:, 0] * 9 + 40, "income": X[:, 1] * 1e4 + 1e6, "year": 2000.0})
    table["soil"] = np.where(X[:, 2] > 0, "clay", "loam")
    table["label"] = X[:, 3]  # called as an output is
    table.loc[::7, "age"] = np.nan
    table = table.astype({"age": np.float32, "income": np.float32})
    model = MLPClassifier(hidden=(8,), encoder=TableEncoder(), **SHORT).fit(table, NAMES)
    table.loc[3, "soil"] = "never seen"
    feeds = {
        name: column.to_numpy(object if name == "soil" else np.float32)[:, None]
        for name, column in table.items()
    }
    outputs = ran(model, feeds)
    assert_classifies(outputs | {"label": outputs["label_1"]}, model, table)


def test_images_of_bytes(drawn, ran):
    images = RNG.integers(0, 256, (20, 8, 7, 2), np.uint8)
    options = SHORT | {"max_epochs": 1}
    model = ConvClassifier(
        filters=(4,), depth=1, hidden=(8,), encoder=ImageEncoder(), augment=("flip",), **options
    ).fit(images, NAMES[:20])
    assert_classifies(ran(model, {"X": images}), model, images)


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_series_of_unequal_length_and_back(drawn, ran, tmp_path, pooling):
    y = [int(each.mean() > 0) for each in SERIES]
    model = RecurrentClassifier(hidden=(3,), pooling=pooling, encoder=SeriesEncoder(), **SHORT)
    model.fit(SERIES, y)
    assert_classifies(ran(model, padded(SERIES)), model, SERIES)
    again = import_onnx(tmp_path / "m.onnx")
    assert type(again) is RecurrentClassifier
    np.testing.assert_allclose(again.predict_proba(SERIES), model.predict_proba(SERIES), atol=1e-5)
    np.testing.assert_array_equal(again.predict(SERIES), model.predict(SERIES))


def test_series_of_one_length_without_lengths(drawn, ran):
    equal = RNG.normal(size=(12, 5, 2)).astype(np.float32)
    model = RecurrentRegressor(hidden=(3,), cell="gru", **SHORT).fit(equal, equal[:, 0, 0])
    found = ran(model, {"X": equal}, lengths=False)["prediction"]
    np.testing.assert_allclose(found, model.predict(equal), atol=1e-5)


def test_texts_as_codes(drawn, ran):
    texts = ["a b c", "c d", "b b b a", "d"] * 6
    model = RecurrentClassifier(hidden=(3,), embedding=4, **SHORT).fit(texts, [0, 1] * 12)
    codes = [np.asarray(each) for each in model.encoder_.transform(texts)]
    lengths = np.array([len(each) for each in codes], np.int32)
    values = np.full((len(codes), lengths.max()), 10**6)
    for row, each in zip(values, codes, strict=True):
        row[: len(each)] = each
    assert_classifies(ran(model, {"X": values, "lengths": lengths}), model, texts)


def test_a_forecaster_with_exogenous_columns(drawn, ran):
    t = np.arange(80.0)
    series = np.stack([1e4 + t + 20 * np.sin(t / 2), 50 - t], axis=1)
    model = Forecaster(window=12, horizon=3, hidden=(4,), **SHORT).fit(series, exogenous=t % 7)
    found = ran(model, {"X": model.tail_[None]})["forecast"]
    np.testing.assert_allclose(found[0], model.predict(), atol=20 * 1e-5)


def test_a_language_model(drawn, ran):
    text = "the cat sat on the mat. " * 20
    model = CharacterModel(hidden=(8,), window=4, max_epochs=1, random_state=0).fit(text)
    codes = model.vocabulary_.encode(text[:50])
    p = ran(model, {"X": np.asarray(codes, np.int64)[None, :-1]})["probabilities"][0]
    nats = -np.log(p[np.arange(len(p)), codes[1:]]).mean()
    np.testing.assert_allclose(nats, model.evaluate(text[:50])["loss"], atol=1e-5)


def test_networks_come_back_with_their_classes_and_can_be_saved(drawn, ran, tmp_path):
    import lamina

    network = Sequential([Dense(8, "relu"), Dense(3)])
    model = NetworkClassifier(network=network, **SHORT).fit(X, NAMES)
    ran(model, {"X": X})
    again = import_onnx(tmp_path / "m.onnx")
    assert again.classes_.tolist() == ["ant", "bee", "cow"]
    again.save(tmp_path / "again.safetensors")
    loaded = lamina.load(tmp_path / "again.safetensors")
    np.testing.assert_allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-6)
    by_probabilities = import_onnx(tmp_path / "m.onnx", output="probabilities")
    np.testing.assert_allclose(by_probabilities.predict_proba(X), model.predict_proba(X), atol=1e-6)
    with pytest.raises(InputError, match="classes expected 3 of them"):
        import_onnx(tmp_path / "m.onnx", classes=["yes", "no"])


def test_what_is_not_fitted_is_told(tmp_path):
    with pytest.raises(InputError, match="expected a fitted MLPClassifier"):
        export_onnx(MLPClassifier(), tmp_path / "m.onnx")
