"""What checkpoints cost: training with one every 100 steps beside the same training without.

``python -m benchmarks.checkpoints``: runs taken in turns, A B A B …, the ratio of their medians, by
the clock; and the share of a run's CPU time, of all threads, that checkpoints take to copy, hash
and write, which other programs on the machine hardly disturb.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.interleave import Ratio, interleaved

STEPS = 100


@dataclass
class Training:
    """A network and its data.

    Parameters
    ----------
    title : str
        For the table.
    estimator : str
        Its name in `lamina`.
    settings : dict
        Its parameters, ``batch_size`` and ``max_epochs`` among them.
    sample : tuple of int
        One sample's shape.
    rows : int
        How many there are, drawn at random.
    """

    title: str
    estimator: str
    settings: dict[str, Any]
    sample: tuple[int, ...]
    rows: int
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Return the steps of a run."""
        return self.settings["max_epochs"] * -(-self.rows // self.settings["batch_size"])

    def measure(self, rounds: int) -> tuple[str, ...]:
        """Return the row of the table."""
        rng = np.random.default_rng(0)
        self.data = (
            rng.normal(size=(self.rows, *self.sample)).astype(np.float32),
            np.arange(self.rows) % 10,
        )
        self.shares: list[float] = []
        measures = {"without": lambda: self.fit(None), "with": self.fit_keeping}
        seconds = interleaved(measures, rounds, warm_ups=1)
        clock = Ratio.of(seconds["with"], seconds["without"])
        shares = self.shares[1:]
        return (
            self.title,
            f"{self.found['weights']:,}",
            f"{self.found['bytes'] / 1e6:.1f}",
            f"{self.found['files']} in {self.steps:,}",
            f"{1000 * median(seconds['without']) / self.steps:.2f}",
            *clock.cells,
            f"{median(shares):.1%}",
            f"{min(shares):.1%} – {max(shares):.1%}",
        )

    def fit(self, checkpoint: Any) -> float:
        """Return the seconds of a run, its last checkpoint included."""
        import lamina
        from lamina.estimators.persistence import flatten

        network = getattr(lamina, self.estimator)(
            **self.settings, random_state=0, checkpoint=checkpoint
        )
        began = time.perf_counter()
        network.fit(*self.data)
        taken = time.perf_counter() - began
        self.found["weights"] = sum(W.size for W in flatten(network.weights_).values())
        return taken

    def fit_keeping(self) -> float:
        """Return the seconds of a run with checkpoints, and note how many and how large."""
        import lamina

        with TemporaryDirectory() as folder:
            every = lamina.Checkpoint(folder, every_steps=STEPS, every_seconds=None, keep=10**6)
            began, used = time.process_time(), []
            with timed("_keep", used), timed("_write", used):
                taken = self.fit(every)
            self.shares.append(sum(used) / (time.process_time() - began))
            files = list(Path(folder).glob("step-*"))
            self.found |= {"files": len(files), "bytes": files[0].stat().st_size}
            return taken


@contextmanager
def timed(method: str, used: list[float]) -> Iterator[None]:
    """Note the CPU time of the thread that runs a method of `CheckpointFolder`, each time."""
    from lamina.formats.checkpoints import CheckpointFolder

    plain = getattr(CheckpointFolder, method)

    def measured(*arguments: Any) -> None:
        began = time.thread_time()
        plain(*arguments)
        used.append(time.thread_time() - began)

    with patch.object(CheckpointFolder, method, measured):
        yield


TRAININGS = (
    Training(
        "perceptron 784-256-128-10",
        "MLPClassifier",
        {"hidden": (256, 128), "batch_size": 128, "max_epochs": 40},
        (784,),
        12_800,
    ),
    Training(
        "perceptron 784-1024-1024-10",
        "MLPClassifier",
        {"hidden": (1024, 1024), "batch_size": 128, "max_epochs": 3},
        (784,),
        12_800,
    ),
    Training(
        "convolutional, 32 and 64 filters",
        "ConvClassifier",
        {"batch_size": 64, "max_epochs": 2},
        (28, 28, 1),
        6_400,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each case and print a table."""
    parser = argparse.ArgumentParser("python -m benchmarks.checkpoints", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="networks whose titles hold this")
    chosen = parser.parse_args(arguments)
    header = ("network", "weights", "file, MB", "files in steps", "ms a step", "with / without")
    print("|", " | ".join((*header, "min – max", "share of CPU", "min – max")), "|")
    print("|" + "---|" * 9)
    for training in TRAININGS:
        if chosen.only in training.title:
            print("|", " | ".join(training.measure(chosen.rounds)), "|", flush=True)


if __name__ == "__main__":
    main()
