"""Layers whose matrices stand still: frozen ones, and ones that change by a matrix of low rank.

What does not train lies with the statistics, which a step passes on as they are. So it has no
gradient, no share in the gradient's norm, no penalty and no place in the optimiser's state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.layers.composite import Composite
from lamina.layers.layer import PREDICTING, Layer, Shape, Weights

HELD, KEPT, MASK = "weights", "statistics", "mask"
"""Where the wrapped layer's own arrays, and a mask on them, lie among the statistics."""


@dataclass(frozen=True)
class _Holding(Layer):
    """A layer around another, of the same name, that holds its arrays as statistics."""

    layer: Layer

    @property
    def kind(self) -> str:  # type: ignore
        """The other's, so that paths stay what they are."""
        return self.layer.kind

    @property
    def convolves(self) -> bool:
        """The other's."""
        return self.layer.convolves

    def widest(self, input_shape: Shape) -> int:
        """Return the other's."""
        return self.layer.widest(input_shape)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the other's."""
        return self.layer.output_shape(input_shape, name)

    def _holding(self, weights: Weights, statistics: Weights) -> Weights:
        return {HELD: weights, KEPT: statistics}

    def released(self, weights: Weights, statistics: Weights) -> tuple[Weights, Weights]:
        """Return the other's weights and statistics."""
        return statistics[HELD], statistics[KEPT]


@dataclass(frozen=True)
class Frozen(_Holding):
    """A layer that does not train.

    Parameters
    ----------
    layer : Layer
        Which; it sees training as prediction, without dropout and by running statistics.
    adapting : bool
        Whether its batch normalisation sees training as training: it takes the batch's mean and
        variance, and its running ones follow.
    """

    adapting: bool = False

    @property
    def random(self) -> bool:
        """Whether it still draws random numbers."""
        return self.adapting and self.layer.random

    def weight_shapes(self, input_shape: Shape):
        """Return no weights, and the layer's arrays among the statistics."""
        return {}, self._holding(*self.layer.weight_shapes(input_shape))

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return no weights, and the layer's initial arrays among the statistics."""
        return {}, self._holding(*self.layer.initialize(rng, input_shape))

    def apply(self, weights, statistics, X, context):
        """Return the layer's output."""
        terms = context if self.adapting else PREDICTING
        A, after = self.layer.apply(statistics[HELD], statistics[KEPT], X, terms)
        return A, statistics | {KEPT: after} if self.adapting else statistics


@dataclass(frozen=True)
class LowRank(_Holding):
    """A layer with ``W + (α / r) A B`` for its matrix W: A (m, r) and B (r, k) train, W does not.

    Filters W (i, j, c, k) are the matrix (i·j·c, k) of their columns. B starts at zero, so the
    network begins as it was; a bias stands still too.

    Source: Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, equation 3.

    Parameters
    ----------
    layer : Layer
        With a matrix ``W``: dense or convolutional.
    rank : int
        r.
    alpha : float
        α, the weight of the change; at α = r it counts in full.
    """

    rank: int = 8
    alpha: float = 8.0

    def weight_shapes(self, input_shape: Shape):
        """Return ``A`` (m, r) and ``B`` (r, k), and the layer's arrays among the statistics."""
        weights, statistics = self.layer.weight_shapes(input_shape)
        *rows, k = weights["W"]
        shapes = {"A": (math.prod(rows), self.rank), "B": (self.rank, k)}
        return shapes, self._holding(weights, statistics)

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return A normal with variance 1 / m and B zero, and the layer's arrays."""
        shapes, _ = self.weight_shapes(input_shape)
        A = rng.normal(0, shapes["A"][0] ** -0.5, shapes["A"]).astype(np.float32)
        own = {"A": A, "B": np.zeros(shapes["B"], np.float32)}
        return own, self._holding(*self.layer.initialize(rng, input_shape))

    def apply(self, weights, statistics, X, context):
        """Return the layer's output by the changed matrix."""
        held = statistics[HELD]
        W = jnp.asarray(held["W"], weights["A"].dtype)
        A, after = self.layer.apply(
            held | {"W": W + self._change(weights).reshape(W.shape)}, statistics[KEPT], X, context
        )
        return A, statistics | {KEPT: after}

    def fused(self, following: Layer) -> Layer | None:
        """Return one layer for this one and the next, where the layer itself does so."""
        both = self.layer.fused(following)
        return None if both is None else replace(self, layer=both)

    def _change(self, weights: Weights) -> Any:
        return (self.alpha / self.rank) * (weights["A"] @ weights["B"])

    def released(self, weights: Weights, statistics: Weights) -> tuple[Weights, Weights]:
        """Return the layer's arrays with the change added to ``W``."""
        held, kept = super().released(weights, statistics)
        change = self._change({name: np.asarray(M) for name, M in weights.items()})
        W = np.asarray(held["W"])
        return held | {"W": W + change.reshape(W.shape).astype(W.dtype)}, kept


