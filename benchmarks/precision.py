"""Accuracy in bfloat16 beside float32: three networks on Fashion-MNIST, each from several seeds.

``python -m benchmarks.precision --data DIR``. On a processor without a bfloat16 unit Lamina
computes in float32 (`lamina.training.precision`); here the products are taken in bfloat16
nevertheless, which is slow, and the figures are those of a device that has one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from unittest.mock import patch

import numpy as np

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("MLPClassifier", {"hidden": (128, 64), "max_epochs": 10}),
    "conv": ("ConvClassifier", {"filters": (8, 16), "depth": 1, "hidden": (32,), "max_epochs": 4}),
    "recurrent": ("RecurrentClassifier", {"hidden": (48,), "cell": "gru", "max_epochs": 6}),
}
"""The networks: which estimator, and its settings."""

PRECISIONS = ("float32", "bfloat16")


def accuracy(kind: str, precision: str, seed: int, train: Any, test: Any) -> float:
    """Return the share of test images that a network trained in this precision gets right."""
    import lamina

    name, settings = SETTINGS[kind]
    with patch("lamina.training.precision.has_bfloat16", lambda: True):
        network = getattr(lamina, name)(**settings, precision=precision, random_state=seed)
        return float(network.fit(*train).score(*test))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every network in both precisions and print a table."""
    from lamina.formats.idx import read_idx

    chosen = parser().parse_args(arguments)
    parts = (read_idx(chosen.data / "fashion-mnist", part) for part in ("train", "test"))
    train, test = ((part.X[..., 0] / np.float32(255), np.asarray(part.y)) for part in parts)
    train = train[0][: chosen.rows], train[1][: chosen.rows]
    print(f"{chosen.rows:,} rows to train on, {len(test[0]):,} to test on, {chosen.seeds} seeds\n")
    print("| network | float32, % | bfloat16, % | difference, points | its standard error |")
    print("|---|---:|---:|---:|---:|")
    for kind in chosen.only.split(","):
        flat = {"dense": (-1, 784), "conv": (-1, 28, 28, 1), "recurrent": (-1, 28, 28)}[kind]
        shaped = [(X.reshape(flat), y) for X, y in (train, test)]
        found = [
            [100 * accuracy(kind, precision, seed, *shaped) for precision in PRECISIONS]
            for seed in range(chosen.seeds)
        ]
        full, half = zip(*found, strict=True)
        apart = [b - a for a, b in found]
        error = stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
        figures = (f"{mean(full):.2f}", f"{mean(half):.2f}", f"{mean(apart):+.2f}", f"{error:.2f}")
        print(f"| {kind} | {' | '.join(figures)} |", flush=True)


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    found = argparse.ArgumentParser("python -m benchmarks.precision", description=__doc__)
    data = os.environ.get("LAMINA_DATA_DIR")
    found.add_argument("--data", type=Path, default=data and Path(data), required=data is None)
    found.add_argument("--rows", type=int, default=10_000)
    found.add_argument("--seeds", type=int, default=5)
    found.add_argument("--only", default=",".join(SETTINGS))
    return found


if __name__ == "__main__":
    main()
