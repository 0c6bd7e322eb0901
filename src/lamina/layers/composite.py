"""What layers made of layers share: weights, statistics, penalties and keys by the parts' names."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.functions.penalties import Penalty
from lamina.layers.layer import Context, Layer, Shape, Weights


@dataclass(frozen=True)
class Composite(Layer):
    """A layer whose parts are layers; weights and statistics nest under the parts' names."""

    @abstractmethod
    def named(self) -> list[tuple[str, Layer]]:
        """Return ``(name, part)`` in order."""

    @abstractmethod
    def wired(self, input_shape: Shape) -> Iterable[tuple[str, Layer, Shape]]:
        """Return ``(name, part, shape of the samples that reach it)`` in order."""

    @property
    def random(self) -> bool:
        """Whether a part of it is."""
        return any(part.random for _, part in self.named())

    @property
    def convolves(self) -> bool:
        """Whether a part of it does."""
        return any(part.convolves for _, part in self.named())

    def widest(self, input_shape: Shape) -> int:
        """Return the most numbers that a sample takes in any part of it."""
        parts = (part.widest(shape) for _, part, shape in self.wired(input_shape))
        return max([math.prod(input_shape), *parts])

    def initialize(self, rng: np.random.Generator, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return weights and statistics by the parts' names; parts without any are left out."""
        return self._collected(input_shape, lambda part, shape: part.initialize(rng, shape))

    def weight_shapes(self, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return shapes by the parts' names, nested as `initialize` nests arrays."""
        return self._collected(input_shape, lambda part, shape: part.weight_shapes(shape))

    def _collected(self, input_shape: Shape, of: Callable[[Layer, Shape], tuple[Weights, Weights]]):
        weights: Weights = {}
        statistics: Weights = {}
        for name, part, shape in self.wired(input_shape):
            part_weights, part_statistics = of(part, shape)
            if part_weights:
                weights[name] = part_weights
            if part_statistics:
                statistics[name] = part_statistics
        return weights, statistics

    def bound(
        self, weights: Weights, statistics: Weights, context: Context
    ) -> Iterator[tuple[str, Callable[[Any], tuple[Any, Weights]]]]:
        """Yield each part's name and its map ``X -> (A, statistics)``, with a key of its own."""
        parts = self.named()
        for (name, part), own in zip(parts, context.split(len(parts)), strict=True):
            of_part = weights.get(name, {}), statistics.get(name, {})
            yield name, partial(part.apply, *of_part, context=own)

    def penalties(self, weights: Weights, default: Penalty) -> Weights:
        """Return a `Penalty` for each weight, nested like ``weights``."""
        return {
            name: part.penalties(weights[name], default)
            for name, part in self.named()
            if name in weights
        }


def check_layers(subject: str, example: str, parts: Iterable[object]) -> None:
    """Raise unless all ``parts`` are layers; the error shows ``example``."""
    for part in parts:
        if not isinstance(part, Layer):
            raise InputError(
                f"{subject} expected a list of layers, got {part!r} in it. Use {example}."
            )
