"""What trains and what stands still: frozen and low-rank layers, folding, divisions."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.functions.losses import loss
from lamina.functions.penalties import penalty
from lamina.layers import (
    PREDICTING,
    Activation,
    BatchNorm,
    Context,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Residual,
    Sequential,
    Standardize,
    squeeze_excitation,
)
from lamina.layers.frozen import Frozen, LowRank, held, mapped, released
from lamina.models.folding import Bound, folded
from lamina.models.tuning import HEADS, Tuning, stages
from lamina.training.batches import ArraySource
from lamina.training.loop import Descent, Objective, Run
from lamina.training.metrics import METRICS
from lamina.training.optimizers import optimizer
from lamina.training.schedules import schedule
from lamina.training.state import fresh_state

SHAPE = (6, 6, 3)
BLOCK = Residual(Sequential([Conv2D(8, bias=False), BatchNorm(), Activation("relu"), Conv2D(8)]))
NETWORK = Sequential(
    [
        Conv2D(8, init="he", bias=False),
        BatchNorm(),
        Activation("relu"),
        BLOCK,
        squeeze_excitation(8),
        GlobalAveragePool(),
        Dropout(0.5),
        Dense(12, "relu"),
        Standardize(),
        Dense(4),
    ]
)


def predicted(network, weights, statistics, X):
    """Return what a network predicts, compiled as one program."""
    return jax.jit(lambda *trees: network.apply(*trees, X, PREDICTING)[0])(weights, statistics)


def filled(network=NETWORK, shape=SHAPE, seed=0):
    """Return weights and statistics, no two numbers of which are alike."""
    rng = np.random.default_rng(seed)
    trees = network.initialize(rng, shape)
    return jax.tree.map(lambda W: (W + rng.uniform(0.1, 0.5, W.shape)).astype(np.float32), trees)


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(1).normal(size=(9, *SHAPE)).astype(np.float32)


def bound(network=NETWORK):
    weights, statistics = filled(network)
    return [Bound(p, weights.get(n, {}), statistics.get(n, {})) for n, p in network.named()]


def divided(tune, start=0, rank=1):
    tuning = Tuning.of(tune, rank, 2.0, False)
    layers = bound()
    cut = tuning.first_trained(layers[:-HEADS])
    return tuning.divided(layers, SHAPE, start, cut)


def test_folding_changes_no_prediction(X):
    weights, statistics = filled()
    plain = predicted(NETWORK, weights, statistics, X)
    whole = folded(NETWORK, weights, statistics)
    found = predicted(*whole, X)
    assert_allclose(found, plain, rtol=1e-4, atol=1e-4)
    kinds = [layer.kind for _, layer in whole.layer.named()]
    assert "batch_norm" not in kinds
    assert [layer.kind for layer in whole.layer.layers[2].body.layers] == [
        "conv",
        "activation",
        "conv",
    ]


def test_folding_leaves_a_normalisation_without_a_product_before_it(X):
    network = Sequential([BatchNorm(), Conv2D(2, activation="relu"), BatchNorm()])
    whole = folded(network, *filled(network))
    assert [layer.kind for layer in whole.layer.layers] == ["batch_norm", "conv", "batch_norm"]


def test_a_stage_begins_at_a_matrix():
    assert stages(bound()) == [0, 0, 0, 1, 2, 2, 2, 3, 3, 4]
    assert stages(bound(Sequential([Standardize(), Flatten(), Dense(2)]))) == [-1, -1, 0]


@pytest.mark.parametrize("tune", ["last:3", "all", "lora"])
def test_a_division_computes_what_the_network_computes(tune, X):
    weights, statistics = filled()
    plain = predicted(NETWORK, weights, statistics, X)
    division = divided(tune)
    fresh, _ = division.network.initialize(np.random.default_rng(0), SHAPE)
    given = division.given(fresh)
    shapes = jax.tree.map(np.shape, given)
    assert shapes == tuple(map(dict, division.network.weight_shapes(SHAPE)))
    found = predicted(division.network, *given, X)
    assert_allclose(found, plain, rtol=1e-5)
    whole = division.whole(*given)
    assert whole.layer == NETWORK
    jax.tree.map(assert_array_equal, (whole.weights, whole.statistics), (weights, statistics))


def test_low_rank_changes_are_merged_into_their_matrices(X):
    layer = LowRank(Conv2D(8, 3, 2), rank=2, alpha=3.0)
    rng = np.random.default_rng(0)
    plain = filled(layer.layer)
    own = {name: rng.normal(size=shape) for name, shape in layer.weight_shapes(SHAPE)[0].items()}
    own = jax.tree.map(np.float32, own)
    weights, statistics = held(layer, *plain, own)
    found = predicted(layer, weights, statistics, X)
    merged, _ = released(layer, weights, statistics)
    by_hand = plain[0]["W"] + 1.5 * (own["A"] @ own["B"]).reshape(3, 3, 3, 8)
    assert_allclose(merged["W"], by_hand, rtol=1e-5)
    expected = predicted(layer.layer, merged, {}, X)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    fused = Sequential([layer, Activation("relu")])
    A = predicted(fused, {"conv_0": weights}, {"conv_0": statistics}, X)
    assert_allclose(A, np.maximum(expected, 0), rtol=1e-4, atol=1e-4)


def test_low_rank_is_for_matrices_that_it_halves():
    wide = Sequential([Conv2D(10), Activation("relu"), GlobalAveragePool(), Dense(99), Dense(2)])
    tuning = Tuning.of("lora", 4, 4.0, False)
    parts = bound(wide)
    shape, kinds = SHAPE, []
    for part in parts:
        kinds.append(type(tuning.trained(part.layer, shape, head=False)).__name__)
        shape = part.layer.output_shape(shape, "")
    assert kinds == ["Frozen", "Activation", "GlobalAveragePool", "LowRank", "Frozen"]


def trained(network, weights, statistics, X, method, **descent):
    """Return the run after three steps, with an L2 penalty and clipping."""
    y = np.arange(len(X)).astype(np.int32) % 4
    objective = Objective(network, loss("softmax"), METRICS["classes"], penalty("l2", 0.1, 0.5))
    source = ArraySource.of(X, y, None, batch_size=len(X), seed=0, block_steps=1)
    method = optimizer(method)
    state = fresh_state(weights, statistics, method, 0)
    plan = Descent(method, 0.05, schedule("constant"), 1.0, **descent)
    run = Run(objective, plan, state, source, 3)
    run.train()
    return run


def test_what_is_frozen_has_no_gradient_no_state_no_decay_and_no_share_in_the_norm(X):
    division = divided("last:1")
    fresh, _ = division.network.initialize(np.random.default_rng(0), SHAPE)
    weights, statistics = jax.tree.map(np.array, division.given(fresh))
    assert list(weights) == ["dense_0", "dense_1"]
    run = trained(division.network, weights, statistics, X, "adamw")
    count = sum(W.size for W in jax.tree.leaves(weights))
    moments = [W for W in jax.tree.leaves(run.state.optimizer) if np.ndim(W)]
    assert sum(W.size for W in moments) == 2 * count  # Adam's two moments, of these alone
    after = division.whole(*jax.tree.map(np.array, (run.state.weights, run.state.statistics)))
    before = filled()
    for name in NETWORK.initialize(np.random.default_rng(0), SHAPE)[0]:
        same = jax.tree.map(np.array_equal, after.weights[name], before[0][name])
        assert all(jax.tree.leaves(same)) == (name not in weights), name
    jax.tree.map(assert_array_equal, after.statistics, before[1])

    # the same last layers alone, on what the frozen ones make of X, train alike to rounding
    cut = 7
    features = predicted(Sequential(NETWORK.layers[:cut]), *before, X)
    alone = trained(
        Sequential(NETWORK.layers[cut:]), weights, statistics, np.array(features), "adamw"
    )
    assert_allclose(alone.history["gradient_norm"], run.history["gradient_norm"], rtol=1e-3)
    for name, tree in alone.state.weights.items():
        jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-4), tree, run.state.weights[name])


def test_frozen_layers_see_training_as_prediction_unless_they_adapt(X):
    network = Sequential([Conv2D(8, bias=False), BatchNorm(), Dropout(0.5)])
    plain = filled(network)
    context = Context(train=True, key=jax.random.key(0))
    expected = predicted(network, *plain, X)
    still = Frozen(network)
    A, after = jax.jit(lambda held: still.apply({}, held, X, context))(held(still, *plain, {})[1])
    assert_array_equal(A, expected)
    jax.tree.map(assert_array_equal, after["statistics"], plain[1])
    assert not still.random
    moving = Frozen(network, adapting=True)
    _, after = jax.jit(lambda held: moving.apply({}, held, X, context))(held(moving, *plain, {})[1])
    assert not np.allclose(
        after["statistics"]["batch_norm_0"]["mean"], plain[1]["batch_norm_0"]["mean"]
    )
    assert moving.random


def test_rates_by_layer_scale_steps_and_decay(X):
    network = Sequential([Flatten(), Dense(5, "tanh"), Dense(4)])
    weights, statistics = filled(network)
    factors = {"dense_0": {"W": 0.0, "b": 0.0}, "dense_1": {"W": 1.0, "b": 1.0}}
    run = trained(network, weights, statistics, X, "adamw", factors=factors)
    jax.tree.map(assert_array_equal, run.state.weights["dense_0"], weights["dense_0"])
    factors = jax.tree.map(lambda f: 0.5, factors)
    half = trained(network, weights, statistics, X, "adamw", factors=factors)
    full = trained(network, weights, statistics, X, "adamw")
    moved = [
        np.abs(np.array(r.state.weights["dense_1"]["W"]) - weights["dense_1"]["W"]).mean()
        for r in (half, full)
    ]
    assert_allclose(moved[0] / moved[1], 0.5, rtol=0.1)
    with pytest.raises(InputError, match="Rates by layer expected an optimiser with a learning"):
        trained(network, weights, statistics, X, "lbfgs", factors=factors)


def test_ways_of_tuning_that_there_are_not():
    for tune in ("body", "last", "last:0", "head:2", 3):
        with pytest.raises(InputError, match="tune expected 'head', 'last:2', 'all' or 'lora'"):
            Tuning.of(tune, 8, 8.0, False)
    with pytest.raises(InputError, match="at most last:4, as the backbone has 4 stages"):
        Tuning.of("last:5", 8, 8.0, False).first_trained(bound()[:-HEADS])


def test_mapping_reaches_every_part():
    seen = []
    mapped(NETWORK, lambda layer: seen.append(layer.kind) or layer)
    assert seen.count("conv") == 5
    assert seen.count("batch_norm") == 2
