"""Composition: names, nesting, shapes, statistics, penalties, errors."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.layers import (
    PREDICTING,
    Activation,
    Context,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Penalty,
    Sequential,
)

NESTED = Sequential(
    [Flatten(), Dense(4, "relu"), Sequential([Dense(3, "tanh"), Dropout(0.5), Dense(5)]), Dense(2)]
)


def test_names_count_by_kind():
    layers = [Dense(2), Dropout(0.1), Dense(3), Activation("relu"), Dropout(0.2), Flatten()]
    names = [name for name, _ in Sequential(layers).named()]
    assert names == ["dense_0", "dropout_0", "dense_1", "activation_0", "dropout_1", "flatten_0"]


def test_weights_are_nested_as_the_layers_are():
    weights, statistics = NESTED.initialize(np.random.default_rng(0), (2, 3))
    shapes = {
        "dense_0": {"W": (6, 4), "b": (4,)},
        "sequential_0": {"dense_0": {"W": (4, 3), "b": (3,)}, "dense_1": {"W": (3, 5), "b": (5,)}},
        "dense_1": {"W": (5, 2), "b": (2,)},
    }

    def shape_of(tree):
        return {k: shape_of(v) if isinstance(v, dict) else v.shape for k, v in tree.items()}

    assert shape_of(weights) == shapes
    assert statistics == {}
    assert NESTED.output_shape((2, 3)) == (2,)


def test_apply_is_the_product_of_the_maps():
    weights, _ = NESTED.initialize(np.random.default_rng(0), (2, 3))
    weights["dense_0"]["b"] += 0.3
    weights["sequential_0"]["dense_1"]["b"] -= 1
    X = np.random.default_rng(1).normal(size=(7, 2, 3)).astype(np.float32)
    A = np.maximum(X.reshape(7, 6) @ weights["dense_0"]["W"] + 0.3, 0)
    inner = weights["sequential_0"]
    A = np.tanh(A @ inner["dense_0"]["W"]) @ inner["dense_1"]["W"] - 1
    A = A @ weights["dense_1"]["W"]
    found, _ = NESTED.apply(weights, {}, X, PREDICTING)
    assert_allclose(found, A, rtol=1e-4, atol=1e-5)


def test_walk_shows_every_layers_output():
    network = Sequential([Dense(2, bias=False), Activation("relu")])
    W = np.array([[1, -1], [0, 1]], np.float32)
    steps = network.walk({"dense_0": {"W": W}}, {}, jnp.array([[1.0, 0.5]]))
    outputs = {name: np.asarray(A) for name, A, _ in steps}
    assert list(outputs) == ["dense_0", "activation_0"]
    assert_array_equal(outputs["dense_0"], [[1, -0.5]])
    assert_array_equal(outputs["activation_0"], [[1, 0]])


def test_an_empty_network_is_the_identity():
    X = jnp.ones((2, 3))
    assert Sequential([]).apply({}, {}, X, PREDICTING)[0] is X
    assert Sequential([]).output_shape((3,)) == (3,)


@dataclass(frozen=True)
class Counter(Layer):
    """A layer with running statistics: it counts samples, and adds the count to X."""

    kind: ClassVar[str] = "counter"

    def output_shape(self, input_shape, name):
        return input_shape

    def initialize(self, rng, input_shape):
        return {}, {"count": np.zeros((), np.float32)}

    def apply(self, weights, statistics, X, context):
        count = statistics["count"] + (X.shape[0] if context.train else 0)
        return X + count, {"count": count}


def test_statistics_travel_by_name_and_depth():
    network = Sequential([Counter(), Dense(3), Sequential([Counter()]), Counter()])
    weights, statistics = network.initialize(np.random.default_rng(0), (3,))
    assert statistics == {
        "counter_0": {"count": 0},
        "sequential_0": {"counter_0": {"count": 0}},
        "counter_1": {"count": 0},
    }
    statistics["counter_1"]["count"] += 10
    X = jnp.zeros((4, 3))
    _, after = network.apply(weights, statistics, X, Context(train=True))
    assert after == {
        "counter_0": {"count": 4},
        "sequential_0": {"counter_0": {"count": 4}},
        "counter_1": {"count": 14},
    }
    assert statistics["counter_0"] == {"count": 0}  # what is passed in stays as it was
    _, unchanged = network.apply(weights, after, X, PREDICTING)
    assert unchanged == after


def test_penalties_follow_the_nesting():
    own, default = Penalty(l1=1.0), Penalty(l2=0.5)
    network = Sequential([Dense(3), Sequential([Dense(2, penalty=own)]), Dense(1, bias=False)])
    weights, _ = network.initialize(np.random.default_rng(0), (4,))
    assert network.penalties(weights, default) == {
        "dense_0": {"W": default, "b": Penalty()},
        "sequential_0": {"dense_0": {"W": own, "b": Penalty()}},
        "dense_1": {"W": default},
    }


def test_a_network_is_a_value():
    def make(units=3):
        return Sequential([Dense(units, "relu"), Sequential([Dropout(0.1), Dense(2)])])

    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != make(4)
    assert Sequential([Dense(2)]) == Sequential((Dense(2),))
    assert len({make(), make(), make(4)}) == 2


def test_a_generator_of_layers_is_not_lost():
    assert Sequential(Dense(n) for n in (4, 2)) == Sequential([Dense(4), Dense(2)])


def test_errors_name_the_layer_by_its_path():
    network = Sequential([Flatten(), Sequential([Dense(3), Dense(2)])])
    assert network.output_shape((4, 4)) == (2,)
    broken = Sequential([Dense(3), Sequential([Activation("relu"), Dense(2)])])
    with pytest.raises(InputError, match=r"^dense_0 expected .* got samples of shape \(4, 4\)"):
        broken.output_shape((4, 4))
    nested = Sequential([Activation("relu"), Sequential([Activation("relu"), Dense(2)])])
    with pytest.raises(InputError, match=r"^net/sequential_0/dense_0 expected .* Put Flatten\(\)"):
        nested.output_shape((4, 4), "net")


@pytest.mark.parametrize("wrong", [64, "relu", None, Dense])
def test_what_is_no_layer_is_refused(wrong):
    with pytest.raises(InputError, match=r"Sequential expected a list of layers, got .* in it"):
        Sequential([Dense(3), wrong])
