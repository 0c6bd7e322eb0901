"""What peers are told, and what a peer is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Weights = list[tuple[np.ndarray, np.ndarray]]
Fit = Callable[["Task", np.ndarray, np.ndarray], Weights]

LEARNING_RATE = 1e-3
CLASSES = 10
SEED = 0


@dataclass(frozen=True)
class Task:
    """The network and its training.

    Parameters
    ----------
    hidden : tuple of int
        Units of the relu layers before the 10 scores.
    batch, epochs : int
        Samples a step; passes over the data.
    """

    hidden: tuple[int, ...]
    batch: int
    epochs: int


def initial_weights(task: Task, features: int) -> Weights:
    """Return Lamina's own initial weights: He's, Glorot's for the last layer, zeros if linear."""
    rng = np.random.default_rng(SEED)
    widths = (features, *task.hidden, CLASSES)
    weights = []
    for m, k in pairwise(widths):
        deviation = np.sqrt(2 / (m + k if k == CLASSES else m)) if task.hidden else 0.0
        W = rng.standard_normal((m, k), dtype=np.float32) * np.float32(deviation)
        weights.append((W, np.zeros(k, np.float32)))
    return weights


def cores() -> int:
    """Return how many cores this process may use; every peer gets them all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Peer:
    """A row of the tables.

    Parameters
    ----------
    name, kind : str
        What the row is called; which rows count as one peer, of which the fastest is compared.
    modules : tuple of str
        What it imports; their packages must be installed.
    fit : Fit
        How it trains.
    linear : bool
        Whether it can train a network without a hidden layer.
    """

    name: str
    kind: str
    modules: tuple[str, ...]
    fit: Fit
    linear: bool = True
