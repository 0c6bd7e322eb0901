"""Case (e): a whole process that imports, fits digits for 50 epochs and predicts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.case import Finding, Options
from benchmarks.interleave import Ratio, interleaved, seconds

LEAST_ROUNDS = 7
LEAST_ACCURACY = 0.95

LOADERS = {
    "`sklearn.datasets.load_digits`": """\
from sklearn.datasets import load_digits
X, y = load_digits(return_X_y=True)
""",
    "`numpy.load` of an .npz file": """\
import numpy
file = numpy.load("digits.npz")
X, y = file["X"], file["y"]
""",
}

LAMINA = """\
import lamina
{cache}
model = lamina.MLPClassifier(
    hidden=(64,), batch_size=200, max_epochs=50, penalty=None, schedule="constant", verbose=0
)
"""
SCIKIT_LEARN = """\
from sklearn.neural_network import MLPClassifier
model = MLPClassifier((64,), alpha=0, batch_size=200, max_iter=50, tol=0, n_iter_no_change=51)
"""
REST = """\
X = (X / 16).astype("float32")
model.fit(X, y)
print((model.predict(X) == y).mean())
"""

CACHES = ("off (the default)", "empty", "warm")


@dataclass(frozen=True)
class StartUp:
    """The case: both ways to load the data, by scikit-learn and by Lamina with each cache."""

    name: str = "e"

    def measure(self, options: Options) -> Finding:
        """Run all scripts in turns."""
        with TemporaryDirectory() as folder:
            return self._measure(options, Path(folder))

    def _measure(self, options: Options, folder: Path) -> Finding:
        rounds = 1 if options.quick else max(LEAST_ROUNDS, options.rounds)
        run(SAVE_DIGITS, folder)
        measures: dict[str, Callable[[], float]] = {}
        for loader, load in LOADERS.items():
            measures[loader] = seconds(lambda load=load: check(load + SCIKIT_LEARN + REST, folder))
            for cache in CACHES:
                measures[loader + cache] = lamina(load, cache, len(measures), folder)
        found = interleaved(measures, rounds, warm_ups=1)
        rows = []
        for loader in LOADERS:
            peer = found[loader]
            for cache in CACHES:
                ours = found[loader + cache]
                inverse = median(ours) / median(peer)
                times = (f"{median(ours):.2f}", f"{median(peer):.2f}")
                rows.append((loader, cache, *times, *Ratio.of(peer, ours).cells, f"{inverse:.2f}"))
        text = (
            "Wall time of a new Python process that imports, loads digits (1,797 × 64), fits a "
            "64-64-10 network for 50 epochs in batches of 200 with Adam, and predicts. Both "
            "scripts load the data the same way; scikit-learn's imports scikit-learn in either "
            "case, Lamina's only where it loads the data with it. The cache is that of "
            f"`lamina.use_compilation_cache(folder)`. {rounds} rounds. *Ratio* as above: above 1, "
            "Lamina is faster; *inverse* is Lamina's time / scikit-learn's: below 1, Lamina is "
            "faster."
        )
        header = ("data come from", "compilation cache", "Lamina, s", "scikit-learn, s")
        header += ("ratio", "min – max", "inverse")
        return Finding("(e) start-up", text, header, tuple(rows))


SAVE_DIGITS = """\
import numpy
from sklearn.datasets import load_digits
X, y = load_digits(return_X_y=True)
numpy.savez("digits.npz", X=X, y=y)
"""


def lamina(load: str, cache: str, number: int, folder: Path) -> Callable[[], float]:
    """Return the measure of Lamina's script; an empty cache is a new folder each time."""
    numbers = count() if cache == "empty" else repeat(0)

    def script() -> str:
        place = folder / "cache" / f"{number}-{next(numbers)}"
        call = "" if cache.startswith("off") else f"lamina.use_compilation_cache({str(place)!r})"
        return load + LAMINA.format(cache=call) + REST

    return seconds(lambda: check(script(), folder))


def check(script: str, folder: Path) -> None:
    """Run a script, and see that it learned."""
    accuracy = float(run(script, folder))
    if accuracy < LEAST_ACCURACY:
        sys.exit(f"A start-up script expected accuracy {LEAST_ACCURACY}, got {accuracy}.\n{script}")


def run(script: str, folder: Path) -> str:
    """Return what a script prints, run by a new interpreter in ``folder``."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"A start-up script failed:\n{script}\n{done.stderr}")
    return done.stdout


CASE = StartUp()
