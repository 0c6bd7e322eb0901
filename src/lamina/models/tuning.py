"""Which matrices of a backbone train: none, those of its last stages, all, or changes of low rank.

A network of a backbone and a head is divided in two. The layers before the cut are a fixed map,
which is applied to the data once where it can be; those after it train, by their own weights or by
a product of two thin matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.layers.frozen import Frozen, LowRank, held, mapped, released
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.normalization import BatchNorm
from lamina.layers.pointwise import Dropout
from lamina.layers.sequential import Sequential
from lamina.models.architecture import has_matrix, in_wiring_order
from lamina.models.folding import Bound, folded

HEAD, LAST, ALL, LORA = "head", "last", "all", "lora"
HEADS = 2
"""Layers of a head: features standardised, then scores."""

WAYS = f"{HEAD!r}, 'last:2', {ALL!r} or {LORA!r}"


@dataclass(frozen=True)
class Tuning:
    """What trains.

    Parameters
    ----------
    way : {"head", "last", "all", "lora"}
        The scores only; the last stages as well; everything; or a change of low rank.
    stages : int
        How many stages, for ``"last"``.
    rank : int
        r, for ``"lora"``.
    alpha : float
        α, for ``"lora"``.
    adapting : bool
        Whether batch normalisation follows the new data, rather than keeping its statistics.
    """

    way: str
    stages: int = 0
    rank: int = 8
    alpha: float = 8.0
    adapting: bool = False

    @classmethod
    def of(cls, tune: Any, rank: int, alpha: float, adapting: bool) -> Tuning:
        """Return what ``tune`` says: head, last:n, all or lora."""
        way, _, number = tune.partition(":") if isinstance(tune, str) else ("", "", "")
        if way == LAST and number.isdigit() and int(number):
            return cls(way, int(number), rank, alpha, adapting)
        if number or way not in (HEAD, ALL, LORA):
            raise InputError(f"tune expected {WAYS}, got {tune!r}.")
        return cls(way, 0, rank, alpha, adapting)

    def first_trained(self, layers: list[Bound]) -> int:
        """Return the number of the first layer that trains, of those before the scores."""
        if self.way == HEAD:
            return len(layers)
        groups = stages(layers)
        count = max(groups) + 1
        if self.stages > count:
            raise InputError(
                f"tune expected at most last:{count}, as the backbone has {count} stages, got "
                f"last:{self.stages}. Use tune='all'."
            )
        return groups.index(count - self.stages if self.way == LAST else 0)

    def divided(self, layers: list[Bound], shape: Shape, start: int, cut: int) -> Division:
        """Return the network in two: before ``start`` a fixed map, from there on what trains.

        Parameters
        ----------
        layers : list of Bound
            The whole network, the head included.
        shape : tuple of int
            One sample's, before the first layer.
        start : int
            The first layer that the training loop is given.
        cut : int
            The first that trains; those between are frozen.
        """
        trained: list[Layer] = []
        for number, part in enumerate(layers):
            if number >= cut:
                trained.append(self.trained(part.layer, shape, head=number >= len(layers) - HEADS))
            elif number >= start:
                still = part.weights or part.statistics or isinstance(part.layer, Dropout)
                trained.append(Frozen(part.layer, self.adapting) if still else part.layer)
            shape = part.layer.output_shape(shape, part.layer.kind)
        return Division(layers, start, Sequential(trained))

    def trained(self, layer: Layer, shape: Shape, *, head: bool) -> Layer:
        """Return a layer from the cut on as it is trained."""
        if head:
            return layer
        return lowered(layer, shape, self) if self.way == LORA else mapped(layer, self._normalising)

    def _normalising(self, layer: Layer) -> Layer:
        if isinstance(layer, BatchNorm) and not self.adapting:
            return replace(layer, frozen=True)
        return layer

    def part(self, layer: Layer, shape: Shape) -> Layer:
        """Return a layer without parts as it is trained with changes of low rank."""
        weights, statistics = layer.weight_shapes(shape)
        if not weights and not statistics:
            return layer
        matrix = weights.get("W")
        if matrix is not None and not statistics:
            m, k = prod(matrix[:-1]), matrix[-1]
            if 2 * self.rank * (m + k) <= m * k:
                return LowRank(layer, self.rank, self.alpha)
        return Frozen(layer, self.adapting)


def lowered(layer: Layer, shape: Shape, tuning: Tuning) -> Layer:
    """Return a layer whose matrices, wherever that halves them or better, change by low rank."""
    # The same layer stands at many places, with inputs of other shapes: parts are met in order.
    found = iter([tuning.part(part, at) for part, at in in_wiring_order(layer, shape)])
    return mapped(layer, lambda part: next(found))


def stages(layers: list[Bound]) -> list[int]:
    """Return the number of each layer's stage, from 0; -1 before the first matrix.

    A stage begins at a layer with a matrix, and takes the normalisations, activations and poolings
    after it.
    """
    number, found = -1, []
    for part in layers:
        number += has_matrix(part.weights)
        found.append(number)
    return found


@dataclass(frozen=True, eq=False)
class Division:
    """A network with its weights, cut into what stands still and what trains.

    Parameters
    ----------
    layers : list of Bound
        All of it, the head included.
    cut : int
        The first layer of the part that the training loop is given.
    network : Sequential
        That part, as it is trained.
    """

    layers: list[Bound]
    cut: int
    network: Sequential

    def given(self, fresh: Weights) -> tuple[Weights, Weights]:
        """Return the trained part's weights and statistics, new matrices from ``fresh``."""
        plain = joined(self.layers[self.cut :])
        return held(self.network, plain.weights, plain.statistics, fresh)

    def whole(self, weights: Weights, statistics: Weights) -> Bound:
        """Return the whole network with what was trained, as an ordinary one."""
        after = released(self.network, weights, statistics)
        parts = list(self.layers[: self.cut])
        for (name, _), part in zip(self.network.named(), self.layers[self.cut :], strict=True):
            own = (tree.get(name, {}) for tree in after)
            parts.append(Bound(part.layer, *own))
        return joined(parts)


def joined(parts: list[Bound]) -> Bound:
    """Return bound layers as one bound `Sequential`."""
    network = Sequential([part.layer for part in parts])
    named = list(zip(network.named(), parts, strict=True))
    weights = {name: part.weights for (name, _), part in named if part.weights}
    return Bound(network, weights, {n: p.statistics for (n, _), p in named if p.statistics})


def features(bound: Bound, X: Any) -> np.ndarray:
    """Return what a network makes of X, in prediction."""
    from lamina.training.loop import scores

    return scores(*folded(*bound), X)
