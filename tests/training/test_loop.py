"""The loop: what is summed, averaged, weighted, recorded, repeated and resumed."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.functions.losses import SoftmaxCrossEntropy
from lamina.functions.penalties import Penalty
from lamina.layers import Dense, Dropout, Sequential
from lamina.training import loop
from lamina.training.callbacks import Callback
from lamina.training.loop import Objective, evaluate, scores
from lamina.training.metrics import METRICS

LINEAR = Sequential([Dense(2)])


def final(run):
    """Train, and return the weights as NumPy arrays."""
    run.train()
    return jax.tree.map(np.asarray, run.state.weights)


def equal(left, right, check=assert_array_equal, **options):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        check(a, b, **options)


def numpy_descent(X, y, weights, batches, rate, alpha=0.0):
    """Descend ``mean ½ ‖x W + b - y‖² + ½ α ‖W‖²``; return weights, norms, losses."""
    W, b = weights["dense_0"]["W"].copy(), weights["dense_0"]["b"].copy()
    norms, losses = [], []
    for rows in batches:
        R = X[rows] @ W + b - y[rows]
        dW, db = X[rows].T @ R / len(rows) + alpha * W, R.mean(axis=0)
        losses.append(0.5 * (R**2).sum())
        norms.append(np.sqrt((dW**2).sum() + (db**2).sum()))
        W, b = W - rate * dW, b - rate * db
    return W, b, norms, losses


# Against NumPy and PyTorch


@pytest.mark.parametrize("block_steps", [1, 2, 50])
def test_minibatches_of_unequal_size_against_numpy(block_steps, start_run, regression, float64):
    """11 samples in batches of 4, 4 and 3: padding never counts, and each step takes its mean."""
    X, y, weights = regression
    run = start_run(
        LINEAR, X, y, weights=weights, rate=0.1, epochs=2, batch_size=4, block_steps=block_steps
    )
    found = final(run)["dense_0"]
    batches = [range(4), range(4, 8), range(8, 11)] * 2
    W, b, norms, losses = numpy_descent(X, y, weights, batches, 0.1)
    assert_allclose(found["W"], W, rtol=1e-12)
    assert_allclose(found["b"], b, rtol=1e-12)
    assert_allclose(run.history["loss"], [sum(losses[:3]) / 11, sum(losses[3:]) / 11], rtol=1e-12)
    assert_allclose(run.history["gradient_norm"], [norms[2], norms[5]], rtol=1e-12)
    assert run.history["epoch"] == [1, 2]


def test_full_batch_against_numpy(start_run, regression, float64):
    """11 rows are padded to 16; the loss is NumPy's mean, the penalty is in the gradient only."""
    X, y, weights = regression
    run = start_run(
        LINEAR, X, y, optimizer="gd", weights=weights, epochs=3, penalty=Penalty(l2=0.5)
    )
    found = final(run)["dense_0"]
    W, b, norms, losses = numpy_descent(X, y, weights, [range(11)] * 3, 0.1, alpha=0.5)
    assert_allclose(found["W"], W, rtol=1e-12)
    assert_allclose(found["b"], b, rtol=1e-12)
    assert_allclose(run.history["loss"], np.array(losses) / 11, rtol=1e-12)
    assert_allclose(run.history["gradient_norm"], norms, rtol=1e-12)
    residual = X @ weights["dense_0"]["W"] + weights["dense_0"]["b"] - y
    assert run.history["rmse"][0] == pytest.approx(np.sqrt((residual**2).mean()))


def test_layers_may_have_their_own_penalty(start_run, regression, float64):
    X, y, weights = regression
    network = Sequential([Dense(2, penalty=Penalty(l2=0.5))])
    run = start_run(network, X, y, weights=weights, penalty=Penalty(l2=100.0))
    W, b, *_ = numpy_descent(X, y, weights, [range(11)], 0.1, alpha=0.5)
    found = final(run)["dense_0"]
    assert_allclose(found["W"], W, rtol=1e-12)
    assert_allclose(found["b"], b, rtol=1e-12)


