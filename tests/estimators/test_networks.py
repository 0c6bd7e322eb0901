"""Perceptrons and composed networks: which layers a fit builds, and which it refuses."""

import numpy as np
import pytest

from lamina import MLPClassifier, NetworkClassifier, NetworkRegressor
from lamina.layers import Activation, Dense, Dropout, Flatten, Penalty, Sequential


def shapes(model):
    return {
        f"{layer}/{name}": W.shape
        for layer, arrays in model.weights_.items()
        for name, W in arrays.items()
    }


def test_perceptron_is_dense_layers_with_dropout_between(iris):
    model = MLPClassifier(hidden=[7, 5], activation="tanh", dropout=0.25, max_epochs=1)
    model.fit(*iris)
    assert model.network_ == Sequential(
        [
            Dense(7, "tanh", "auto"),
            Dropout(0.25),
            Dense(5, "tanh", "auto"),
            Dropout(0.25),
            Dense(3, init="glorot"),
        ]
    )
    assert shapes(model) == {
        "dense_0/W": (4, 7),
        "dense_0/b": (7,),
        "dense_1/W": (7, 5),
        "dense_1/b": (5,),
        "dense_2/W": (5, 3),
        "dense_2/b": (3,),
    }


def test_scores_are_the_layers_product(iris):
    X, y = iris
    model = MLPClassifier(hidden=(7, 5), activation="tanh", max_epochs=2, random_state=0)
    A = model.fit(X, y) and X
    for name in ("dense_0", "dense_1"):
        A = np.tanh(A @ model.weights_[name]["W"] + model.weights_[name]["b"])
    last = model.weights_["dense_2"]
    scores = A @ last["W"] + last["b"]
    np.testing.assert_allclose(model.decision_function(X), scores, atol=1e-5)
    P = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), P, atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), scores.argmax(axis=1))


def test_two_classes_have_one_score_each_and_one_margin(iris):
    X, y = iris
    X, y = X[y < 2], y[y < 2]
    model = MLPClassifier(hidden=(4,), max_epochs=20, random_state=0).fit(X, y)
    margin, P = model.decision_function(X), model.predict_proba(X)
    assert margin.shape == (100,)
    np.testing.assert_allclose(P[:, 1], 1 / (1 + np.exp(-margin)), atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), margin > 0)


def test_the_networks_initial_weights_are_its_schemes(iris):
    X, y = iris
    model = MLPClassifier(hidden=(4096,), init="lecun", max_epochs=1, learning_rate=1e-9)
    spread = model.fit(X, y).weights_["dense_0"]["W"].std()
    assert spread == pytest.approx(np.sqrt(1 / 4), rel=0.05)
    spread = model.set_params(init="he").fit(X, y).weights_["dense_0"]["W"].std()
    assert spread == pytest.approx(np.sqrt(2 / 4), rel=0.05)


def test_any_composition_learns(digits):
    X, y = digits
    network = Sequential([Flatten(), Dense(48), Activation("gelu"), Dropout(0.1), Dense(10)])
    model = NetworkClassifier(network=network, learning_rate=3e-3, max_epochs=30, random_state=0)
    assert model.fit(X[:1300], y[:1300]).score(X[1300:], y[1300:]) > 0.9
    assert list(shapes(model)) == ["dense_0/W", "dense_0/b", "dense_1/W", "dense_1/b"]


def test_a_nested_network_is_named_by_its_path(iris):
    inner = Sequential([Dense(6, "relu"), Dense(4, "relu")])
    model = NetworkClassifier(network=Sequential([inner, Dense(3)]), max_epochs=1).fit(*iris)
    assert model.weights_["sequential_0"]["dense_1"]["W"].shape == (6, 4)


def test_a_layers_own_penalty_comes_first(iris):
    X, y = iris
    network = Sequential([Dense(8, "relu", penalty=Penalty(l1=10.0)), Dense(3)])
    model = NetworkClassifier(network=network, learning_rate=0.05, max_epochs=60, random_state=0)
    model.fit(X, y)
    assert (model.weights_["dense_0"]["W"] == 0).all()
    assert (model.weights_["dense_1"]["W"] != 0).all()


def test_a_last_layer_that_does_not_fit_is_named(iris):
    X, y = iris
    wrong = NetworkClassifier(network=Sequential([Dense(8, "relu"), Dense(5)]))
    with pytest.raises(ValueError, match=r"3 scores a sample.* \(5,\)\. End it with Dense\(3\)"):
        wrong.fit(X, y)
    wrong = NetworkRegressor(network=Sequential([Dense(3)]))
    with pytest.raises(ValueError, match=r"End it with Dense\(1\)"):
        wrong.fit(X, y.astype(float))


def test_what_is_no_layer_is_refused(iris):
    with pytest.raises(ValueError, match=r"network expected a Layer, got \[64, 10\]\. Use Sequent"):
        NetworkClassifier(network=[64, 10]).fit(*iris)
    with pytest.raises(ValueError, match="Sequential expected a list of layers, got 64 in it"):
        Sequential([64, Dense(10)])


def test_without_a_network_there_is_one_that_learns(iris):
    model = NetworkClassifier(random_state=0).fit(*iris)
    assert list(shapes(model).values())[-1] == (3,)
    assert model.score(*iris) > 0.9


def test_dropout_in_training_only(iris):
    X, y = iris
    model = MLPClassifier(hidden=(32,), dropout=0.5, max_epochs=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    plain = MLPClassifier(hidden=(32,), max_epochs=3, random_state=0).fit(X, y)
    apart = np.abs(model.weights_["dense_0"]["W"] - plain.weights_["dense_0"]["W"]).max()
    assert apart > 1e-3
