"""What checkpoints cost: training with one every 100 steps beside the same training without.

``python -m benchmarks.checkpoints``: runs taken in turns, A B A B …, the ratio of their medians, by
the clock and by the processor's time of all threads, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.interleave import Ratio, interleaved

STEPS = 100
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...], int]] = {
    "perceptron 784-256-128-10": (
        "MLPClassifier",
        {"hidden": (256, 128), "batch_size": 128, "max_epochs": 8},
        (784,),
        38_400,
    ),
    "perceptron 784-1024-1024-10": (
        "MLPClassifier",
        {"hidden": (1024, 1024), "batch_size": 128, "max_epochs": 4},
        (784,),
        19_200,
    ),
    "convolutional, 32 and 64 filters": (
        "ConvClassifier",
        {"batch_size": 64, "max_epochs": 2},
        (28, 28, 1),
        9_600,
    ),
}
"""Estimator, settings, a sample's shape, rows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each case and print a table."""
    import lamina
    from lamina.estimators.persistence import flatten

    parser = argparse.ArgumentParser("python -m benchmarks.checkpoints", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="cases whose names hold this")
    chosen = parser.parse_args(arguments)
    header = ("network", "weights", "file, MB", "files of steps", "ms a step", "with / without")
    print("|", " | ".join((*header, "min – max", "CPU time", "min – max")), "|")
    print("|" + "---|" * 9)
    for case, (name, settings, shape, rows) in CASES.items():
        if chosen.only and chosen.only not in case:
            continue
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(rows, *shape)).astype(np.float32), np.arange(rows) % 10
        steps = settings["max_epochs"] * -(-rows // settings["batch_size"])
        kept: dict[str, Any] = {"files": 0, "bytes": 0, "weights": 0}

        def fit(checkpoint: Any) -> float:
            """Return the seconds of a run, its last checkpoint included, and note the CPU's."""
            network = getattr(lamina, name)(**settings, random_state=0, checkpoint=checkpoint)
            began, used = time.perf_counter(), time.process_time()
            network.fit(X, y)
            taken = time.perf_counter() - began
            busy["without" if checkpoint is None else "with"].append(time.process_time() - used)
            kept["weights"] = sum(W.size for W in flatten(network.weights_).values())
            return taken

        def keeping() -> float:
            with TemporaryDirectory() as folder:
                every = lamina.Checkpoint(folder, every_steps=STEPS, every_seconds=None, keep=10**6)
                taken = fit(every)
                files = list(Path(folder).glob("step-*"))
                kept.update(files=len(files), bytes=files[0].stat().st_size)
                return taken

        busy: dict[str, list[float]] = {"without": [], "with": []}
        measures: dict[str, Callable[[], float]] = {"without": lambda: fit(None), "with": keeping}
        found = interleaved(measures, chosen.rounds, warm_ups=1)
        wall = Ratio.of(found["with"], found["without"])
        used = Ratio.of(busy["with"][1:], busy["without"][1:])
        print(
            f"| {case} | {kept['weights']:,} | {kept['bytes'] / 1e6:.1f} | {kept['files']} of "
            f"{steps:,} | {1000 * median(found['without']) / steps:.2f} | "
            f"{' | '.join((*wall.cells, *used.cells))} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