def test_a_perceptron_trains_like_pytorchs(start_run):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 6)).astype(np.float32)
    y = rng.integers(0, 3, 20).astype(np.int32)
    network = Sequential([Dense(8, "relu"), Dense(5, "tanh"), Dense(3)])
    run = start_run(
        network, X, y, loss="softmax", optimizer="momentum", rate=0.1, batch_size=8, epochs=3
    )
    twin = torch.nn.Sequential(
        torch.nn.Linear(6, 8),
        torch.nn.ReLU(),
        torch.nn.Linear(8, 5),
        torch.nn.Tanh(),
        torch.nn.Linear(5, 3),
    )
    linear = [layer for layer in twin if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for layer, W in zip(linear, run.state.weights.values(), strict=True):
            layer.weight.copy_(torch.tensor(W["W"].T))
            layer.bias.copy_(torch.tensor(W["b"]))
    descent = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for start in (0, 8, 16):
            part = slice(start, start + 8)
            scores = twin(torch.tensor(X[part]))
            value = torch.nn.functional.cross_entropy(scores, torch.tensor(y[part]).long())
            descent.zero_grad()
            value.backward()
            descent.step()
    for layer, W in zip(linear, final(run).values(), strict=True):
        assert_allclose(W["W"], layer.weight.detach().numpy().T, rtol=1e-5, atol=2e-6)
        assert_allclose(W["b"], layer.bias.detach().numpy(), rtol=1e-5, atol=2e-6)


def test_a_weight_of_two_is_a_row_twice(start_run, regression, float64):
    X, y, weights = regression
    counts = np.array([1, 2, 1, 3, 1, 1, 2, 1, 1, 1, 2])
    once = start_run(LINEAR, X, y, weights=weights, sample_weight=counts / counts.mean(), epochs=4)
    rows = np.repeat(np.arange(11), counts)
    twice = start_run(LINEAR, X[rows], y[rows], weights=weights, epochs=4)
    equal(final(once), final(twice), assert_allclose, rtol=1e-12)
    assert_allclose(once.history["loss"], twice.history["loss"], rtol=1e-12)
    assert_allclose(once.history["rmse"], twice.history["rmse"], rtol=1e-12)


def test_a_weight_of_zero_is_no_row(start_run, regression, float64):
    X, y, weights = regression
    weight = np.array([1.0] * 9 + [0.0] * 2) * 11 / 9
    run = start_run(LINEAR, X, y, weights=weights, sample_weight=weight, epochs=3)
    without = start_run(LINEAR, X[:9], y[:9], weights=weights, epochs=3)
    equal(final(run), final(without), assert_allclose, rtol=1e-12)


# The same again


MLP = Sequential([Dense(9, "relu"), Dropout(0.3), Dense(3)])


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 50).astype(np.int32)
    X = (rng.normal(size=(50, 5)) + 2 * np.eye(3, 5)[y]).astype(np.float32)
    return X, y


def train_mlp(start_run, blobs, network=MLP, **changes):
    options = {"loss": "softmax", "optimizer": "adam", "rate": 0.01, "epochs": 3}
    options |= {"batch_size": 8, "shuffle": True, "seed": 5, "block_steps": 2} | changes
    return start_run(network, *blobs, **options)


def test_the_same_seed_gives_the_same_bits(start_run, blobs):
    first = train_mlp(start_run, blobs)
    again = train_mlp(start_run, blobs)
    equal(final(first), final(again))
    assert first.history["loss"] == again.history["loss"]
    weights = jax.tree.map(np.array, train_mlp(start_run, blobs).state.weights)
    other = train_mlp(start_run, blobs, seed=6, weights=weights)  # other orders and masks only
    assert (final(first)["dense_0"]["W"] != final(other)["dense_0"]["W"]).any()


