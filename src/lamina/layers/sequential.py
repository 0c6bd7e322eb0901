"""Layers one after another: a network as the product of its maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lamina.layers.composite import Composite, check_layers
from lamina.layers.layer import PREDICTING, Context, Layer, Shape, Weights


@dataclass(frozen=True)
class Sequential(Composite):
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
        check_layers("Sequential", "Sequential([Dense(64, 'relu'), Dense(10)])", self.layers)

    def named(self) -> list[tuple[str, Layer]]:
        """Return ``(name, layer)`` from first to last."""
        seen: Counter[str] = Counter()
        pairs = []
        for layer in self.layers:
            pairs.append((f"{layer.kind}_{seen[layer.kind]}", layer))
            seen[layer.kind] += 1
        return pairs

    def wired(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        """Yield each layer's name, itself and the shape that the layer before it makes."""
        shape = input_shape
        for name, layer in self.named():
            yield name, layer, shape
            shape = layer.output_shape(shape, name)

    def output_shape(self, input_shape: Shape, name: str = "") -> Shape:
        """Return one sample's shape after the last layer."""
        shape = input_shape
        for key, layer in self.named():
            shape = layer.output_shape(shape, f"{name}/{key}" if name else key)
        return shape

    def apply(self, weights, statistics, X, context):
        """Return the last layer's output."""
        after = dict(statistics)
        for name, layer, own in self._fused(context):
            X, layer_statistics = layer.apply(
                weights.get(name, {}), statistics.get(name, {}), X, own
            )
            if name in after:
                after[name] = layer_statistics
        return X, after

    def _fused(self, context: Context) -> Iterator[tuple[str, Layer, Context]]:
        """Yield what one kernel call covers: name, layer, context; layers fused where they can."""
        contexts = context.split(len(self.layers))
        parts = list(zip(self.named(), contexts, strict=True))
        while parts:
            (name, layer), own = parts.pop(0)
            while parts and (both := layer.fused(parts[0][0][1])) is not None:
                layer = both
                parts.pop(0)
            yield name, layer, own

    def walk(
        self, weights, statistics, X, context=PREDICTING
    ) -> Iterator[tuple[str, Any, Weights]]:
        """Yield each layer's name, output and statistics, from first to last."""
        for name, layer in self.bound(weights, statistics, context):
            X, layer_statistics = layer(X)
            yield name, X, layer_statistics
