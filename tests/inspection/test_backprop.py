"""Every matrix of the backward pass against the gradients that training takes, and by hand."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina import LinearClassifier
from lamina.functions.losses import loss as loss_named
from lamina.inspection.backprop import backprop, trace
from lamina.layers import (
    GRU,
    LSTM,
    RNN,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    EachStep,
    Embedding,
    Flatten,
    MaxPool2D,
    Parallel,
    Residual,
    Sequences,
    Sequential,
)
from lamina.layers.layer import Context

SOFTMAX = loss_named("softmax")
LENGTHS = np.array([4, 1, 3], np.int32)
DEEP = Sequential([Dense(4, "relu"), Dropout(0.3), Residual(Sequential([Dense(4, "tanh")]))])
NETWORKS = {
    "dense": ((5,), None, Sequential([DEEP, Dense(3)])),
    "conv": (
        (6, 6, 2),
        None,
        Sequential(
            [
                Conv2D(4, 3, activation="relu", stride=2),
                BatchNorm(),
                MaxPool2D(2),
                Parallel([Conv2D(2, 1), Conv2D(3, 3, dilation=2)]),
                Flatten(),
                Dense(3),
            ]
        ),
    ),
    "recurrent": (
        (4, 2),
        LENGTHS,
        Sequential(
            [
                LSTM(3, output="all", bidirectional=True),
                GRU(4, output="all", reverse=True, initial="learned"),
                RNN(3, output="mean"),
                Dense(3),
            ]
        ),
    ),
    "codes": (
        (4,),
        None,
        Sequential(
            [Embedding(7, 3), EachStep(Dense(4, "tanh")), LSTM(3, bidirectional=True), Dense(3)]
        ),
    ),
}


def drawn(kind):
    """Return a network, its weights, statistics, samples and labels."""
    shape, lengths, network = NETWORKS[kind]
    rng = np.random.default_rng(0)
    weights, statistics = network.initialize(rng, shape)
    if kind == "codes":
        X = rng.integers(0, 7, (3, *shape)).astype(np.int32)
    else:
        X = rng.normal(size=(3, *shape)).astype(np.float32)
    if lengths is not None:
        X = Sequences(X, lengths)
    return network, weights, statistics, X, np.array([0, 2, 1], np.int32)


@pytest.fixture(scope="module", params=NETWORKS)
def traced(request):
    """Return a trace, with the gradients of the same loss by autodiff of the untouched network."""
    network, weights, statistics, X, y = drawn(request.param)
    key = jax.random.key(1)

    def mean_loss(weights):
        scores, _ = network.apply(weights, statistics, X, Context(train=True, key=key))
        return jnp.mean(SOFTMAX(scores, y))

    return trace(network, SOFTMAX, weights, statistics, X, y, key), jax.grad(mean_loss)(weights)


def test_gradients_are_trainings(traced):
    found, expected = traced
    jax.tree.map(
        lambda a, b: assert_allclose(a, b, atol=1e-6 * max(1e-3, np.abs(b).max())),
        dict(sorted_tree(found.gradients)),
        dict(sorted_tree(expected)),
    )


def sorted_tree(tree):
    return sorted(
        (jax.tree_util.keystr(path), leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    )


def test_each_layers_gradients_are_the_networks(traced):
    found, _ = traced
    for layer in found.layers:
        place = found.gradients
        for name in layer.path.split("/"):
            place = place.get(name, {})
        whole, own = sorted_tree(place), sorted_tree(layer.gradients)
        assert [path for path, _ in whole] == [path for path, _ in own]
        for (_, a), (_, b) in zip(whole, own, strict=True):
            assert_allclose(a, b, atol=1e-6 * max(1e-3, np.abs(a).max()))


def test_products_give_the_layers_gradients(traced):
    found, _ = traced
    seen = 0
    for layer in found.layers:
        for product in layer.products:
            *direction, name = product.name.split("/")
            gradients = layer.gradients[direction[0]] if direction else layer.gradients
            if name == "dX" and not direction:
                expected = getattr(layer.dX, "values", layer.dX)
            elif name.startswith("d") and name[1:] in gradients:
                expected = gradients[name[1:]]
            else:
                continue
            seen += 1
            expected = np.asarray(expected)
            size = max(1e-3, np.abs(expected).max())
            assert_allclose(product.value.reshape(expected.shape), expected, atol=2e-6 * size)
    assert seen >= 6


def test_gradients_flow_from_layer_to_layer(traced):
    found, _ = traced
    assert_allclose(found.layers[0].dA, found.dscores, atol=1e-7)
    paths = [layer.path for layer in found.layers]
    assert len(set(paths)) == len(paths)
    straight = [layer for layer in found.layers if "/" not in layer.path]
    for later, earlier in pairwise(straight):
        if paths.index(earlier.path) == paths.index(later.path) + 1:
            a, b = (getattr(x, "values", x) for x in (later.dX, earlier.dA))
            assert_allclose(a, b, atol=1e-6 * max(1e-3, np.abs(a).max()))


def test_two_layers_by_hand():
    """One sample, squared loss: every number by the chain rule on paper."""
    network = Sequential([Dense(2, "relu"), Dense(1)])
    weights = {
        "dense_0": {"W": np.array([[1.0, -1], [2, 1]], np.float32), "b": np.zeros(2, np.float32)},
        "dense_1": {"W": np.array([[3.0], [5]], np.float32), "b": np.ones(1, np.float32)},
    }
    X, y = np.array([[1.0, -2]], np.float32), np.array([[0.0]], np.float32)
    # Y = (1 - 4, -1 - 2) = (-3, -3): both units are off, so only dense_1's bias learns
    found = trace(network, loss_named("squared"), weights, {}, X, y)
    assert found["dense_1"].gradients["b"] == pytest.approx(found.dscores[0])
    assert not np.any(found["dense_0"].gradients["W"])
    assert found["dense_0"].gain == 0
    X = np.array([[2.0, 1]], np.float32)  # Y = (4, -1), A = (4, 0), score 13
    found = trace(network, loss_named("squared"), weights, {}, X, y)
    d = float(found.dscores[0, 0])
    assert_allclose(found["dense_1"].gradients["W"], [[4 * d], [0]])
    assert_allclose(found["dense_0"].dA, [[3 * d, 5 * d]])
    assert_allclose(found["dense_0"].gradients["W"], [[6 * d, 0], [3 * d, 0]])
    assert_allclose(found["dense_0"].dX, [[3 * d, 6 * d]])
    assert repr(found).startswith("loss ")
    assert "\ndense_1\n    Y = X W  (1×1, norm 12)\n    dW = Xᵀ dY  (2×1" in repr(found)


def test_an_estimator_is_looked_at_as_it_trained():
    X = np.random.default_rng(0).normal(size=(30, 4))
    y = np.array(["a", "b", "c"])[X[:, :3].argmax(axis=1)]
    model = LinearClassifier(max_epochs=3, random_state=0).fit(X, y)
    found = backprop(model, X, y)
    p = model.predict_proba(X)
    assert_allclose(found.dscores, (p - np.eye(3)[X[:, :3].argmax(axis=1)]) / 30, atol=1e-6)
    assert_allclose(found["dense_0"].gradients["W"], X.T @ found.dscores, atol=1e-6)
    assert found.loss == pytest.approx(model.evaluate(X, y)["loss"], rel=1e-5)
