"""Ctrl-C: the first keeps a usable model, the second stops at once."""

import signal
import threading

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lamina import MLPRegressor
from lamina.layers import Dense, Sequential
from lamina.training.callbacks import Callback

LINEAR = Sequential([Dense(2)])


@pytest.fixture(autouse=True)
def pythons_handler():
    """Whoever runs the tests, here SIGINT is what Python makes of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class CtrlC(Callback):
    """Presses Ctrl-C after the first block of an epoch."""

    def __init__(self, epoch, times=1):
        self.epoch, self.times, self.ended = epoch, times, False

    def on_block(self, run, totals):
        while run.epoch == self.epoch and self.times:
            self.times -= 1
            signal.raise_signal(signal.SIGINT)

    def on_end(self, run):
        self.ended = True


def start(start_run, regression, callbacks=(), **options):
    X, y, weights = (jax.tree.map(np.float32, part) for part in regression)
    options = {"weights": weights, "epochs": 4, "batch_size": 2, "block_steps": 1} | options
    return start_run(LINEAR, X, y, callbacks=callbacks, shuffle=True, **options)


def test_the_first_ctrl_c_keeps_the_weights_so_far(start_run, regression):
    callback = CtrlC(epoch=2)
    run = start(start_run, regression, [callback])
    with pytest.warns(
        UserWarning, match="interrupted in epoch 3 of 4; the weights so far are kept"
    ):
        run.train()
    assert run.interrupted
    assert callback.ended
    assert len(run.history["loss"]) == 2
    assert int(run.state.epoch) == 2
    assert 1 <= int(run.state.batch) < 6
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(start_run, regression):
    whole = start(start_run, regression)
    whole.train()
    run = start(start_run, regression, [CtrlC(epoch=2)])
    with pytest.warns(UserWarning, match="interrupted"):
        run.train()
    rest = start(start_run, regression, state=jax.tree.map(np.array, run.state))
    rest.train()
    assert_array_equal(rest.state.weights["dense_0"]["W"], whole.state.weights["dense_0"]["W"])
    assert run.history["loss"] + rest.history["loss"] == whole.history["loss"]


def test_the_second_ctrl_c_stops_at_once(start_run, regression):
    callback = CtrlC(epoch=1, times=2)
    run = start(start_run, regression, [callback])
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert callback.ended
    assert np.isfinite(run.state.weights["dense_0"]["W"]).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_ones_own_is_left_alone(start_run, regression):
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    run = start(start_run, regression, [CtrlC(epoch=1)])
    run.train()
    assert pressed == [1]
    assert not run.interrupted
    assert len(run.history["loss"]) == 4


def test_training_in_a_thread_needs_no_signals(start_run, regression):
    run = start(start_run, regression)
    thread = threading.Thread(target=run.train)
    thread.start()
    thread.join(60)
    assert len(run.history["loss"]) == 4


def test_an_estimator_is_usable_after_ctrl_c():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    model = MLPRegressor(hidden=(4,), max_epochs=50, callbacks=[CtrlC(epoch=3)], random_state=0)
    with pytest.warns(UserWarning, match=r"interrupted in epoch [45] of 50"):
        model.fit(X, X[:, 0])
    assert np.isfinite(model.predict(X)).all()
    assert 3 <= len(model.history_["loss"]) <= 4
