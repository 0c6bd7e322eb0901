"""Model files: what travels, to the bit, into a new process; and what is refused."""

import json
import tracemalloc

import numpy as np
import optax
import pandas as pd
import pytest

import lamina
from lamina import (
    LinearClassifier,
    LinearRegressor,
    MLPClassifier,
    MLPRegressor,
    NetworkClassifier,
    NetworkRegressor,
)
from lamina.errors import FileFormatError, InputError
from lamina.formats.array_encoder import ArrayEncoder
from lamina.formats.image_encoder import ImageEncoder
from lamina.formats.model_file import read_model, write_model
from lamina.formats.table_encoder import TableEncoder
from lamina.functions.losses import Hinge, Huber, SoftmaxCrossEntropy
from lamina.layers import Activation, Dense, Dropout, Penalty, Sequential

SPECIES = np.array(["setosa", "versicolor", "virginica"])
NETWORK = Sequential(
    [Dense(6, "gelu", init="orthogonal", penalty=Penalty(l1=1e-3)), Dropout(0.2), Dense(5),
     Activation("tanh"), Dense(3, bias=False)]
)  # fmt: skip
SHORT = {"max_epochs": 2, "random_state": 0}


def _table(X):
    return pd.DataFrame(X, columns=["a", "b", "c", "d"])


# name: (model, inputs from iris's X, targets from iris's y)
CASES = {
    "linear": (LinearClassifier(**SHORT), lambda X: X, lambda y: y),
    "text classes": (MLPClassifier(hidden=(5,), **SHORT), lambda X: X, lambda y: SPECIES[y]),
    "object classes": (
        MLPClassifier(hidden=(5,), **SHORT), _table,
        lambda y: pd.Series(SPECIES.astype(object)[y], name="species"),
    ),
    "bool classes": (LinearClassifier(**SHORT), lambda X: X, lambda y: y == 1),
    "multilabel": (
        MLPClassifier(hidden=(5,), **SHORT), lambda X: X, lambda y: np.eye(3, dtype=int)[y]
    ),
    "dict of weights": (
        LinearClassifier(class_weight={0: 2.0, 2: 0.5}, **SHORT), lambda X: X, lambda y: y
    ),
    "loss with settings": (
        MLPClassifier(hidden=(5,), loss=SoftmaxCrossEntropy(0.1), **SHORT), lambda X: X,
        lambda y: y,
    ),
    "hinge": (LinearClassifier(loss=Hinge(0.5), **SHORT), lambda X: X, lambda y: y),
    "layers": (NetworkClassifier(network=NETWORK, **SHORT), lambda X: X, lambda y: y),
    "float64": (LinearRegressor(precision="float64", **SHORT), lambda X: X, lambda y: y * 1e3 - 7),
    "huber": (MLPRegressor(hidden=(5,), loss=Huber(0.3), **SHORT), lambda X: X, lambda y: y * 2.5),
    "two targets": (
        NetworkRegressor(network=Sequential([Dense(2)]), **SHORT), lambda X: X,
        lambda y: pd.DataFrame({"now": y, "later": -0.5 * y}),
    ),
    "table": (
        MLPClassifier(hidden=(5,), encoder=TableEncoder(), **SHORT),
        lambda X: _table(X).assign(
            a=lambda t: t["a"].where(t["a"] > 0), d=lambda t: np.where(t["d"] > 0, "wide", "narrow")
        ),
        lambda y: y,
    ),
    "images": (
        LinearClassifier(encoder=ImageEncoder(), **SHORT),
        lambda X: np.abs(X * 50).astype(np.uint8).reshape(-1, 2, 2, 1), lambda y: y,
    ),
    "array": (
        LinearRegressor(encoder=ArrayEncoder(), **SHORT), lambda X: X * 100, lambda y: 1.0 * y
    ),
}  # fmt: skip

PREDICT_ALL = """
import pickle, sys
import numpy as np
import lamina

with open(sys.argv[1] + "/cases.pickle", "rb") as file:
    inputs = pickle.load(file)
answers = {}
for name, X in inputs.items():
    model = lamina.load(f"{sys.argv[1]}/{name}.safetensors")
    answers[name] = {
        method: getattr(model, method)(X)
        for method in ("predict", "predict_proba", "decision_function")
        if hasattr(model, method)
    }
    answers[name]["parameters"] = model.get_params()
    answers[name]["history"] = model.history_
with open(sys.argv[1] + "/answers.pickle", "wb") as file:
    pickle.dump(answers, file)
"""


