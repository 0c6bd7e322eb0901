"""Smaller networks: what must not change does not, what must be best is, and all of it travels."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina import (
    ConvClassifier,
    LinearClassifier,
    MLPClassifier,
    RecurrentClassifier,
    export_onnx,
    load,
)
from lamina.errors import FileFormatError, InputError
from lamina.formats.model_file import read_model, write_model
from lamina.formats.zeros import packed, unpacked
from lamina.inspection import compress
from lamina.inspection.budgets import Steps, shared_out
from lamina.inspection.low_rank import factored, principal
from lamina.inspection.sparse import stored
from lamina.inspection.surgery import numbers
from lamina.inspection.units import fewer_units, pivoted, without_dead_units
from lamina.layers import Conv1D, Conv2D, Dense, Flatten, MaxPool2D, Residual, Sequential
from lamina.layers.layer import PREDICTING
from lamina.models.folding import Bound

RNG = np.random.default_rng(0)


def bound(network, shape):
    weights, statistics = network.initialize(np.random.default_rng(1), shape)
    for own in weights.values():
        if "b" in own:
            own["b"] = RNG.normal(size=own["b"].shape).astype(np.float32)
    return Bound(network, weights, statistics)


def outputs(part, X):
    return np.asarray(part.layer.apply(part.weights, part.statistics, X, PREDICTING)[0])


def chain(parts, X):
    for part in parts:
        X = outputs(part, X)
    return X


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


@pytest.fixture(scope="module")
def model(digits):
    X, y = digits
    return MLPClassifier(max_epochs=15, random_state=0, verbose=0).fit(X[:1400], y[:1400])


def test_a_factored_layer_errs_by_the_variance_left_out_and_no_rank_r_map_errs_less(float64):
    X = RNG.normal(size=(500, 9)) @ RNG.normal(size=(9, 9)) + 3.0
    layer = Dense(7)
    W, b = RNG.normal(size=(9, 7)), RNG.normal(size=7)
    part = Bound(layer, {"W": W, "b": b}, {})
    Y = X @ W + b
    found = principal(part, X)
    two = factored(part, found, 2)
    assert [each.weights["W"].shape for each in two] == [(9, 2), (2, 7)]
    error = np.square(chain(two, X) - Y).sum()
    values = np.linalg.svd(Y - Y.mean(axis=0), compute_uv=False)  # Eckart and Young
    assert_allclose(error, np.square(values[2:]).sum(), rtol=1e-9)
    assert_allclose(found.shares, np.square(values) / np.square(values).sum(), rtol=1e-9)
    assert factored(part, found, 5) == [part]  # 5 (9 + 7) numbers are more than 9 · 7


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2D(12, 3, stride=2, padding="same", activation="relu"), (9, 8, 5)),
        (Conv1D(12, 4, dilation=2, activation="tanh", bias=False), (20, 5)),
        (Dense(12, "relu"), (40,)),
    ],
)
def test_a_layer_of_low_rank_is_two_that_do_the_same(layer, shape):
    weights, _ = layer.initialize(np.random.default_rng(1), shape)
    W = weights["W"]
    planted = RNG.normal(size=(W[..., 0].size, 3)) @ RNG.normal(size=(3, 12))
    part = Bound(layer, weights | {"W": planted.reshape(W.shape).astype(np.float32)}, {})
    X = RNG.normal(size=(30, *shape)).astype(np.float32)
    two = factored(part, principal(part, X), 3)
    assert len(two) == 2
    before = outputs(part, X)
    assert_allclose(chain(two, X), before, atol=2e-5 * np.abs(before).max())


def test_a_budget_is_shared_out_as_the_best_of_all_ways():
    gains = {"a": np.array([0.6, 0.3, 0.1]), "b": np.array([0.9, 0.06, 0.04])}
    costs = {"a": 5, "b": 2}
    layers = {path: Steps(gains[path], costs[path]) for path in gains}

    def size(counts):
        return sum(costs[path] * count for path, count in counts.items())

    for most in (7, 12, 17, 19, 21):
        ways = [{"a": i, "b": j} for i in (1, 2, 3) for j in (1, 2, 3)]
        found = shared_out(layers, size, most, 21)
        assert size(found) <= most
        gain = {size(way): sum(gains[p][: way[p]].sum() for p in way) for way in ways}
        better = [g for s, g in gain.items() if s <= size(found)]
        assert_allclose(sum(gains[p][: found[p]].sum() for p in found), max(better))
    with pytest.raises(InputError, match=r"budget expected at least 0\.333 of this network"):
        shared_out(layers, size, 6, 21)


NETWORK = Sequential(
    [
        Conv2D(6, 3, activation="relu"),
        MaxPool2D(2),
        Conv2D(5, 3, activation="relu", bias=False),
        Flatten(),
        Dense(8, "relu"),
        Dense(4),
    ]
)


def test_dead_units_go_and_nothing_changes():
    whole = bound(NETWORK, (6, 6, 2))
    W = whole.weights
    W["conv_0"]["W"][..., 1] = W["conv_0"]["b"][1] = 0  # always zero
    W["conv_1"]["W"][:, :, 3] = 0  # never met
    W["dense_0"]["W"].reshape(9, 5, 8)[:, 2] = 0
    W["dense_1"]["W"][[0, 7]] = 0
    small = without_dead_units(whole)
    assert [m["W"].shape for m in small.weights.values()] == [
        (3, 3, 2, 4), (3, 3, 4, 4), (36, 6), (6, 4),
    ]  # fmt: skip
    X = RNG.normal(size=(20, 6, 6, 2)).astype(np.float32)
    assert_allclose(outputs(small, X), outputs(whole, X), atol=1e-5)


def test_units_that_others_tell_go_first_and_their_part_is_taken_over():
    layers = [
        replace(layer, activation="tanh") if hasattr(layer, "bias") else layer
        for layer in NETWORK.layers[:-1]
    ]
    whole = bound(Sequential([*layers, NETWORK.layers[-1]]), (6, 6, 2))
    W = whole.weights
    twins = {"conv_0": (4, 0), "conv_1": (4, 1), "dense_0": (7, 2)}
    for name, (i, j) in twins.items():  # unit i says what unit j says
        for array in W[name].values():
            array[..., i] = array[..., j]
    X = RNG.normal(size=(200, 6, 6, 2)).astype(np.float32)
    least = numbers(whole)
    for share in np.arange(0.95, 0.5, -0.03):
        small = fewer_units(whole, X, share * least, least)
        if [m["W"].shape[-1] for m in small.weights.values()][:3] == [5, 4, 7]:
            break
        assert numbers(small) <= share * least
    kept = [m["W"].shape[-1] for m in small.weights.values()]
    if kept[:3] == [5, 4, 7]:
        scale = np.abs(outputs(whole, X)).max()
        assert_allclose(outputs(small, X), outputs(whole, X), atol=1e-3 * scale)
    else:
        pytest.fail(f"no budget left out the twins alone, kept {kept}")


def test_pivots_against_distances_to_the_span():
    A = RNG.normal(size=(30, 6)) * [1, 5, 2, 0, 3, 1]
    order, left = pivoted(A.T @ A)
    for i in range(5):
        Q = np.linalg.qr(A[:, order[:i]])[0] if i else np.zeros((30, 0))
        rest = np.square(A - Q @ (Q.T @ A)).sum(axis=0)
        assert order[i] == rest.argmax()
        assert_allclose(left[i], rest.sum())
    assert order[5] == 3


@pytest.fixture(scope="module")
def found(model, digits):
    X, y = digits
    return compress(model, X[:1400], y[:1400], budget=0.25, epochs=20)


@pytest.mark.parametrize("i", [1, 2, 3], ids=["svd", "units", "prune"])
def test_a_quarter_of_the_numbers_for_nearly_the_same(i, found, model, digits, tmp_path):
    X, y = digits
    small = found.tried[i].model
    assert small.score(X[1400:], y[1400:]) > model.score(X[1400:], y[1400:]) - 0.03
    model.save(tmp_path / "whole.safetensors")
    small.save(tmp_path / "small.safetensors")
    sizes = [(tmp_path / f"{n}.safetensors").stat().st_size for n in ("small", "whole")]
    assert sizes[0] < 0.32 * sizes[1]  # of which 12 kB are the history
    again = load(tmp_path / "small.safetensors")
    assert_array_equal(again.predict_proba(X), small.predict_proba(X))
    assert_array_equal(load(tmp_path / "whole.safetensors").predict(X), model.predict(X))


def test_auto_takes_what_measures_best_and_leaves_the_model_alone(found, model, digits):
    X, _ = digits
    again = MLPClassifier(max_epochs=15, random_state=0, verbose=0).fit(X[:1400], digits[1][:1400])
    assert_array_equal(model.predict_proba(X[:5]), again.predict_proba(X[:5]))
    assert [each.method for each in found.tried] == ["none", "svd", "units", "prune"]
    top = max(each.figure for each in found.tried[1:])
    best, half_error = found.best(), 0.5 * np.sqrt(top * (1 - top) / found.held_out)
    for each in found.tried[1:]:
        assert each.numbers <= 0.25 * found.whole.numbers + 1
        if each.figure >= top - half_error:
            assert best.operations <= each.operations
    assert best.figure >= top - half_error
    assert found.model is best.model
    assert found.draw().axes[0].get_xlabel() == "share of the numbers"


def test_a_convolutional_network_in_one_piece(digits, tmp_path):
    X, y = digits
    X = X.reshape(-1, 8, 8)
    settings = {"filters": (12, 16), "depth": 1, "hidden": (32,), "max_epochs": 2, "verbose": 0}
    whole = ConvClassifier(**settings, random_state=0).fit(X[:1000], y[:1000])
    found = compress(whole, X[:1000], y[:1000], budget=0.999, method="svd", epochs=0)
    same = found.model  # all it loses are normalisations, folded in
    assert "batch_norm_0" not in same.weights_
    assert_allclose(same.predict_proba(X), whole.predict_proba(X), atol=2e-3)
    small = whole.compressed(X[:1000], y[:1000], 0.4, "units", epochs=1)
    small.save(tmp_path / "m.safetensors")
    assert_array_equal(load(tmp_path / "m.safetensors").predict(X), small.predict(X))
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    export_onnx(same, tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"X": X[:50, ..., None]})
    assert_allclose(found, same.predict_proba(X[:50]), atol=1e-5)


def test_recurrent_matrices_are_pruned():
    X, y = RNG.normal(size=(60, 7, 2)).astype(np.float32), np.arange(60) % 2
    whole = RecurrentClassifier(hidden=(16,), max_epochs=1, verbose=0, random_state=0).fit(X, y)
    small = whole.compressed(X, y, 0.5, "prune", epochs=1)
    matrices = [W for W in jax.tree.leaves(small.weights_["lstm_0"]) if W.ndim > 1]
    zeros = [np.sum(W == 0) for W in matrices]
    assert all(count > 0 for count in zeros)
    assert sum(zeros) > 0.5 * sum(W.size for W in matrices)  # still, though trained on
    assert stored(Bound(small.network_, small.weights_, small.statistics_)) < 1252  # of 2502
    with pytest.raises(InputError, match="method='prune'"):
        whole.compressed(X, y, 0.5, "svd")


def test_branches_keep_their_width():
    network = Sequential([Dense(6), Residual(Sequential([Dense(20, "relu"), Dense(6)])), Dense(3)])
    whole = bound(network, (5,))
    X = RNG.normal(size=(100, 5)).astype(np.float32)
    small = fewer_units(whole, X, 0.6 * numbers(whole), numbers(whole))
    assert small.layer.output_shape((5,)) == (3,)
    assert small.weights["residual_0"]["body"]["dense_1"]["W"].shape[1] == 6
    assert numbers(small) <= 0.6 * numbers(whole)


def test_what_cannot_be_done_is_said(model, digits):
    X, y = digits
    for budget in (0, 1, -0.1, "much"):
        with pytest.raises(InputError, match="budget expected a number"):
            model.compressed(X, y, budget)
    with pytest.raises(InputError, match="method expected one of auto, svd"):
        model.compressed(X, y, method="sdv")
    with pytest.raises(InputError, match="budget expected at least"):
        model.compressed(X, y, 0.001)
    linear = LinearClassifier(max_epochs=1, random_state=0, verbose=0).fit(X, y)
    with pytest.raises(InputError, match="budget expected at least"):
        linear.compressed(X, y, 0.1, "units")


def test_zeros_are_stored_as_bits(tmp_path, model):
    W = RNG.normal(size=(40, 50)).astype(np.float32) * (RNG.random((40, 50)) < 0.2)
    arrays = {"a": W, "b": np.zeros(7, np.float32), "c": np.ones((64, 64), np.float32)}
    stored = packed(arrays)
    assert set(stored) == {"a/places", "a/values", "b", "c"}
    shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    for name, array in unpacked(stored, shapes).items():
        assert_array_equal(array, arrays[name])
    for broken in (stored["a/values"][1:], stored["a/values"].astype(np.float64)):
        with pytest.raises(FileFormatError, match="a expected 2000 places"):
            unpacked(stored | {"a/values": broken}, shapes)
    with pytest.raises(FileFormatError, match="a expected 2000 places"):
        unpacked(stored | {"a/places": stored["a/places"][1:]}, shapes)
    model.save(tmp_path / "m.safetensors")
    document, arrays = read_model(tmp_path / "m.safetensors")
    arrays["weights/dense_0/W/places"] = np.zeros(3, np.uint8)
    arrays["weights/dense_0/W/values"] = arrays.pop("weights/dense_0/W")
    write_model(tmp_path / "m.safetensors", document, arrays)
    with pytest.raises(FileFormatError, match="expected 16384 places"):
        load(tmp_path / "m.safetensors")
