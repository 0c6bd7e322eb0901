"""Callbacks: when they are called, what they may do, and the rules of the two that Lamina has."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lamina.errors import InputError
from lamina.layers import Dense, Sequential
from lamina.training.callbacks import Callback, EarlyStopping, ReduceOnPlateau, fresh_copy
from lamina.training.progress import ProgressBar

LINEAR = Sequential([Dense(2)])


class Diary(Callback):
    def __init__(self, name, pages):
        self.name, self.pages = name, pages

    def on_start(self, run):
        self.pages.append((self.name, "start"))

    def on_block(self, run, totals):
        self.pages.append((self.name, "block", run.epoch, totals.steps))

    def on_epoch(self, run, record):
        self.pages.append((self.name, "epoch", record["epoch"]))

    def on_end(self, run):
        self.pages.append((self.name, "end"))


def test_order_of_calls(start_run, regression):
    X, y, weights = regression
    pages = []
    callbacks = [Diary("a", pages), Diary("b", pages)]
    start_run(
        LINEAR, X, y, weights=weights, epochs=2, batch_size=4, block_steps=2, callbacks=callbacks
    ).train()
    events = [("start",)]
    for epoch in (0, 1):  # three steps an epoch: a block of two and a block of one
        events += [("block", epoch, 2), ("block", epoch, 3), ("epoch", epoch + 1)]
    events += [("end",)]
    assert pages == [(name, *event) for event in events for name in "ab"]


def test_a_function_of_the_record_may_stop(start_run, regression):
    X, y, weights = regression
    seen, pages = [], []

    def stop(record):
        seen.append(record["loss"])
        return len(seen) == 3

    run = start_run(
        LINEAR,
        X,
        y,
        weights=weights,
        epochs=10,
        callbacks=[fresh_copy(stop), Diary("after", pages)],
    )
    run.train()
    assert run.history["loss"] == seen
    assert len(seen) == 3
    assert pages[-2:] == [("after", "epoch", 3), ("after", "end")]  # all callbacks see the epoch


def test_a_failing_callback_ends_the_run_and_the_others_in_order(start_run, regression):
    X, y, weights = regression
    pages = []

    class Broken(Callback):
        def on_epoch(self, run, record):
            raise RuntimeError("mine")

    callbacks = [Diary("a", pages), Broken()]
    run = start_run(LINEAR, X, y, weights=weights, epochs=5, callbacks=callbacks)
    with pytest.raises(RuntimeError, match="mine"):
        run.train()
    assert pages[-1] == ("a", "end")
    assert np.isfinite(run.state.weights["dense_0"]["W"]).all()


def test_each_fit_takes_a_copy():
    mine = EarlyStopping(3)
    copied = fresh_copy(mine)
    copied.best = 1.0
    assert mine.best is None
    assert (copied.patience, copied.monitor) == (3, "val_loss")
    with pytest.raises(
        InputError, match=r"callbacks expected Callback objects or functions .* got 3"
    ):
        fresh_copy(3)


# EarlyStopping


def feed(callback, name, values):
    """Return after which epoch it stops, and the epoch whose weights it ends with."""
    run = SimpleNamespace(state=None, ended=None)

    def change_state(weights, statistics, average):
        run.ended = int(weights)

    run.change_state = change_state
    stopped = None
    for epoch, value in enumerate(values, 1):
        weights = np.array(epoch)
        run.state = SimpleNamespace(
            weights=weights, served=weights, statistics=np.array(0), average=None
        )
        if callback.on_epoch(run, {"epoch": epoch, name: value}):
            stopped = epoch
            break
    callback.on_end(run)
    return stopped, run.ended


@pytest.mark.parametrize(
    ("options", "name", "values", "expected"),
    [
        ({"patience": 2}, "val_loss", [3, 2, 1, 2, 3, 4], (5, 3)),
        ({"patience": 2}, "val_loss", [3, 4, 2, 3, 1, 2, 2, 0], (7, 5)),
        ({"patience": 2}, "val_loss", [3, 2, 1], (None, 3)),
        ({"patience": 1}, "val_loss", [1, 1], (2, 1)),  # no better is not better
        ({"patience": 1, "monitor": "val_accuracy"}, "val_accuracy", [0.5, 0.7, 0.6], (3, 2)),
        ({"patience": 2, "min_delta": 0.5}, "val_loss", [3, 2.8, 2.6, 1], (3, 1)),
        ({"patience": 2, "min_delta": 0.5}, "val_loss", [3, 2.8, 2.4, 2, 2], (5, 3)),
        ({"patience": 1}, "val_loss", [float("nan"), 2, 1, 3], (4, 3)),
    ],
)
def test_early_stopping_by_hand(options, name, values, expected):
    assert feed(EarlyStopping(**options), name, values) == expected


def test_early_stopping_wants_a_figure_that_there_is():
    with pytest.raises(
        InputError, match=r"monitor expected one of epoch, loss; got 'val_loss'.*val"
    ):
        feed(EarlyStopping(), "loss", [1.0])


def test_early_stopping_restores_the_best_weights_of_a_run(start_run):
    """Validation targets lie between start and end: its loss falls, then rises."""
    X = np.eye(4, dtype=np.float32)
    y = np.full((4, 2), 10, np.float32)
    kept = []

    class Keeper(Callback):
        def on_epoch(self, run, record):
            kept.append(jax.tree.map(np.array, run.state.weights))

    run = start_run(
        LINEAR,
        X,
        y,
        rate=0.1,
        epochs=100,
        weights={"dense_0": {"W": np.zeros((4, 2)), "b": np.zeros(2)}},
        validation=(X, y * 0.4, None),
        callbacks=[Keeper(), EarlyStopping(patience=3)],
    )
    run.train()
    best = int(np.argmin(run.history["val_loss"]))
    assert 0 < best < 50
    assert len(run.history["loss"]) == best + 1 + 3
    assert_array_equal(run.state.weights["dense_0"]["W"], kept[best]["dense_0"]["W"])
    assert (kept[-1]["dense_0"]["W"] != kept[best]["dense_0"]["W"]).all()


# ReduceOnPlateau


def test_reduce_on_plateau_by_hand():
    run = SimpleNamespace(dtype=np.dtype(np.float32), state=SimpleNamespace(rate_scale=1.0))

    def change_state(rate_scale):
        assert rate_scale.dtype == np.float32  # another dtype would compile another program
        run.state.rate_scale = rate_scale

    run.change_state = change_state
    callback, scales = ReduceOnPlateau(factor=0.1, patience=2), []
    for loss in [3, 2, 2, 2, 2, 1, 2, 1, 1]:
        callback.on_epoch(run, {"epoch": 1, "loss": loss})
        scales.append(float(run.state.rate_scale))
    assert scales == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_reduce_on_plateau_prefers_the_validation_loss():
    run = SimpleNamespace(dtype=np.dtype(np.float32), state=SimpleNamespace(rate_scale=1.0))
    cuts = []
    run.change_state = lambda rate_scale: cuts.append(rate_scale)
    callback = ReduceOnPlateau(patience=1)
    for loss in (3.0, 2.0):
        callback.on_epoch(run, {"loss": loss, "val_loss": 1.0})
    assert cuts == [0.5]


def test_a_cut_reaches_the_weights(start_run, float64):
    """A constant gradient of -1: after the cut in epoch 3 the weight moves half as fast."""
    X, y = np.ones((1, 1)), np.full((1, 1), 1e6)
    run = start_run(
        Sequential([Dense(1, bias=False)]),
        X,
        y,
        loss="absolute",
        rate=1.0,
        epochs=6,
        weights={"dense_0": {"W": np.zeros((1, 1))}},
        callbacks=[ReduceOnPlateau(patience=2, min_delta=1e3)],
    )
    run.train()
    assert run.history["learning_rate"] == [1, 1, 1, 0.5, 0.5, 0.25]
    assert run.state.weights["dense_0"]["W"].item() == pytest.approx(1 + 1 + 1 + 0.5 + 0.5 + 0.25)


# The progress bar


def test_the_bar_shows_the_last_epochs_figures(start_run, regression, capsys):
    X, y, weights = regression
    run = start_run(LINEAR, X, y, weights=weights, epochs=3, callbacks=[ProgressBar()])
    run.train()
    out, err = capsys.readouterr()
    assert out == ""
    for name in ("loss", "rmse"):
        assert f"{name} {run.history[name][-1]:.4g}" in " ".join(err.split())
    assert "learning_rate" not in err