def test_the_size_of_blocks_changes_nothing(start_run, blobs):
    one, many = (train_mlp(start_run, blobs, block_steps=steps) for steps in (1, 2))
    equal(final(one), final(many), assert_allclose, rtol=1e-5, atol=1e-6)


def test_a_run_resumes_between_epochs(start_run, blobs):
    whole = train_mlp(start_run, blobs, epochs=4)
    first = train_mlp(start_run, blobs, epochs=2)
    first.train()
    saved = jax.tree.map(np.array, first.state)
    second = train_mlp(start_run, blobs, epochs=4, state=saved)
    equal(final(whole), final(second))
    assert first.history["loss"] + second.history["loss"] == whole.history["loss"]
    assert second.history["epoch"] == [3, 4]


class Snapshot(Callback):
    """Keeps the state after one block of one epoch."""

    def __init__(self, epoch, block):
        self.at, self.block, self.state = epoch, block, None

    def on_epoch(self, run, record):
        self.block_of_epoch = 0

    def on_start(self, run):
        self.block_of_epoch = 0

    def on_block(self, run, totals):
        self.block_of_epoch += 1
        if (run.epoch, self.block_of_epoch) == (self.at, self.block):
            self.state = jax.tree.map(np.array, run.state)


def test_a_run_resumes_within_an_epoch(start_run, blobs):
    camera = Snapshot(epoch=1, block=1)
    whole = train_mlp(start_run, blobs, callbacks=[camera])
    expected = final(whole)
    assert int(camera.state.epoch) == 1
    assert 0 < int(camera.state.batch) < 7
    rest = train_mlp(start_run, blobs, state=camera.state)
    equal(final(rest), expected)
    assert rest.history["loss"] == whole.history["loss"][1:]
    assert rest.history["accuracy"] == whole.history["accuracy"][1:]


def test_what_a_run_starts_from_is_left_as_it_was(start_run):
    """The state is donated to the program, which must not write into the caller's arrays."""
    rng = np.random.default_rng(0)
    X, y = (rng.normal(size=(64, 64)).astype(np.float32) for _ in range(2))
    weights = {"dense_0": {"W": rng.normal(size=(64, 64)).astype(np.float32), "b": np.zeros(64)}}
    weights["dense_0"]["b"] = weights["dense_0"]["b"].astype(np.float32)
    run = start_run(Sequential([Dense(64)]), X, y, weights=weights, epochs=5)
    started_from = run.state.weights
    copies = jax.tree.map(np.copy, (started_from, X, y))
    assert (final(run)["dense_0"]["W"] != copies[0]["dense_0"]["W"]).all()
    equal((started_from, X, y), copies)


def test_each_step_draws_its_own_dropout_mask(start_run, float64):
    """A constant gradient of -1 / (1 - p) where an input is kept: W counts in how many steps."""
    X, y = np.ones((1, 1000)), np.full((1, 1), 1e9)
    weights = {"dense_0": {"W": np.zeros((1000, 1))}}
    network = Sequential([Dropout(0.5), Dense(1, bias=False)])
    run = start_run(network, X, y, loss="absolute", rate=0.5, weights=weights, epochs=2)
    counts = np.bincount(np.rint(final(run)["dense_0"]["W"][:, 0]).astype(int), minlength=3)
    assert_allclose(counts / 1000, [0.25, 0.5, 0.25], atol=0.06)  # one mask twice: none once


# Compilation


@pytest.fixture
def compilations(caplog):
    """Return a function that counts the programs that XLA has compiled in this test so far."""
    with jax.log_compiles():
        yield lambda: sum("Finished XLA compilation" in text for text in caplog.messages)


