"""Layers one after another: a network as the product of its maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lamina.errors import InputError
from lamina.functions.penalties import Penalty
from lamina.layers.layer import PREDICTING, Layer, Shape, Weights


@dataclass(frozen=True)
class Sequential(Layer):
    """``A = f_L(… f_2(f_1(X)))``.

    Layers are named by kind and number in order: ``dense_0``, ``dropout_0``, ``dense_1``; weights
    are found under those names.

    Parameters
    ----------
    layers : sequence of Layer
        From first to last; stored as a tuple.

    Examples
    --------
    >>> from lamina.layers import Dense, Sequential
    >>> network = Sequential([Dense(4, "relu"), Dense(3)])
    >>> network.output_shape((8,))
    (3,)
    """

    layers: Sequence[Layer]
    kind: ClassVar[str] = "sequential"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise InputError(
                    f"Sequential expected a list of layers, got {layer!r} in it. "
                    "Use Sequential([Dense(64, 'relu'), Dense(10)])."
                )

    @property
    def random(self) -> bool:
        """Whether a layer in it is."""
        return any(layer.random for layer in self.layers)

    def named(self) -> list[tuple[str, Layer]]:
        """Return ``(name, layer)`` from first to last."""
        seen: Counter[str] = Counter()
        pairs = []
        for layer in self.layers:
            pairs.append((f"{layer.kind}_{seen[layer.kind]}", layer))
            seen[layer.kind] += 1
        return pairs

    def output_shape(self, input_shape: Shape, name: str = "") -> Shape:
        """Return one sample's shape after the last layer."""
        shape = input_shape
        for key, layer in self.named():
            shape = layer.output_shape(shape, f"{name}/{key}" if name else key)
        return shape

    def initialize(self, rng: np.random.Generator, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return weights and statistics by layer name; layers without any are left out."""
        return self._collected(input_shape, lambda layer, shape: layer.initialize(rng, shape))

    def weight_shapes(self, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return shapes by layer name, nested as `initialize` nests arrays."""
        return self._collected(input_shape, lambda layer, shape: layer.weight_shapes(shape))

    def _collected(self, input_shape: Shape, of: Callable[[Layer, Shape], tuple[Weights, Weights]]):
        weights: Weights = {}
        statistics: Weights = {}
        shape = input_shape
        for name, layer in self.named():
            layer_weights, layer_statistics = of(layer, shape)
            if layer_weights:
                weights[name] = layer_weights
            if layer_statistics:
                statistics[name] = layer_statistics
            shape = layer.output_shape(shape, name)
        return weights, statistics

    def apply(self, weights, statistics, X, context):
        """Return the last layer's output."""
        A, after = X, dict(statistics)
        for name, output, layer_statistics in self.walk(weights, statistics, X, context):
            A = output
            if name in after:
                after[name] = layer_statistics
        return A, after

    def walk(
        self, weights, statistics, X, context=PREDICTING
    ) -> Iterator[tuple[str, Any, Weights]]:
        """Yield each layer's name, output and statistics, from first to last."""
        contexts = context.split(len(self.layers))
        for (name, layer), own in zip(self.named(), contexts, strict=True):
            X, layer_statistics = layer.apply(
                weights.get(name, {}), statistics.get(name, {}), X, own
            )
            yield name, X, layer_statistics

    def penalties(self, weights: Weights, default: Penalty) -> Weights:
        """Return a `Penalty` for each weight, nested like ``weights``."""
        return {
            name: layer.penalties(weights[name], default)
            for name, layer in self.named()
            if name in weights
        }
