"""Surgery on a network with its matrices: what reaches each layer, and layers put for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from lamina.layers.composite import Composite
from lamina.layers.composition import Parallel, Residual
from lamina.layers.layer import PREDICTING
from lamina.layers.sequential import Sequential
from lamina.models.folding import Bound, named, parts_of

Change = Callable[[str, Bound], list[Bound]]
"""From a layer's path and itself to what stands in its place, one after another."""


def numbers(bound: Bound) -> int:
    """Return how many numbers a network keeps: weights and statistics."""
    return sum(np.size(leaf) for leaf in jax.tree.leaves((bound.weights, bound.statistics)))


def reached(bound: Bound, X: Any, path: str = "") -> Iterator[tuple[str, Bound, Any]]:
    """Yield each layer that is not composed: its path, itself, and the input that reaches it.

    Parameters
    ----------
    bound : Bound
        A network with its weights.
    X : array of shape (n, ...), or `Sequences`
        Its input.
    path : str
        What stands before the paths.
    """
    network = bound.layer
    if not isinstance(network, Composite):
        yield path, bound, X
        return
    chained = isinstance(network, Sequential)
    for (name, _), part in zip(network.named(), parts_of(bound), strict=True):
        yield from reached(part, X, f"{path}/{name}" if path else name)
        if chained:
            X = part.layer.apply(part.weights, part.statistics, X, PREDICTING)[0]


def rewritten(bound: Bound, change: Change) -> Bound:
    """Return a network with ``change`` made to each layer that is not composed."""
    return _one(_rewritten(bound, change, ""))


def _rewritten(bound: Bound, change: Change, path: str) -> list[Bound]:
    network: Any = bound.layer
    if not isinstance(network, Sequential | Residual | Parallel):
        return change(path, bound)
    names = [name for name, _ in network.named()]
    found = [
        _rewritten(part, change, f"{path}/{name}" if path else name)
        for name, part in zip(names, parts_of(bound), strict=True)
    ]
    if isinstance(network, Sequential):
        parts = [part for those in found for part in those]
        return [named(Sequential([part.layer for part in parts]), parts)]
    parts = [_one(those) for those in found]
    if isinstance(network, Parallel):
        return [named(replace(network, branches=[part.layer for part in parts]), parts)]
    shortcut = None if network.shortcut is None else parts[1].layer
    return [named(Residual(parts[0].layer, shortcut), parts)]


def _one(parts: list[Bound]) -> Bound:
    if len(parts) == 1:
        return parts[0]
    return named(Sequential([part.layer for part in parts]), parts)
