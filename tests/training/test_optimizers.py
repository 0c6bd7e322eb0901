"""Optimisers in the training step: one step by hand each, and what only some of them may do."""

import jax
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.functions.penalties import Penalty
from lamina.layers import Dense, Sequential
from lamina.training.optimizers import NAMES, optimizer

ONE = Sequential([Dense(1)])


def one_step(start_run, optimizer, penalty=None, rate=0.1, **options):
    """Return W and b after a step from W = 2, b = 1 at X = 1, y = 0: score 3, so dW = db = 3."""
    weights = {"dense_0": {"W": np.array([[2.0]]), "b": np.array([1.0])}}
    run = start_run(
        ONE,
        np.ones((1, 1)),
        np.zeros((1, 1)),
        optimizer=optimizer,
        rate=rate,
        penalty=penalty,
        weights=weights,
        **options,
    )
    run.train()
    found = run.state.weights["dense_0"]
    return found["W"].item(), found["b"].item()


@pytest.mark.parametrize(
    ("name", "penalty", "expected"),
    [
        ("sgd", None, (2 - 0.1 * 3, 1 - 0.1 * 3)),
        ("gd", None, (1.7, 0.7)),
        ("momentum", None, (1.7, 0.7)),
        ("nesterov", None, (2 - 0.1 * (0.9 * 3 + 3), 1 - 0.1 * 5.7)),
        ("rmsprop", None, (2 - 0.1 / np.sqrt(0.01), 1 - 0.1 / np.sqrt(0.01))),
        ("adam", None, (1.9, 0.9)),
        # L2 enters the gradient, 3 + 0.5 · 2, of W alone; Adam's first step is ±η all the same …
        ("sgd", Penalty(l2=0.5), (2 - 0.1 * 4, 0.7)),
        ("adam", Penalty(l2=0.5), (1.9, 0.9)),
        # … but AdamW shrinks W itself: 2 - 0.1 · 1 - 0.1 · 0.5 · 2.
        ("adamw", Penalty(l2=0.5), (1.8, 0.9)),
        # L1 is the proximal step: |2 - 0.1 · 3| less 0.1 · 4; in Adam's metric, D = 3, 0.1 · 4 / 3.
        ("sgd", Penalty(l1=4.0), (1.7 - 0.4, 0.7)),
        ("adam", Penalty(l1=4.0), (1.9 - 0.4 / 3, 0.9)),
        ("sgd", Penalty(l1=100.0), (0.0, 0.7)),
        ("sgd", Penalty(l1=4.0, l2=0.5), (2 - 0.1 * 4 - 0.4, 0.7)),
    ],
)
def test_one_step_by_hand(name, penalty, expected, start_run, float64):
    found = one_step(start_run, name, penalty)
    assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    if penalty == Penalty(l1=100.0):
        assert found[0] == 0


def test_clip_norm_bounds_the_step(start_run, float64):
    """dW = db = 3 has norm √18; clipped to 1 it is 1/√2 each, and below the bound stays."""
    clipped = one_step(start_run, "sgd", clip_norm=1.0)
    assert_allclose(clipped, (2 - 0.1 / np.sqrt(2), 1 - 0.1 / np.sqrt(2)), rtol=1e-12)
    assert_allclose(one_step(start_run, "sgd", clip_norm=4.3), (1.7, 0.7), rtol=1e-12)


def test_an_optax_transformation_brings_its_own_rate(start_run, float64):
    assert_allclose(one_step(start_run, optax.sgd(0.1), rate=77.0), (1.7, 0.7), rtol=1e-12)
    chain = optax.chain(optax.clip(2.0), optax.sgd(0.5))
    assert_allclose(one_step(start_run, chain), (1.0, 0.0), atol=1e-12)


def test_an_optax_line_search_sees_the_objective(start_run, float64):
    """From a hopeless step of 64 the search halves until Armijo's condition holds."""
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=30, decrease_factor=0.5)
    method = optax.chain(optax.sgd(64.0), search)
    W, b = one_step(start_run, method)
    assert (W + b) ** 2 / 2 < 4.5 / 2  # the loss at the start is 4.5
    assert one_step(start_run, optax.sgd(64.0))[0] < -100


def test_muon_steps_orthogonally_along_matrices(start_run):
    """Newton and Schulz bring the singular values of a matrix's step near 1; b takes Nadam's."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6)).astype(np.float32) * np.geomspace(0.1, 10, 6, dtype=np.float32)
    y = rng.normal(size=(50, 6)).astype(np.float32)
    weights = {"dense_0": {"W": np.zeros((6, 6)), "b": np.zeros(6)}}
    run = start_run(Sequential([Dense(6)]), X, y, optimizer="muon", rate=0.02, weights=weights)
    run.train()
    step = jax.tree.map(np.asarray, run.state.weights["dense_0"])
    gradient = -X.T @ y / 50
    singular = np.linalg.svd(step["W"] / 0.02, compute_uv=False)
    assert np.linalg.cond(gradient) > 20
    assert 0.5 < singular.min() <= singular.max() < 1.5
    assert np.sum(step["W"] * gradient) < 0
    nadam = 0.9 * 0.1 / (1 - 0.9**2) + 1  # Dozat 2016: the first step looks one ahead
    assert_allclose(step["b"], 0.002 * nadam * np.sign(y.mean(axis=0)), rtol=1e-3)


def test_muon_trains_a_network(start_run):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 4)).astype(np.float32)
    y = np.sin(X.sum(axis=1, keepdims=True)).astype(np.float32)
    run = start_run(
        Sequential([Dense(16, "tanh"), Dense(1)]), X, y, optimizer="muon", rate=0.02, epochs=100
    )
    run.train()
    assert run.history["loss"][-1] < run.history["loss"][0] / 5


@pytest.mark.parametrize("name", [name for name in NAMES if name != "muon"])
def test_every_named_optimizer_lowers_a_convex_loss(name, start_run, regression):
    X, y, weights = regression
    X, y = X.astype(np.float32), y.astype(np.float32)
    run = start_run(
        Sequential([Dense(2)]), X, y, optimizer=name, rate=0.02, epochs=40, weights=weights
    )
    run.train()
    ones = np.hstack([X, np.ones((11, 1))])
    residual = y - ones @ np.linalg.lstsq(ones, y)[0]
    least = 0.5 * (residual**2).sum(1).mean()
    first, last = run.history["loss"][0], run.history["loss"][-1]
    assert least - 1e-5 <= last < first - 0.3 * (first - least)


@pytest.mark.parametrize("name", ["lbfgs", optax.sgd(0.1), "muon"])
def test_l1_is_refused_where_there_is_no_proximal_step(name, start_run, regression):
    X, y, weights = regression
    with pytest.raises(InputError, match=r"L1 penalty expected an optimiser .* Use 'adam'"):
        start_run(
            Sequential([Dense(2)]), X, y, optimizer=name, weights=weights, penalty=Penalty(l1=0.1)
        )


@pytest.mark.parametrize("name", ["adm", 3, None])
def test_unknown_optimizers_are_refused(name):
    with pytest.raises(InputError, match=r"optimizer expected one of gd, sgd, .*muon, or an optax"):
        optimizer(name)
    with pytest.raises(InputError, match="Did you mean 'adam'"):
        optimizer("adm")


def test_optimizers_are_made_once():
    """Programs are kept by optimiser: a new object for each fit would compile each time."""
    transform = optax.sgd(0.1)
    assert optimizer(transform) is optimizer(transform)
    assert optimizer("muon") is optimizer("muon")
    assert optimizer("adam") is optimizer("adam")
