"""Accuracy by whose kernels, and in which precision: networks on Fashion-MNIST from several seeds.

``python -m benchmarks.precision --data DIR`` trains each with XLA's kernels and with the native
ones, in float32 and in bfloat16. On a processor without a bfloat16 unit Lamina computes in float32
(`lamina.training.precision`); here the products are taken in bfloat16 nevertheless, by XLA, and by
the native kernels with AMX's tiles emulated (``python native/build.py --emulate-tiles --into
build/emulated``): slow, and the figures are those of a device that has one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.emulation import compute_in_bfloat16
from benchmarks.interleave import apart

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("MLPClassifier", {"hidden": (128, 64), "max_epochs": 10}),
    "conv": ("ConvClassifier", {"filters": (16, 32), "depth": 1, "hidden": (32,), "max_epochs": 4}),
    "GRU": ("RecurrentClassifier", {"hidden": (48,), "cell": "gru", "max_epochs": 6}),
    "LSTM": ("RecurrentClassifier", {"hidden": (64,), "bidirectional": False, "max_epochs": 6}),
}
"""The networks: which estimator, and its settings."""

WAYS = {
    "XLA float32": ("xla", "float32"),
    "native float32": ("native", "float32"),
    "XLA bfloat16": ("xla", "bfloat16"),
    "native bfloat16": ("native", "bfloat16"),
}
"""Whose kernels, by ``LAMINA_KERNELS``, and the precision; all are compared with the first."""


def accuracies(kind: str, way: str, folder: Path, rows: int, seeds: int) -> list[float]:
    """Return the test images, in %, that a network trained so gets right, for each seed.

    To be called in a process of its own: what a program was traced with stays in it.
    """
    os.environ["LAMINA_KERNELS"], precision = WAYS[way]
    import lamina
    from lamina.formats.idx import read_idx

    shape = {"dense": (784,), "conv": (28, 28, 1)}.get(kind, (28, 28))
    train, test = (read_idx(folder / "fashion-mnist", part) for part in ("train", "test"))
    X, X_test = (
        (part.X / np.float32(255)).reshape(-1, *shape).astype(np.float32) for part in (train, test)
    )
    if precision == "bfloat16":
        compute_in_bfloat16()
    name, settings = SETTINGS[kind]
    settings = settings | {"precision": precision, "verbose": 0}
    return [
        100
        * getattr(lamina, name)(**settings, random_state=seed)
        .fit(X[:rows], train.y[:rows])
        .score(X_test, test.y)
        for seed in range(seeds)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every network in every way and print a table."""
    chosen = parser().parse_args(arguments)
    print(
        f"{chosen.rows:,} rows to train on, {chosen.seeds} seeds; accuracy on the test part in %,"
    )
    ways = [way for way in WAYS if way in chosen.ways.split(",")]
    print(f"and the difference from {ways[0]} in points with its standard error\n")
    print("|", " | ".join(("network", *ways)), "|")
    print("|---" + "|---:" * len(ways) + "|")
    for kind in chosen.only.split(","):
        first, *others = (
            apart(accuracies, kind, way, chosen.data, chosen.rows, chosen.seeds) for way in ways
        )
        cells = [f"{mean(first):.2f}", *(compared(other, first) for other in others)]
        print("|", " | ".join((kind, *cells)), "|", flush=True)


def compared(figures: list[float], first: list[float]) -> str:
    """Return a cell: the mean, the mean difference from the first way, its standard error."""
    apart = [b - a for a, b in zip(first, figures, strict=True)]
    error = stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
    return f"{mean(figures):.2f} ({mean(apart):+.2f} ± {error:.2f})"


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    found = argparse.ArgumentParser("python -m benchmarks.precision", description=__doc__)
    data = os.environ.get("LAMINA_DATA_DIR")
    found.add_argument("--data", type=Path, default=data and Path(data), required=data is None)
    found.add_argument("--rows", type=int, default=10_000)
    found.add_argument("--seeds", type=int, default=5)
    found.add_argument("--only", default=",".join(SETTINGS))
    found.add_argument("--ways", default=",".join(WAYS))
    return found


if __name__ == "__main__":
    main()