@dataclass(frozen=True)
class Masked(_Holding):
    """A layer that trains but for the entries of its matrices where a mask is zero: so are they.

    The masks lie among the statistics, one for each matrix, nested as the weights are.
    """

    @property
    def random(self) -> bool:
        """The other's."""
        return self.layer.random

    def weight_shapes(self, input_shape: Shape):
        """Return the layer's weights, and masks of their matrices among the statistics."""
        weights, statistics = self.layer.weight_shapes(input_shape)
        return weights, {MASK: _of_matrices(weights), KEPT: statistics}

    def apply(self, weights, statistics, X, context):
        """Return the layer's output by the masked matrices."""
        own = masked(weights, statistics[MASK])
        A, after = self.layer.apply(own, statistics[KEPT], X, context)
        return A, statistics | {KEPT: after}

    def fused(self, following: Layer) -> Layer | None:
        """Return one layer for this one and the next, where the layer itself does so."""
        both = self.layer.fused(following)
        return None if both is None else replace(self, layer=both)

    def penalties(self, weights: Weights, default: Any) -> Weights:
        """Return the other's."""
        return self.layer.penalties(weights, default)

    def released(self, weights: Weights, statistics: Weights) -> tuple[Weights, Weights]:
        """Return the layer's arrays, zero where masked."""
        return masked(weights, statistics[MASK]), statistics[KEPT]


def _of_matrices(shapes: Weights) -> Weights:
    own = {n: _of_matrices(s) if isinstance(s, dict) else s for n, s in shapes.items()}
    return {name: shape for name, shape in own.items() if len(shape) > 1 or isinstance(shape, dict)}


def masked(weights: Weights, masks: Weights) -> Weights:
    """Return weights that are zero where a mask is."""
    return weights | {
        name: masked(weights[name], mask) if isinstance(mask, dict) else weights[name] * mask
        for name, mask in masks.items()
    }


def mapped(layer: Layer, change: Callable[[Layer], Layer]) -> Layer:
    """Return a layer with ``change`` made to each of its parts that is not itself composed."""
    if not isinstance(layer, Composite):
        return change(layer)
    parts: dict[str, Any] = {}
    for field in fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, Layer):
            parts[field.name] = mapped(value, change)
        elif isinstance(value, tuple) and value and isinstance(value[0], Layer):
            parts[field.name] = tuple(mapped(part, change) for part in value)
    return replace(layer, **parts)


def held(
    network: Layer, weights: Weights, statistics: Weights, fresh: Weights
) -> tuple[Weights, Weights]:
    """Return weights and statistics of ``network``, which holds some of the plain ones given.

    Parameters
    ----------
    network : Layer
        With `Frozen` and `LowRank` layers in it.
    weights, statistics : nested dict
        Of the network without those.
    fresh : nested dict
        Initial weights of ``network``, for the matrices that are new.
    """
    if isinstance(network, LowRank):
        return fresh, network._holding(weights, statistics)
    if isinstance(network, Frozen):
        return {}, network._holding(weights, statistics)
    if not isinstance(network, Composite):
        return weights, statistics
    return _by_part(
        network,
        lambda name, part: held(
            part, weights.get(name, {}), statistics.get(name, {}), fresh.get(name, {})
        ),
    )


def released(network: Layer, weights: Weights, statistics: Weights) -> tuple[Weights, Weights]:
    """Return the plain weights and statistics again: `held` undone, changes added in."""
    if isinstance(network, _Holding):
        return network.released(weights, statistics)
    if not isinstance(network, Composite):
        return weights, statistics
    return _by_part(
        network,
        lambda name, part: released(part, weights.get(name, {}), statistics.get(name, {})),
    )


def _by_part(
    network: Composite, of: Callable[[str, Layer], tuple[Weights, Weights]]
) -> tuple[Weights, Weights]:
    """Return what ``of`` finds for each part, by name, without what is empty."""
    weights: Weights = {}
    statistics: Weights = {}
    for name, part in network.named():
        found = of(name, part)
        weights |= {name: found[0]} if found[0] else {}
        statistics |= {name: found[1]} if found[1] else {}
    return weights, statistics
