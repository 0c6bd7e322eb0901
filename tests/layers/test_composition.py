"""Branches and residual blocks: values, names, nesting, statistics, keys and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.layers import (
    PREDICTING,
    Activation,
    BatchNorm,
    Context,
    Dense,
    Dropout,
    GlobalAveragePool,
    MaxPool2D,
    Parallel,
    Penalty,
    Residual,
    Sequential,
    squeeze_excitation,
)

IDENTITY = Sequential([])
X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def batch(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def apply(layer, weights, X, context=PREDICTING):
    """Return the output, whose shape must be what the layer said."""
    A, _ = layer.apply(weights, {}, X, context)
    assert A.shape == (len(X), *layer.output_shape(X.shape[1:], ""))
    return np.asarray(A)


def test_each_join_by_hand():
    branches = [Dense(2, bias=False), Dense(2, "relu")]
    weights, _ = Parallel(branches).initialize(np.random.default_rng(0), (3,))
    weights["branch_1"]["b"] += 0.5
    A = X @ weights["branch_0"]["W"]
    B = np.maximum(X @ weights["branch_1"]["W"] + 0.5, 0)
    expected = {"concatenate": np.concatenate([A, B], axis=1), "sum": A + B, "product": A * B}
    for join, C in expected.items():
        found = apply(Parallel(branches, join), weights, X)
        assert_allclose(found, C, rtol=1e-5, atol=1e-6, err_msg=join)


def test_images_are_concatenated_by_channel():
    image = batch(2, 4, 4, 3)
    A = apply(Parallel([IDENTITY, MaxPool2D(1), IDENTITY]), {}, image)
    assert_array_equal(A, np.concatenate([image] * 3, axis=-1))


@pytest.mark.parametrize("join", ["sum", "product"])
def test_channels_broadcast_over_an_image(join):
    image = batch(2, 4, 5, 3)
    means = image.mean(axis=(1, 2), keepdims=True)
    expected = image + means if join == "sum" else image * means
    for branches in (IDENTITY, GlobalAveragePool(True)), (GlobalAveragePool(True), IDENTITY):
        A = apply(Parallel(branches, join), {}, image)
        assert_allclose(A, expected, rtol=1e-4, atol=1e-5)


def test_residual_adds_its_input_or_its_shortcut():
    body, short = Dense(3, "tanh"), Dense(3, bias=False)
    weights, _ = Residual(body, short).initialize(np.random.default_rng(0), (3,))
    assert list(weights) == ["body", "shortcut"]
    F = np.tanh(X @ weights["body"]["W"])
    assert_allclose(apply(Residual(body), weights, X), F + X, rtol=1e-5, atol=1e-6)
    expected = F + X @ weights["shortcut"]["W"]
    assert_allclose(apply(Residual(body, short), weights, X), expected, rtol=1e-5, atol=1e-6)
    assert list(Residual(body).initialize(np.random.default_rng(0), (3,))[0]) == ["body"]


def test_gradients_are_the_sum_over_branches():
    layer = Residual(Dense(3, "tanh"), Parallel([Dense(3), IDENTITY], "product"))
    weights, _ = layer.initialize(np.random.default_rng(0), (3,))

    def plain(weights, X):
        body, branch = weights["body"], weights["shortcut"]["branch_0"]
        linear = X @ branch["W"] + branch["b"][None, :]
        return jnp.tanh(X @ body["W"] + body["b"][None, :]) + linear * X

    def pulled(map_):
        return jax.jit(jax.grad(lambda *a: jnp.sum(map_(*a) ** 2), argnums=(0, 1)))(weights, X)

    found = pulled(lambda weights, X: layer.apply(weights, {}, X, PREDICTING)[0])
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, pulled(plain))


def test_weights_statistics_and_penalties_nest_by_name():
    own, default = Penalty(l1=1.0), Penalty(l2=0.5)
    inner = Residual(Sequential([Dense(3, penalty=own), BatchNorm(momentum=0)]))
    network = Sequential([Parallel([inner, Sequential([BatchNorm(momentum=0)])]), Dense(2)])
    weights, statistics = network.initialize(np.random.default_rng(0), (3,))
    shapes = jax.tree.map(np.shape, (weights, statistics))
    assert shapes == network.weight_shapes((3,))
    assert list(weights["parallel_0"]) == ["branch_0", "branch_1"]
    assert network.penalties(weights, default)["parallel_0"] == {
        "branch_0": {
            "body": {
                "dense_0": {"W": own, "b": Penalty()},
                "batch_norm_0": {"gain": Penalty(), "shift": Penalty()},
            }
        },
        "branch_1": {"batch_norm_0": {"gain": Penalty(), "shift": Penalty()}},
    }
    _, after = network.apply(weights, statistics, X, Context(train=True))
    assert jax.tree.structure(after) == jax.tree.structure(statistics)
    after = after["parallel_0"]
    assert_allclose(after["branch_1"]["batch_norm_0"]["mean"], X.mean(axis=0), atol=1e-6)
    W = weights["parallel_0"]["branch_0"]["body"]["dense_0"]["W"]
    found = after["branch_0"]["body"]["batch_norm_0"]["mean"]
    assert_allclose(found, (X @ W).mean(axis=0), atol=1e-6)
    assert_array_equal(statistics["parallel_0"]["branch_1"]["batch_norm_0"]["mean"], np.zeros(3))


def test_branches_draw_apart():
    layer = Parallel([Dropout(0.5), Dropout(0.5)], "product")
    assert layer.random
    assert Residual(Dense(3), Dropout(0.1)).random
    assert not Parallel([Dense(3), Dropout(0)]).random
    A = apply(layer, {}, np.ones((100, 100), np.float32), Context(True, jax.random.key(0)))
    assert np.mean(A > 0) == pytest.approx(0.25, abs=0.02)  # one mask twice: 0.5


def test_a_composition_is_a_value():
    assert Parallel([Dense(2)]) == Parallel((Dense(2),)) == Parallel(Dense(n) for n in [2])
    assert len({Parallel([Dense(2)]), Parallel([Dense(2)]), Parallel([Dense(2)], "sum")}) == 2
    assert hash(Residual(Dense(2))) == hash(Residual(Dense(2), None))
    assert Residual(Dense(2)) != Residual(Dense(2), Dense(2))


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Parallel([Dense(2), Dense(3)], "sum"), (4,), r"got \(2,\) from branch_0, \(3,\) from bra"),
        (Parallel([IDENTITY, GlobalAveragePool()], "sum"), (4, 4, 3), r"\(4, 4, 3\) .* \(3,\) fr"),
        (Parallel([IDENTITY, MaxPool2D()]), (4, 4, 3), r"last axis only .*\(2, 2, 3\) from branch"),
        (Residual(Dense(2)), (4,), r"got \(2,\) from body, \(4,\) from shortcut. Give it a short"),
        (Residual(GlobalAveragePool(True)), (4, 4, 3), r"one shape .* got \(1, 1, 3\) from body"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(layer, shape, words):
    with pytest.raises(InputError, match=rf"^net/{layer.kind}_0 expected .*{words}"):
        Sequential([Activation("relu"), layer]).output_shape(shape, "net")


def test_errors_inside_name_the_path():
    network = Sequential([Residual(Sequential([Dense(3)]))])
    with pytest.raises(InputError, match=r"^residual_0/body/dense_0 expected"):
        network.output_shape((2, 2))
    with pytest.raises(InputError, match=r"^parallel_0/branch_1 expected"):
        Sequential([Parallel([IDENTITY, Dense(3)])]).output_shape((2, 2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Parallel([Dense(2), "relu"]), "Parallel expected a list of layers, got 'relu'"),
        (lambda: Parallel([]), "Parallel expected one branch or more"),
        (lambda: Parallel([Dense(2)], "concat"), "join expected .*Did you mean 'concatenate'"),
        (lambda: Residual([Dense(2)]), "Residual expected .*got .* in it"),
        (lambda: Residual(Dense(2), "identity"), "Residual expected .*got 'identity' in it"),
    ],
)
def test_what_is_no_branch_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_squeeze_excitation_weighs_channels():
    pytest.importorskip("lamina.layers.convolution", exc_type=ImportError)
    layer = squeeze_excitation(8, ratio=4)
    weights, _ = layer.initialize(np.random.default_rng(0), (3, 3, 8))
    leaves = jax.tree.leaves(
        jax.tree.map(np.shape, weights), is_leaf=lambda x: isinstance(x, tuple)
    )
    assert sorted(leaves) == [(1, 1, 2, 8), (1, 1, 8, 2), (2,), (8,)]
    first, second = weights["branch_1"].values()
    first["b"] += 0.3
    second["b"] -= 0.2
    image = batch(2, 3, 3, 8)
    hidden = np.maximum(image.mean(axis=(1, 2)) @ first["W"][0, 0] + 0.3, 0)
    scale = 1 / (1 + np.exp(-(hidden @ second["W"][0, 0] - 0.2)))
    assert_allclose(
        apply(layer, weights, image), image * scale[:, None, None], rtol=1e-4, atol=1e-5
    )
    with pytest.raises(InputError, match="squeeze_excitation ratio expected"):
        squeeze_excitation(8, ratio=0)
