"""Schedules: end points, shapes, and that the rates reach the weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.layers import Dense, Sequential
from lamina.training.schedules import SCHEDULES, schedule

PROGRESS = np.linspace(0, 1, 1001)


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("constant", {0: 1, 0.4: 1, 1: 1}),
        ("plateau", {0: 1, 0.4: 1, 1: 1}),
        ("cosine", {0: 1, 0.25: (1 + np.sqrt(0.5)) / 2, 0.5: 0.5, 1: 0}),
        ("one_cycle", {0: 1 / 25, 0.15: (1 + 1 / 25) / 2, 0.3: 1, 0.65: 0.5, 1: 0}),
        ("exponential", {0: 1, 0.5: 0.1, 1: 0.01}),
    ],
)
def test_points_by_hand(name, points):
    found = schedule(name)(np.array(list(points)))
    assert_allclose(found, list(points.values()), atol=1e-12)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_shape(name):
    factors = schedule(name)(PROGRESS)
    assert (factors >= 0).all()
    assert factors.max() == pytest.approx(1)
    assert np.abs(np.diff(factors)).max() < 0.01  # no jumps
    peak = 300 if name == "one_cycle" else 0
    assert (np.diff(factors[:peak]) >= 0).all()
    assert (np.diff(factors[peak:]) <= 0).all()


def test_a_function_is_a_schedule_and_unknown_names_are_not():
    def half(progress):
        return 0.5 + 0 * progress

    assert schedule(half) is half
    with pytest.raises(InputError, match="Did you mean 'cosine'"):
        schedule("cosin")


STEPS, EPOCHS = 3, 4  # 6 samples in batches of 2


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle", "exponential"])
def test_the_rates_reach_the_weights(name, start_run, float64):
    """With ``|s - y|`` far below its target the gradient is -1, and W the sum of the rates."""
    X, y = np.ones((6, 1)), np.full((6, 1), 1e6)
    network = Sequential([Dense(1, bias=False)])
    run = start_run(
        network,
        X,
        y,
        loss="absolute",
        rate=0.2,
        schedule=name,
        epochs=EPOCHS,
        batch_size=2,
        block_steps=2,
        weights={"dense_0": {"W": np.zeros((1, 1))}},
    )
    run.train()
    rates = 0.2 * schedule(name)(np.arange(STEPS * EPOCHS) / (STEPS * EPOCHS - 1))
    assert_allclose(run.state.weights["dense_0"]["W"], [[rates.sum()]], rtol=1e-12)
    assert_allclose(run.history["learning_rate"], rates[STEPS - 1 :: STEPS], atol=1e-15)
    assert int(run.state.step) == STEPS * EPOCHS