def test_fits_that_differ_in_numbers_share_one_program(start_run, blobs, compilations):
    X, y = blobs
    network = Sequential([Dense(10, "relu"), Dropout(0.3), Dense(3)])  # in no other test
    shared = {"network": network, "clip_norm": 1.0, "penalty": Penalty(l2=0.1)}
    train_mlp(start_run, blobs, **shared).train()
    assert compilations() == 1  # nothing but the step itself: set-up is NumPy
    for change in (
        {"rate": 0.5},
        {"penalty": Penalty(l2=7.0)},
        {"clip_norm": 0.3},
        {"schedule": "cosine"},
        {"seed": 8},
        {"epochs": 5},
    ):
        train_mlp(start_run, blobs, **(shared | change)).train()
    train_mlp(start_run, (X[:41], y[:41]), **shared).train()  # as many rows once padded
    assert compilations() == 1
    train_mlp(start_run, blobs, **shared, optimizer="sgd").train()
    assert compilations() == 2


def test_evaluation_shares_programs_among_row_counts(blobs, compilations):
    X, y = blobs
    network = Sequential([Dense(11, "tanh"), Dense(3)])
    weights, _ = network.initialize(np.random.default_rng(0), (5,))
    objective = Objective(network, SoftmaxCrossEntropy(), METRICS["classes"])
    for n in (33, 40, 50):
        evaluate(objective, weights, {}, X[:n], y[:n])
    assert compilations() == 1
    for n in (33, 40, 50):
        scores(network, weights, {}, X[:n])
    assert compilations() == 2


# Evaluation


@pytest.mark.parametrize("elements", [40, 1 << 22])
def test_evaluation_is_the_weighted_mean_over_pieces(elements, blobs, monkeypatch):
    monkeypatch.setattr(loop, "EVALUATION_ELEMENTS", elements)  # 40: eight rows of five a call
    X, y = blobs
    network = Sequential([Dropout(0.5), Dense(3)])
    weights, _ = network.initialize(np.random.default_rng(1), (5,))
    objective = Objective(network, SoftmaxCrossEntropy(), METRICS["classes"])
    S = X @ weights["dense_0"]["W"] + weights["dense_0"]["b"]
    assert_allclose(scores(network, weights, {}, X), S, rtol=1e-5, atol=1e-6)
    P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
    found = scores(network, weights, {}, X, SoftmaxCrossEntropy())
    assert_allclose(found, P, rtol=1e-5)
    losses, right = -np.log(P[np.arange(50), y]), S.argmax(axis=1) == y
    assert evaluate(objective, weights, {}, X, y) == {
        "loss": pytest.approx(losses.mean(), rel=1e-5),
        "accuracy": pytest.approx(right.mean()),
    }
    weight = np.random.default_rng(2).uniform(0, 2, 50).astype(np.float32)
    assert evaluate(objective, weights, {}, X, y, weight) == {
        "loss": pytest.approx(np.average(losses, weights=weight), rel=1e-5),
        "accuracy": pytest.approx(np.average(right, weights=weight)),
    }


def test_validation_is_evaluated_after_each_epoch(start_run, blobs):
    X, y = blobs
    kept = []

    class Keeper(Callback):
        def on_epoch(self, run, record):
            kept.append((jax.tree.map(np.array, run.state.weights), dict(record)))

    run = train_mlp(
        start_run, (X[10:], y[10:]), validation=(X[:10], y[:10], None), callbacks=[Keeper()]
    )
    run.train()
    assert len(kept) == 3
    for weights, record in kept:
        expected = evaluate(run.objective, weights, {}, X[:10], y[:10])
        assert record["val_loss"] == expected["loss"]
        assert record["val_accuracy"] == expected["accuracy"]
    assert run.history["val_loss"] == [record["val_loss"] for _, record in kept]
    names = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    assert list(run.history) == [*names, "gradient_norm", "seconds"]
    assert all(seconds > 0 for seconds in run.history["seconds"])


def test_accuracy_of_the_history_is_that_of_the_weights_before_each_step(start_run, blobs):
    X, y = blobs
    network = Sequential([Dense(3)])
    run = start_run(network, X, y, loss="softmax", rate=0.5, epochs=1, seed=3)
    W = run.state.weights["dense_0"]["W"]
    right = ((X @ W).argmax(axis=1) == y).mean()
    run.train()
    assert run.history["accuracy"] == [pytest.approx(right)]
