"""Fits on 1, 2 and 8 devices: ``python fits.py FOLDER`` writes what they find there.

`test_devices` compares. It is a process of its own, since JAX must be told how many devices a CPU
counts as before it is used, and one for all, since importing and compiling is what takes time.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np

from lamina import ConvClassifier, ImplicitFactorization, NetworkClassifier, RatingFactorization
from lamina.layers import BatchNorm, Dense, Dropout, Sequential
from lamina.training.callbacks import Callback

TOLD = {}
"""What `Look` has seen, by fit."""


class KilledError(Exception):
    """Stands for the end of the process."""


class KilledAfter(Callback):
    """Ends a run some time after so many epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch(self, run, record):
        if record["epoch"] > self.epochs:
            raise KilledError


class Look(Callback):
    """Notes one device's part of a matrix and of the work, and how many programs there are."""

    def __init__(self, fit):
        self.fit = fit

    def on_end(self, run):
        W = run.state.weights["dense_0"]["W"]
        program = run._program(False).__wrapped__
        TOLD[self.fit] = {
            "programs": program._cache_size(),
            "W": W.addressable_shards[0].data.shape,
        }
        if self.fit == "8":
            block = next(run.source.blocks(0))
            rates = np.zeros(len(block.order), np.float32)
            compiled = program.lower(run.state, run._settings, rates, *block).compile()
            TOLD[self.fit]["products"] = compiled.cost_analysis()["flops"]


def perceptron(X, y, devices, **others):
    """Fit in 110 steps; the last of an epoch has 10 rows, and neither 100 nor 10 is 8 times some.

    No bias before batch normalisation: its gradient is rounding alone, which Adam makes large.
    """
    layers = [Dense(1024, "tanh", bias=False), BatchNorm(), Dropout(0.1), Dense(10)]
    settings = {"batch_size": 100, "max_epochs": 10, "random_state": 0, "verbose": 0}
    network = Sequential(layers)
    return NetworkClassifier(network=network, devices=devices, **settings, **others).fit(X, y)


def networks(X, y, folder):
    """Yield (name, fitted network)."""
    for name, devices in {"1": None, "2": 2, "8": "all", "2x4": (2, 4)}.items():
        watch = [] if devices is None else [Look(name)]
        yield f"perceptron {name}", perceptron(X, y, devices, callbacks=watch)
    for first, then in ((8, None), (None, 8)):
        run = folder / f"run on {first}"
        with suppress(KilledError):
            perceptron(X, y, first, checkpoint=run, callbacks=[KilledAfter(6)])
        assert list(run.glob("*.safetensors"))
        yield f"perceptron {first} then {then}", perceptron(X, y, then, checkpoint=run)
    small = {"filters": (8,), "depth": 1, "hidden": (16,), "image_shape": (8, 8, 1)}
    small |= {"batch_size": 30, "max_epochs": 1, "random_state": 0, "verbose": 0}
    for name, devices in {"1": None, "8": 8}.items():
        yield f"conv {name}", ConvClassifier(**small, devices=devices).fit(X[:250], y[:250])


def factorizations():
    """Yield (name, fitted model); neither 37 users nor 21 items come out even over 8."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((37, 21)) < 0.3)
    ratings = 1 + rng.integers(5, size=len(users)).astype(np.float32)
    settings = {"rank": 4, "iterations": 3, "random_state": 0, "verbose": 0}
    for name, devices in {"1": None, "8": (2, 4)}.items():
        rated = RatingFactorization(solver="als", devices=devices, **settings)
        yield f"ratings {name}", rated.fit((users, items, ratings))
        seen = ImplicitFactorization(solver="cg", devices=devices, **settings)
        yield f"implicit {name}", seen.fit((users, items, ratings))


def main(folder):
    from sklearn.datasets import load_digits

    jax.config.update("jax_num_cpu_devices", 8)
    X, y = load_digits(return_X_y=True)
    for name, model in networks(np.float32(X[:1010] / 16), y[:1010], folder):
        numbers = jax.tree.leaves((model.weights_, model.statistics_))
        np.save(folder / f"{name}.npy", np.concatenate([array.ravel() for array in numbers]))
    for name, model in factorizations():
        numbers = jax.tree.leaves(model.weights_)
        np.save(folder / f"{name}.npy", np.concatenate([array.ravel() for array in numbers]))
    (folder / "told.json").write_text(json.dumps(TOLD))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
