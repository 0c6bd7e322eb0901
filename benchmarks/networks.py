"""Cases (a) to (d): a dense network trained by every peer; time per epoch."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.case import Finding, Options, missing
from benchmarks.interleave import Ratio, interleaved, seconds
from benchmarks.peers import LAMINA, PEERS
from benchmarks.task import CLASSES, Peer, Task, Weights

FASHION = "fashion-mnist"
LOSS_BAND = 1.3
"""By which factor a peer's final training loss may differ from Lamina's, either way."""


@dataclass(frozen=True)
class Training:
    """A network, its data and its training: a `Case`.

    Parameters
    ----------
    name : str
        What ``--only`` calls it.
    task : Task
        What every peer is told.
    samples, features : int
        The shape of X.
    real : str, optional
        The data set to use where the data folder has it.
    """

    name: str
    task: Task
    samples: int
    features: int
    real: str | None = None

    @property
    def title(self) -> str:
        """Return such as ``784-256-128-10, batch 128``."""
        widths = "-".join(map(str, (self.features, *self.task.hidden, CLASSES)))
        kind = "MLP" if self.task.hidden else "linear"
        return f"({self.name}) {kind} {widths}, batch {self.task.batch}"

    def shortened(self) -> Training:
        """Return a tenth of it, for one epoch."""
        return replace(self, samples=self.samples // 10, task=replace(self.task, epochs=1))

    def data(self, folder: Path | None) -> tuple[np.ndarray, np.ndarray, str]:
        """Return ``X`` (samples, features) float32, ``y`` (samples,) int64, and what they are."""
        if self.real and folder and (folder / self.real).is_dir():
            X, y = read_images(folder / self.real, self.samples)
            return X, y, f"{self.real}, the first {len(X):,} training images, scaled to [0, 1]"
        X, y = synthetic(self.samples, self.features)
        return X, y, f"synthetic, {len(X):,} samples"

    def measure(self, options: Options) -> Finding:
        """Time all peers in turns."""
        if options.quick:
            return self.shortened().measure(replace(options, quick=False))
        X, y, source = self.data(options.data)
        runs = {peer: partial(peer.fit, self.task, X, y) for peer in self.entrants()}
        losses = {peer: cross_entropy(run(), X, y) for peer, run in runs.items()}  # the warm-up
        check_losses(self.title, losses)
        found = interleaved({peer.name: seconds(run) for peer, run in runs.items()}, options.rounds)
        ratios = {peer: Ratio.of(found[peer.name], found[LAMINA.name]) for peer in runs}
        rows = [
            self.row(peer, found.get(peer.name), ratios.get(peer), losses.get(peer))
            for peer in (LAMINA, *PEERS)
        ]
        summary: dict[str, float] = {}
        for peer, ratio in ratios.items():
            summary[peer.kind] = min(ratio.value, summary.get(peer.kind, ratio.value))
        text = f"Data: {source}. {self.task.epochs} epochs a fit, {options.rounds} rounds."
        header = ("", "ms / epoch", "ratio", "min – max", "final training loss")
        return Finding(self.title, text, header, tuple(rows), summary)

    def entrants(self) -> list[Peer]:
        """Return Lamina and the peers that can take part."""
        return [peer for peer in (LAMINA, *PEERS) if not self.excuse(peer)]

    def excuse(self, peer: Peer) -> str:
        """Return why a peer cannot take part, or nothing."""
        if missing(peer.modules):
            return "not installed"
        if not (peer.linear or self.task.hidden):
            return "has no network without a hidden layer"
        return ""

    def row(
        self, peer: Peer, found: list[float] | None, ratio: Ratio | None, loss: float | None
    ) -> tuple[str, ...]:
        """Return a peer's cells."""
        if found is None or ratio is None:
            return (peer.name, self.excuse(peer), "", "", "")
        each = 1e3 * median(found) / self.task.epochs
        return (peer.name, f"{each:,.1f}", *ratio.cells, f"{loss:.4f}")


def synthetic(samples: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return normal inputs, with labels drawn from a random linear softmax model of them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((samples, features), dtype=np.float32)
    V = rng.standard_normal((features, CLASSES), dtype=np.float32) * (3 / np.sqrt(features))
    y = np.argmax(X @ V.astype(np.float32) + rng.gumbel(size=(samples, CLASSES)), axis=1)
    return X, y


def read_images(folder: Path, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images as rows of numbers in [0, 1], and their labels."""
    from lamina.formats.read import read

    dataset = read(folder)
    X = np.asarray(dataset.X[:samples], np.float32).reshape(samples, -1) / np.float32(255)
    return X, np.asarray(dataset.y[:samples], np.int64)


def cross_entropy(weights: Weights, X: np.ndarray, y: np.ndarray) -> float:
    """Return a trained network's mean loss on its training data: one judge for all peers."""
    *hidden, (W, b) = weights
    A = X
    for V, c in hidden:
        A = np.maximum(A @ V + c, 0)
    scores = A @ W + b
    scores -= scores.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]))


def check_losses(title: str, losses: dict[Peer, float]) -> None:
    """Stop where a peer did not learn what Lamina learned: it had another task."""
    for peer, loss in losses.items():
        if not 1 / LOSS_BAND < loss / losses[LAMINA] < LOSS_BAND:
            sys.exit(
                f"{title} expected every peer to end near Lamina's training loss "
                f"{losses[LAMINA]:.4f}, got {loss:.4f} from {peer.name}. Are their tasks the same?"
            )


CASES = (
    Training("a", Task((100,), 32, 20), 20_000, 64),
    Training("b", Task((256, 128), 128, 3), 60_000, 784, FASHION),
    Training("c", Task((1024, 1024), 256, 2), 30_000, 784, FASHION),
    Training("d", Task((), 256, 4), 50_000, 3072),
)
