"""What peers are told, what a network is to them, and what a peer is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Shape = tuple[int, ...]
Weights = list[tuple[np.ndarray, ...]]
"""A tuple of arrays a layer, shaped and ordered as Lamina's layers have them."""
Fit = Callable[["Task", np.ndarray, np.ndarray], Weights]

LEARNING_RATE = 1e-3
CLASSES = 10
SEED = 0


class Network(Protocol):
    """One network in the words of every peer; frozen, so that programs are compiled once for it."""

    @property
    def linear(self) -> bool:
        """Whether there is no hidden layer."""
        ...

    def title(self, sample: Shape) -> str:
        """Return what the page calls it, for samples of this shape."""
        ...

    def multiplications(self, sample: Shape) -> float:
        """Return those of one sample's forward pass; a step takes about three times as many."""
        ...

    def initial(self, sample: Shape) -> Weights:
        """Return Lamina's own initial weights, drawn by NumPy in the same order."""
        ...

    def lamina(self, **settings: Any) -> Any:
        """Return the estimator, not fitted."""
        ...

    def lamina_weights(self, model: Any) -> Weights:
        """Return a fitted estimator's weights."""
        ...

    def torch(self, weights: Weights, sample: Shape) -> Any:
        """Return the PyTorch module that has these weights."""
        ...

    def torch_inputs(self, X: np.ndarray) -> Any:
        """Return ``X`` as a tensor, axes in PyTorch's order."""
        ...

    def torch_weights(self, module: Any, sample: Shape) -> Weights:
        """Return a module's weights."""
        ...

    def jax(self, weights: Any, X: Any) -> Any:
        """Return scores (n, 10), as a JAX program."""
        ...

    def scores(self, weights: Weights, X: np.ndarray) -> np.ndarray:
        """Return scores (n, 10) by NumPy: the judge of all peers."""
        ...


@dataclass(frozen=True)
class Task:
    """The network and its training.

    Parameters
    ----------
    network : Network
        From samples to 10 scores.
    batch, epochs : int
        Samples a step; passes over the data.
    """

    network: Network
    batch: int
    epochs: int


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