@pytest.fixture(scope="module")
def saved(iris, tmp_path_factory):
    """Fit and save every case, predict it in one new process, and return both sides."""
    import pickle
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("models")
    models, inputs = {}, {}
    for name, (model, inputs_of, targets_of) in CASES.items():
        inputs[name] = inputs_of(iris[0])
        models[name] = model.fit(inputs[name], targets_of(iris[1]))
        models[name].save(folder / f"{name}.safetensors")
    (folder / "cases.pickle").write_bytes(pickle.dumps(inputs))
    command = [sys.executable, "-W", "error", "-c", PREDICT_ALL, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = pickle.loads((folder / "answers.pickle").read_bytes())
    return folder, models, inputs, answers


@pytest.mark.parametrize("name", CASES)
def test_a_new_process_predicts_the_same_bits(saved, name):
    _, models, inputs, answers = saved
    model, answer = models[name], answers[name]
    methods = ("predict", "predict_proba", "decision_function")
    assert [m for m in methods if m in answer] == [m for m in methods if hasattr(model, m)]
    for method in methods:
        if method in answer:
            expected = getattr(model, method)(inputs[name])
            assert answer[method].dtype == expected.dtype
            if expected.dtype == object:
                assert answer[method].tolist() == expected.tolist()
            else:
                assert answer[method].tobytes() == expected.tobytes()
    assert answer["parameters"] == model.get_params()
    assert answer["history"] == model.history_


@pytest.mark.parametrize("name", CASES)
def test_what_was_learned_travels(saved, name):
    folder, models, _, _ = saved
    model, loaded = models[name], lamina.load(folder / f"{name}.safetensors")
    assert type(loaded) is type(model)
    assert loaded.network_ == model.network_
    assert loaded.loss_ == model.loss_
    assert loaded.n_features_in_ == model.n_features_in_
    assert loaded.target_names_ == model.target_names_
    for attribute in ("classes_", "feature_names_in_", "target_mean_", "target_scale_"):
        assert hasattr(loaded, attribute) == hasattr(model, attribute)
        if hasattr(model, attribute):
            np.testing.assert_array_equal(getattr(loaded, attribute), getattr(model, attribute))
    if name in ("table", "images", "array"):
        assert loaded.encoder_ == model.encoder_


def test_a_loaded_model_can_be_saved_again_unchanged(saved, tmp_path):
    folder, *_ = saved
    for name in CASES:
        lamina.load(folder / f"{name}.safetensors").save(tmp_path / "again.safetensors")
        first = (folder / f"{name}.safetensors").read_bytes()
        assert (tmp_path / "again.safetensors").read_bytes() == first


def test_a_loaded_model_goes_on_training(saved, iris):
    folder, *_ = saved
    X, y = iris
    model = lamina.load(folder / "linear.safetensors").set_params(warm_start=True, max_epochs=30)
    before = model.evaluate(X, y)["loss"]
    assert model.fit(X, y).evaluate(X, y)["loss"] < before
    assert len(model.history_["loss"]) == 32
    model.partial_fit(X, y)
    assert len(model.history_["loss"]) == 33


def test_names_of_columns_are_checked_after_loading(saved, iris):
    folder, *_ = saved
    model = lamina.load(folder / "object classes.safetensors")
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(_table(iris[0]).rename(columns={"a": "z"}))


def test_what_is_not_data_is_left_out(iris, tmp_path):
    X, y = iris
    model = LinearClassifier(
        optimizer=optax.sgd(0.1), callbacks=[lambda record: None], max_epochs=2,
        schedule=lambda progress: 1 - progress, random_state=np.random.RandomState(0),
    ).fit(X, y)  # fmt: skip
    model.save(tmp_path / "model.safetensors")
    loaded = lamina.load(tmp_path / "model.safetensors")
    assert loaded.optimizer == "auto"
    assert loaded.callbacks is None
    assert loaded.schedule == "cosine"
    assert loaded.random_state is None
    assert loaded.max_epochs == 2
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


def test_an_unfitted_model_cannot_be_saved(tmp_path):
    with pytest.raises(InputError, match=r"expected a fitted LinearClassifier.*Call fit first"):
        LinearClassifier().save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_subclass_cannot_be_saved(iris, tmp_path):
    class Mine(LinearClassifier):
        pass

    with pytest.raises(InputError, match=r"one of Lamina's estimators .*, got Mine"):
        Mine(max_epochs=1).fit(*iris).save(tmp_path / "model.safetensors")


def test_labels_of_several_kinds_cannot_be_saved(iris, tmp_path):
    X, y = iris
    labels = np.array([(1, 2), (3, 4)], dtype="i,i").astype(object)[y % 2]
    model = LinearClassifier(max_epochs=1).fit(X, y)
    model.classes_ = np.unique(labels)
    with pytest.raises(InputError, match="class labels that are all text or all numbers"):
        model.save(tmp_path / "model.safetensors")


# Files that are not what they should be


@pytest.fixture
def parts(saved):
    """Return a saved perceptron's document and arrays, to be spoiled and written anew."""
    folder, *_ = saved
    return read_model(folder / "text classes.safetensors")


def reload(tmp_path, document, arrays):
    write_model(tmp_path / "spoiled.safetensors", document, arrays)
    return lamina.load(tmp_path / "spoiled.safetensors")


def test_the_parts_unspoiled_load(parts, tmp_path, iris):
    document = json.loads(json.dumps(parts[0]))
    assert set(reload(tmp_path, document, parts[1]).predict(iris[0])) <= set(SPECIES)


def put(*path_and_value):
    """Return a change of a document: the entry at a path gets a value."""
    *path, key, value = path_and_value

    def change(document):
        place = document
        for step in path:
            place = place[step]
        place[key] = value

    change.__name__ = ".".join(map(str, [*path, key])) + f"={str(value)[:20]}"
    return change


def drop(key):
    def change(document):
        del document[key]

    change.__name__ = f"no {key}"
    return change


DEEP = {"is": "Dense", "units": 3}
for _ in range(300):
    DEEP = {"is": "Sequential", "layers": [DEEP]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("estimator", "MLPClasifier"), "Did you mean 'MLPClassifier'?"),
        (put("estimator", ["MLPClassifier"]), "estimator in the model file expected one of"),
        (drop("estimator"), "estimator"),
        (drop("network"), "network"),
        (drop("target"), "target"),
        (put("network", "layers", 0, "is", "Densse"), "Did you mean 'Dense'?"),
        (put("network", "layers", 0, "units", -3), "units expected a whole number at least 1"),
        (put("network", "layers", 0, "units", 4), "dense_0/W of shape (4, 4)"),
        (put("network", "layers", 0, "units", 10**12), ""),
        (put("network", "layers", 0, "activation", "rleu"), "Did you mean 'relu'?"),
        (put("network", "layers", 0, "colour", "red"), "colour"),
        (put("network", "layers", []), "dense_0/W"),
        (put("network", []), ""),
        (put("network", DEEP), ""),
        (put("input_shape", [5]), "dense_0/W of shape (5, 5)"),
        (put("input_shape", 4), ""),
        (put("n_features_in", 7), ""),
        (put("n_features_in", "four"), ""),
        (put("loss", "name", "softmx"), "Did you mean 'softmax'?"),
        (put("loss", "label_smoothing", 2), "label_smoothing expected a number at least 0"),
        (put("loss", {"name": "squared"}), ""),
        (put("target", "classes", ["setosa", "virginica"]), ""),
        (put("target", "kind", "V"), ""),
        (put("parameters", "precision", "float16"), "precision expected one of"),
        (put("parameters", "precision", "float64"), "float64"),
        (put("parameters", "loss", {"loss": {"name": "softmx"}}), "Did you mean 'softmax'?"),
        (put("parameters", "loss", {"programme": "rm -rf"}), "programme"),
        (put("parameters", 5), ""),
        (put("history", 5), ""),
        (put("feature_names_in", ["a", "b"]), ""),
        (put("encoder", {"kind": "sound"}), "sound"),
        (put("encoder", {"kind": "array", "standardize": True, "mean": [0, 0], "scale": [1, 1]}),
         ""),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)  # fmt: skip
