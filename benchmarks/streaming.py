"""Case (stream): epochs over a stream from disk beside epochs over the same data in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.case import Finding, Options
from benchmarks.interleave import Ratio, interleaved

EPOCHS = 3
NETWORKS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "28x28x1-c32-c64-128-10": ("ConvClassifier", 10_000, {"depth": 1, "batch_norm": False}),
    "784-256-128-10": ("MLPClassifier", 60_000, {}),
}
"""Estimator, images and settings, by what the page calls the network."""
GIB = 1 << 30

LIMITED = """\
import resource, sys
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
from lamina import MLPClassifier
from lamina.formats import stream
data = stream(sys.argv[1])
clf = MLPClassifier(hidden=(64,), max_epochs=1, batch_size=1024, random_state=0).fit(data)
clf.evaluate(data)
print(sum(clf.history_["seconds"]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@dataclass(frozen=True)
class Streaming:
    """The case: Fashion-MNIST, and a file four times as large as the process may be.

    Parameters
    ----------
    name : str
        What ``--only`` calls it.
    """

    name: str = "stream"

    def measure(self, options: Options) -> Finding:
        """Train in turns, in memory and from disk; then under the limit."""
        rows, source = [], ""
        for title, (name, samples, settings) in NETWORKS.items():
            n = 1000 if options.quick else samples
            X, y, source = images(options.data, n)
            with TemporaryDirectory() as folder:
                np.save(Path(folder, "X.npy"), X)
                np.save(Path(folder, "y.npy"), y)
                runs = epochs(name, settings, X, y, folder)
                found = interleaved(runs, options.rounds, warm_ups=1)
            held, streamed = found["memory"], found["stream"]
            rates = (f"{n / median(times):,.0f}" for times in (held, streamed))
            rows.append((title, f"{n:,}", *rates, *Ratio.of(held, streamed).cells))
        size = GIB // (64 if options.quick else 1)
        with TemporaryDirectory() as folder:
            seconds, peak = under_a_limit(Path(folder), 4 * size, GIB)
        text = (
            f"{source}: `fit(X, y)` beside `fit(lamina.formats.stream(folder))`, images kept as "
            "uint8 and divided by 255 by `ImageEncoder`, batches of 64. The "
            f"epochs' own seconds, without compilation; {EPOCHS - 1} epochs a fit, "
            f"{options.rounds} rounds in turns. Ratio: stream / memory; 1 is as fast. Then one "
            f"epoch over a `.npy` file of {4 * size / GIB:g} GiB (of zeros, which take no room on "
            f"the disk), in a process that may hold {GIB / GIB:g} GiB of data (`RLIMIT_DATA`): "
            f"{seconds:.0f} s, peak resident memory {peak / 1e6:,.0f} MB."
        )
        header = ("network", "images", "memory, images/s", "stream, images/s", "ratio", "min – max")
        return Finding("(stream) larger than memory", text, header, tuple(rows))


def images(data: Path | None, n: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Return n images of Fashion-MNIST, or random ones of its shape where it is not at hand."""
    from lamina.formats.read import read

    if data is not None and (data / "fashion-mnist").is_dir():
        found = read(data / "fashion-mnist")
        return np.asarray(found.X)[:n], np.asarray(found.y)[:n], "Fashion-MNIST"
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 28, 28, 1), np.uint8), rng.integers(0, 10, n), "Random images"


def epochs(
    name: str, settings: dict[str, Any], X: np.ndarray, y: np.ndarray, folder: str
) -> dict[str, Callable[[], float]]:
    """Return what measures an epoch's seconds in memory and over the stream."""
    import lamina
    from lamina.formats import stream
    from lamina.formats.encoders import ImageEncoder

    def of(*data: Any) -> float:
        common = {"batch_size": 64, "max_epochs": EPOCHS, "random_state": 0, "verbose": 0}
        clf = getattr(lamina, name)(**common, **settings, encoder=ImageEncoder()).fit(*data)
        return median(clf.history_["seconds"][1:])

    return {"memory": lambda: of(X, y), "stream": lambda: of(stream(folder))}


def under_a_limit(folder: Path, size: int, limit: int) -> tuple[float, float]:
    """Return the seconds of an epoch over ``size`` bytes and the process's peak memory."""
    rows = size // (784 * 4)
    with (folder / "X.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 784)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * 784 * 4)
    np.save(folder / "y.npy", np.arange(rows) % 10)
    command = [sys.executable, "-c", LIMITED, str(folder), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"Training on {size:,} bytes within {limit:,} failed:\n{done.stderr}")
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


CASE = Streaming()
