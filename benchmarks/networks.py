"""Cases (a) to (d), (g), (h), (k1) to (k6), (l): a network trained by every peer; its times."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.case import Finding, Options, missing
from benchmarks.convolutional import ConvNet
from benchmarks.interleave import Ratio, interleaved, seconds
from benchmarks.machine import peak
from benchmarks.peers import DEEP_PEERS, IMAGE_PEERS, LAMINA, PEERS, SEQUENCE_PEERS, TORCH
from benchmarks.perceptron import Perceptron
from benchmarks.ragged import RaggedNet
from benchmarks.recurrent import RecurrentNet
from benchmarks.residual import ResidualNet
from benchmarks.task import CLASSES, Network, Peer, Shape, Task, Weights

FASHION = "fashion-mnist"
PIXELS = 0.25
"""The deviation of synthetic images, about that of pixels in [0, 1]: Adam's first steps overshoot
on larger inputs, by more or less as the order of samples has it."""

FEWEST = 128
"""Samples of the shortest run."""

JUDGED = 256
"""How many samples NumPy takes at once; patches of many images would fill the memory."""

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
    samples : int
        How many.
    sample : tuple of int
        The shape of one.
    real : str, optional
        The data set to use where the data folder has it.
    peers : tuple of Peer
        Whom Lamina meets.
    """

    name: str
    task: Task
    samples: int
    sample: Shape
    real: str | None = None
    peers: tuple[Peer, ...] = PEERS

    @property
    def title(self) -> str:
        """Return such as ``(b) MLP 784-256-128-10, batch 128``."""
        return f"({self.name}) {self.task.network.title(self.sample)}, batch {self.task.batch}"

    def shortened(self) -> Training:
        """Return a tenth of it, but enough to meet every class, for one epoch."""
        return replace(
            self, samples=max(self.samples // 10, FEWEST), task=replace(self.task, epochs=1)
        )

    def data(self, folder: Path | None) -> tuple[np.ndarray, np.ndarray, str]:
        """Return ``X`` (samples, *sample) float32, ``y`` (samples,) int64, and what they are."""
        if self.real and folder and (folder / self.real).is_dir():
            X, y = read_images(folder / self.real, self.samples)
            X = X.reshape(-1, *self.sample)
            return X, y, f"{self.real}, the first {len(X):,} training images, scaled to [0, 1]"
        X, y = synthetic(self.samples, self.sample)
        if isinstance(self.task.network, RaggedNet):
            cut(X, self.task.network.shortest)
        return X, y, f"synthetic, {len(X):,} samples"

    def measure(self, options: Options) -> Finding:
        """Time all peers in turns."""
        if options.quick:
            return self.shortened().measure(replace(options, quick=False))
        X, y, source = self.data(options.data)
        runs = {peer: partial(peer.fit, self.task, X, y) for peer in self.entrants()}
        network = self.task.network
        losses = {p: cross_entropy(network, run(), X, y) for p, run in runs.items()}  # the warm-up
        check_losses(self.title, losses)
        most = peak()
        found = interleaved({peer.name: seconds(run) for peer, run in runs.items()}, options.rounds)
        ratios = {peer: Ratio.of(found[peer.name], found[LAMINA.name]) for peer in runs}
        work = 3 * len(X) * network.multiplications(self.sample) / max(most, peak())
        rows = [
            self.row(peer, found.get(peer.name), ratios.get(peer), losses.get(peer), work)
            for peer in (LAMINA, *self.peers)
        ]
        summary: dict[str, float] = {}
        for peer, ratio in ratios.items():
            summary[peer.kind] = min(ratio.value, summary.get(peer.kind, ratio.value))
        steps = -(-len(X) // self.task.batch)
        text = (
            f"Data: {source}. {self.task.epochs} epochs of {steps} steps a fit, "
            f"{options.rounds} rounds."
        )
        header = ("", "ms / epoch", "of peak", "ratio", "min – max", "final training loss")
        return Finding(self.title, text, header, tuple(rows), summary)

    def entrants(self) -> list[Peer]:
        """Return Lamina and the peers that can take part."""
        return [peer for peer in (LAMINA, *self.peers) if not self.excuse(peer)]

    def excuse(self, peer: Peer) -> str:
        """Return why a peer cannot take part, or nothing."""
        if missing(peer.modules):
            return "not installed"
        if self.task.network.linear and not peer.linear:
            return "has no network without a hidden layer"
        return ""

    def row(
        self,
        peer: Peer,
        found: list[float] | None,
        ratio: Ratio | None,
        loss: float | None,
        work: float,
    ) -> tuple[str, ...]:
        """Return a peer's cells; ``work`` is an epoch's products, in seconds at the peak."""
        if found is None or ratio is None:
            return (peer.name, self.excuse(peer), "", "", "", "")
        each = median(found) / self.task.epochs
        return (peer.name, f"{1e3 * each:,.1f}", f"{work / each:.0%}", *ratio.cells, f"{loss:.4f}")


def synthetic(samples: int, sample: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return normal inputs, with labels drawn from a random linear softmax model of them."""
    rng, features = np.random.default_rng(0), prod(sample)
    X = rng.standard_normal((samples, features), dtype=np.float32)
    V = rng.standard_normal((features, CLASSES), dtype=np.float32) * (3 / np.sqrt(features))
    y = np.argmax(X @ V.astype(np.float32) + rng.gumbel(size=(samples, CLASSES)), axis=1)
    if len(sample) == 3:
        X *= np.float32(PIXELS)
    return X.reshape(-1, *sample), y


def cut(X: np.ndarray, shortest: int) -> None:
    """Put NaN beyond the end of sequences (n, t, m) of ``shortest`` to t steps, drawn evenly."""
    lengths = np.random.default_rng(1).integers(shortest, X.shape[1], len(X), endpoint=True)
    X[np.arange(X.shape[1]) >= lengths[:, None]] = np.nan


def read_images(folder: Path, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images as rows of numbers in [0, 1], and their labels."""
    from lamina.formats.read import read

    dataset = read(folder)
    X = np.asarray(dataset.X[:samples], np.float32).reshape(samples, -1) / np.float32(255)
    return X, np.asarray(dataset.y[:samples], np.int64)


def cross_entropy(network: Network, weights: Weights, X: np.ndarray, y: np.ndarray) -> float:
    """Return a trained network's mean loss on its training data: one judge for all peers."""
    starts = range(0, len(X), JUDGED)
    scores = np.concatenate([network.scores(weights, X[i : i + JUDGED]) for i in starts])
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


def dense(name: str, hidden: Shape, batch: int, epochs: int, *data: Any) -> Training:
    return Training(name, Task(Perceptron(hidden), batch, epochs), *data)


def convolutional(name: str, sample: Shape, real: str | None = None) -> Training:
    return Training(name, Task(ConvNet(), 128, 2), 2_560, sample, real, IMAGE_PEERS)


def recurrent(
    name: str, cell: str, batch: int, samples: int, sample: Shape, units: int = 128
) -> Training:
    task = Task(RecurrentNet(cell, units), batch, 2)
    return Training(name, task, samples, sample, peers=SEQUENCE_PEERS)


CASES = {
    case.name: case
    for case in (
        dense("a", (100,), 32, 20, 20_000, (64,)),
        dense("b", (256, 128), 128, 3, 60_000, (784,), FASHION),
        dense("c", (1024, 1024), 256, 2, 30_000, (784,), FASHION),
        dense("d", (), 256, 4, 50_000, (3072,)),
        convolutional("g", (32, 32, 3)),
        convolutional("h", (28, 28, 1), FASHION),
        recurrent("k1", "lstm", 64, 640, (100, 32)),
        recurrent("k2", "gru", 64, 640, (100, 32)),
        recurrent("k3", "rnn", 64, 640, (100, 32)),
        recurrent("k4", "lstm", 32, 160, (784, 1)),
        recurrent("k5", "lstm", 128, 512, (50, 256), 512),
        Training("k6", Task(RaggedNet(64, 7), 32, 3), 270, (29, 12), peers=TORCH),
        Training("l", Task(ResidualNet(), 64, 1), 512, (32, 32, 3), peers=DEEP_PEERS),
    )
}
"""The training cases by name."""