def test_documents_that_describe_no_model(parts, tmp_path, change, words):
    document, arrays = json.loads(json.dumps(parts[0])), parts[1]
    change(document)
    with pytest.raises(FileFormatError) as caught:
        reload(tmp_path, document, arrays)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert "spoiled.safetensors" in message  # which file


def test_no_memory_is_taken_on_a_documents_word(parts, tmp_path):
    document, arrays = json.loads(json.dumps(parts[0])), parts[1]
    document["network"]["layers"][0]["units"] = 20_000_000  # 640 MB of weights
    tracemalloc.start()
    with pytest.raises(FileFormatError):
        reload(tmp_path, document, arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_a_regressors_target_must_fit_its_network(saved, tmp_path):
    folder, *_ = saved
    document, arrays = read_model(folder / "two targets.safetensors")
    document["target"]["mean"] = [0.0]
    with pytest.raises(FileFormatError, match="mean"):
        reload(tmp_path, document, arrays)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda a: a | {"weights/dense_0/W": np.zeros((4, 6), "f4")}, r"got \(4, 6\) and float32"),
        (lambda a: a | {"weights/dense_0/W": np.zeros((4, 5), "f8")}, r"\(4, 5\) and float64"),
        (lambda a: {k: v for k, v in a.items() if k != "weights/dense_1/b"}, r"1 missing \(weigh"),
        (lambda a: a | {"weights/dense_9/W": np.zeros(1, "f4")}, r"1 unexpected \(weights/dense_9"),
        (lambda a: a | {"backdoor": np.zeros(1, "f4")}, r"1 unexpected \(backdoor\)"),
    ],
)
def test_arrays_that_do_not_fit(parts, tmp_path, spoil, words):
    with pytest.raises(FileFormatError, match=words):
        reload(tmp_path, parts[0], spoil(parts[1]))


def test_edited_and_truncated_and_foreign_files(saved, tmp_path):
    from safetensors.numpy import save_file

    folder, *_ = saved
    whole = (folder / "linear.safetensors").read_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole[:-3])
    with pytest.raises(FileFormatError, match=r"model\.safetensors .*truncated"):
        lamina.load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(FileFormatError, match="was changed after it was written"):
        lamina.load(path)
    save_file({"W": np.zeros((2, 2), "f4")}, path)
    with pytest.raises(FileFormatError, match="so another library wrote it"):
        lamina.load(path)
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(FileFormatError, match="a zip archive"):
        lamina.load(path)
    with pytest.raises(InputError, match=r"modle\.safetensors .*Did you mean 'model\.safetensors'"):
        lamina.load(tmp_path / "modle.safetensors")
