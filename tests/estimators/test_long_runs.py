"""Long runs: after its first two epochs a run compiles nothing, and its memory stays flat."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lamina import ImplicitFactorization, MLPClassifier, RatingFactorization
from lamina.training.callbacks import Callback

STATM = Path("/proc/self/statm")
pytestmark = pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")

PAGE, MEGABYTE = 4096, 1_000_000
MOST = 2 * MEGABYTE
"""Bytes that 1,800 epochs may add: their history is a third of it."""

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2000, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def resident():
    """Return the bytes of memory that this process holds."""
    return int(STATM.read_text().split()[1]) * PAGE


class Watch(Callback):
    """Notes memory and compilations after each 200th epoch, the first after the second."""

    def __init__(self, compilations):
        self.compilations, self.seen = compilations, []

    def __deepcopy__(self, memo):
        return self

    def on_epoch(self, run, record):
        if run.epoch == 2 or run.epoch % 200 == 0:
            self.seen.append((resident(), len(self.compilations)))


def test_two_thousand_epochs(compilations):
    watch = Watch(compilations)
    settings = {"hidden": (3,), "batch_size": 1000, "max_epochs": 2000, "random_state": 0}
    model = MLPClassifier(**settings, callbacks=[watch])
    model.fit(X, Y, validation_data=(X[:500], Y[:500]))
    memory, compiled = zip(*watch.seen, strict=True)
    assert len(model.history_["loss"]) == 2000
    assert 0 < compiled[0] == compiled[-1]
    assert memory[-1] - memory[1] < MOST


def test_passes_by_partial_fit(compilations):
    model = MLPClassifier(hidden=(3,), batch_size=1000, random_state=0)
    seen = []
    for _ in range(3):
        for _ in range(200):
            model.partial_fit(X, Y, classes=[0, 1])
        seen.append((resident(), len(compilations)))
    memory, compiled = zip(*seen, strict=True)
    assert compiled[0] == compiled[-1]
    assert memory[-1] - memory[0] < MOST


@pytest.mark.parametrize(
    ("factorization", "settings"),
    [
        (RatingFactorization, {}),
        (RatingFactorization, {"solver": "als"}),
        (ImplicitFactorization, {}),
    ],
    ids=["bayes", "als", "implicit"],
)
def test_factorizations(factorization, settings, compilations):
    pairs = pd.DataFrame({"u": np.arange(600) % 50, "i": np.arange(600) % 37, "v": 1.0})
    pairs["v"] += np.arange(600) % 5

    def fit(iterations):
        made = factorization(rank=2, iterations=iterations, random_state=0, **settings)
        return len(made.fit(pairs).history_["loss"])

    fit(20)
    before, then = resident(), len(compilations)
    assert fit(300) == 300
    assert len(compilations) == then
    assert resident() - before < MOST
