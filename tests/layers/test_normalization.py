"""Normalisation layers: training, running statistics and prediction, against PyTorch."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.layers import PREDICTING, BatchNorm, Context, Dense, LayerNorm, Penalty, Sequential

TRAINING = Context(train=True)


def batch(*shape, seed=0):
    return (2 + 3 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def initial(layer, c, seed=1):
    """Return weights that are not the initial ones, and initial statistics."""
    _, statistics = layer.initialize(np.random.default_rng(0), (c,))
    rng = np.random.default_rng(seed)
    gain, shift = rng.normal(size=(2, c)).astype(np.float32)
    return {"gain": gain, "shift": shift}, statistics


def nothing_changed(before, after):
    return all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("shape", [(5, 3), (3, 4, 2, 3)])
def test_batch_norm_trains_and_predicts_as_torch_does(shape):
    torch = pytest.importorskip("torch")
    layer = BatchNorm(momentum=0.8, epsilon=1e-3)
    weights, statistics = initial(layer, 3)
    images = len(shape) == 4
    norm = (torch.nn.BatchNorm2d if images else torch.nn.BatchNorm1d)(3, eps=1e-3, momentum=0.2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(weights["gain"]))
        norm.bias.copy_(torch.tensor(weights["shift"]))

    def theirs(X):
        X = torch.tensor(X)
        return (norm(X.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if images else norm(X)).detach()

    for seed in (0, 1):
        X = batch(*shape, seed=seed)
        A, statistics = layer.apply(weights, statistics, X, TRAINING)
        assert_allclose(A, theirs(X).numpy(), rtol=1e-4, atol=1e-5)
    assert_allclose(statistics["mean"], norm.running_mean.numpy(), rtol=1e-5)
    assert_allclose(statistics["variance"], norm.running_var.numpy(), rtol=1e-5)
    norm.eval()
    A, after = layer.apply(weights, statistics, X, PREDICTING)
    assert_allclose(A, theirs(X).numpy(), rtol=1e-4, atol=1e-5)
    assert nothing_changed(statistics, after)


def test_the_weights_start_as_the_plain_normalisation():
    weights, statistics = BatchNorm().initialize(np.random.default_rng(0), (4, 4, 3))
    assert_array_equal(weights["gain"], np.ones(3))
    assert_array_equal(weights["shift"], np.zeros(3))
    assert_array_equal(statistics["mean"], np.zeros(3))
    assert_array_equal(statistics["variance"], np.ones(3))
    arrays = [*weights.values(), *statistics.values()]
    assert all(array.dtype == np.float32 for array in arrays)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


@pytest.mark.parametrize("layer", [BatchNorm(), LayerNorm()], ids=lambda layer: layer.kind)
def test_shapes_are_told_without_arrays(layer):
    found = layer.weight_shapes((4, 4, 3))
    made = layer.initialize(np.random.default_rng(0), (4, 4, 3))
    assert found == tuple({name: a.shape for name, a in part.items()} for part in made)
    assert layer.output_shape((4, 4, 3), "") == (4, 4, 3)


def test_padding_rows_count_in_nothing():
    layer = BatchNorm(momentum=0.5)
    weights, statistics = initial(layer, 3)
    X = batch(6, 4, 3)
    kept = np.array([1, 1, 0, 1, 0, 0], np.float32)
    A, after = layer.apply(weights, statistics, X[kept > 0], TRAINING)
    X[kept == 0] = 1e4
    A_all, after_all = layer.apply(weights, statistics, X, TRAINING._replace(weight=kept))
    assert_allclose(A_all[kept > 0], A, rtol=1e-5, atol=1e-6)
    for name in ("mean", "variance"):  # the variance's N / (N - 1) too counts data alone
        assert_allclose(after_all[name], after[name], rtol=1e-5)


def test_a_batch_of_padding_alone_teaches_nothing():
    layer = BatchNorm()
    weights, statistics = initial(layer, 3)
    nothing = TRAINING._replace(weight=np.zeros(4, np.float32))
    A, after = layer.apply(weights, statistics, batch(4, 3), nothing)
    assert np.isfinite(A).all()
    assert nothing_changed(statistics, after)


def test_one_row_alone_stays_finite():
    layer = BatchNorm(momentum=0)
    weights, statistics = initial(layer, 3)
    A, after = layer.apply(weights, statistics, batch(1, 3), TRAINING)
    assert_allclose(A, weights["shift"][None, :], rtol=1e-6)
    assert_array_equal(after["variance"], np.zeros(3))


def test_frozen_statistics_serve_training_too():
    statistics = {"mean": np.full(3, 2, np.float32), "variance": np.full(3, 9, np.float32)}
    weights, _ = initial(BatchNorm(), 3)
    X = batch(5, 3)
    A, after = BatchNorm(frozen=True).apply(weights, statistics, X, TRAINING)
    assert_allclose(A, (X - 2) / 3 * weights["gain"] + weights["shift"], rtol=1e-4, atol=1e-5)
    assert nothing_changed(statistics, after)
    A_thawed, after = BatchNorm().apply(weights, statistics, X, TRAINING)
    assert np.max(np.abs(A_thawed - A)) > 0.1
    assert not nothing_changed(statistics, after)


def test_running_statistics_settle_on_the_datas():
    layer, statistics = BatchNorm(momentum=0.9), initial(BatchNorm(), 2)[1]
    X = batch(50, 2)

    @jax.jit
    def step(statistics):
        return layer.apply(initial(layer, 2)[0], statistics, X, TRAINING)[1]

    for _ in range(120):
        statistics = step(statistics)
    assert_allclose(statistics["mean"], X.mean(axis=0), rtol=1e-4)
    assert_allclose(statistics["variance"], X.var(axis=0, ddof=1), rtol=1e-4)


def test_statistics_travel_through_a_network():
    network = Sequential([BatchNorm(momentum=0), Sequential([LayerNorm(), BatchNorm()])])
    weights, statistics = network.initialize(np.random.default_rng(0), (3,))
    assert set(statistics) == {"batch_norm_0", "sequential_0"}
    X = batch(20, 3)
    _, after = network.apply(weights, statistics, X, TRAINING)
    assert_allclose(after["batch_norm_0"]["mean"], X.mean(axis=0), rtol=1e-5)
    inner = after["sequential_0"]["batch_norm_0"]["variance"]
    assert np.all(inner != statistics["sequential_0"]["batch_norm_0"]["variance"])


def test_layer_norm_agrees_with_torch():
    torch = pytest.importorskip("torch")
    layer = LayerNorm(epsilon=1e-3)
    weights, _ = initial(layer, 4)
    X = batch(3, 5, 4)
    expected = torch.nn.functional.layer_norm(
        *(torch.tensor(X), (4,), *map(torch.tensor, weights.values())), eps=1e-3
    )
    for context in (TRAINING, PREDICTING):
        A, _ = layer.apply(weights, {}, X, context)
        assert_allclose(A, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_gain_and_shift_are_never_penalised():
    network = Sequential([Dense(3), BatchNorm(), LayerNorm()])
    weights, _ = network.initialize(np.random.default_rng(0), (4,))
    found = network.penalties(weights, Penalty(l2=1.0))
    assert (
        found["batch_norm_0"]
        == found["layer_norm_0"]
        == dict.fromkeys(("gain", "shift"), Penalty())
    )
    assert found["dense_0"]["W"] == Penalty(l2=1.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BatchNorm(momentum=1), "BatchNorm momentum expected .* below 1; got 1"),
        (lambda: BatchNorm(epsilon=0), "BatchNorm epsilon expected a number above 0; got 0"),
        (lambda: LayerNorm(epsilon=-1), "LayerNorm epsilon expected a number above 0; got -1"),
        (lambda: Sequential([LayerNorm()]).output_shape(()), "layer_norm_0 expected samples"),
    ],
)
def test_what_cannot_work_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
