"""How the tests of training start a run without an estimator."""

from functools import partial

import jax
import numpy as np
import pytest

from lamina.functions.losses import loss as loss_named
from lamina.functions.penalties import Penalty
from lamina.training.batches import ArraySource
from lamina.training.loop import Descent, Objective, Run, evaluate
from lamina.training.metrics import METRICS
from lamina.training.optimizers import optimizer as optimizer_named
from lamina.training.schedules import schedule as schedule_named
from lamina.training.state import fresh_state


def _measured(objective, validation, state):
    return evaluate(objective, state.served, state.statistics, *validation)


def _start(
    network,
    X,
    y,
    *,
    loss="squared",
    optimizer="sgd",
    rate=0.1,
    schedule="constant",
    clip_norm=None,
    penalty=None,
    epochs=1,
    weights=None,
    sample_weight=None,
    batch_size=None,
    shuffle=False,
    seed=0,
    block_steps=4,
    state=None,
    validation=None,
    callbacks=(),
):
    """Return a `Run` that computes in the dtype of ``X``; full batch unless told otherwise."""
    chosen, method = loss_named(loss), optimizer_named(optimizer)
    if weights is None:
        weights, statistics = network.initialize(np.random.default_rng(seed), X.shape[1:])
    else:
        statistics = {}
    weights = jax.tree.map(lambda W: np.array(W, X.dtype), weights)
    objective = Objective(network, chosen, METRICS[chosen.target], penalty or Penalty())
    return Run(
        objective,
        Descent(method, rate, schedule_named(schedule), clip_norm),
        state or fresh_state(weights, statistics, method, seed),
        ArraySource.of(
            X,
            y,
            sample_weight,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            block_steps=block_steps,
        ),
        epochs,
        None if validation is None else partial(_measured, objective, validation),
        callbacks,
    )


@pytest.fixture(scope="session")
def start_run():
    return _start


@pytest.fixture(scope="session")
def regression():
    """Return X (11, 3), y (11, 2) and weights of one dense layer, float64."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(11, 3)), rng.normal(size=(11, 2))
    return X, y, {"dense_0": {"W": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}}
