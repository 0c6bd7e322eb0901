"""A backbone: a trained network without its scores, and what an image must be for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lamina.errors import InputError
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.normalization import Standardize
from lamina.layers.pointwise import Dropout
from lamina.layers.pooling import GlobalAveragePool
from lamina.layers.sequential import Sequential
from lamina.models.architecture import Architecture, Preprocessing, has_matrix
from lamina.models.folding import Bound


@dataclass(frozen=True, eq=False)
class Backbone:
    """A trained network and its weights, to train on from.

    Parameters
    ----------
    name : str
        What it is called.
    network : Sequential
        From samples to features.
    weights, statistics : nested dict of arrays
        The network's, by path.
    input_shape : tuple of int
        One sample's shape, as it was trained on.
    preprocessing : Preprocessing, optional
        What is done to an image first; None where the network takes samples as they are.
    """

    name: str
    network: Sequential
    weights: Weights
    statistics: Weights
    input_shape: Shape
    preprocessing: Preprocessing | None = None

    def __repr__(self) -> str:
        """Return its name and shape."""
        return f"Backbone({self.name!r}, input_shape={self.input_shape})"

    def shaped(self, X: np.ndarray) -> np.ndarray:
        """Return rows or images as arrays of the rank that the network takes."""
        if self.preprocessing is None:
            if math.prod(X.shape[1:]) == math.prod(self.input_shape):
                return X.reshape(len(X), *self.input_shape)
            if X.ndim == len(self.input_shape) + 1:
                return X  # a network of convolutions may take another size: `check` tells
            raise InputError(
                f"{self.name} expected samples of shape {self.input_shape}, got {X.shape[1:]}. "
                "Resize or reshape them."
            )
        X = X[..., None] if X.ndim == 3 else X
        if X.ndim != 4:
            raise InputError(
                f"{self.name} expected images (n, h, w, c), got shape {X.shape}. Reshape them: "
                "X.reshape(-1, h, w, c)."
            )
        return X

    def layers(self, input_shape: Shape) -> list[Bound]:
        """Return what comes before the scores, layer by layer, for samples of this shape.

        Raises
        ------
        InputError
            If the weights are not those of a network for samples of this shape.
        """
        found: list[Bound] = []
        if self.preprocessing is not None:
            told = {"mean": self.preprocessing.mean, "scale": self.preprocessing.scale}
            channels = {name: np.array(numbers, np.float32) for name, numbers in told.items()}
            found.append(Bound(self.preprocessing.resize, {}, {}))
            found.append(Bound(Standardize(), {}, channels))
        for name, layer in self.network.named():
            parts = (tree.get(name, {}) for tree in (self.weights, self.statistics))
            found.append(Bound(layer, *parts))
        self._check(found, input_shape)
        made = Sequential([part.layer for part in found]).output_shape(input_shape)
        if len(made) > 1:
            found.append(Bound(GlobalAveragePool(), {}, {}))
        return found

    def _check(self, found: list[Bound], shape: Shape) -> None:
        for part in found:
            wanted = part.layer.weight_shapes(shape)
            given = _shapes(part.weights), _shapes(part.statistics)
            if wanted != given:
                raise InputError(
                    f"{self.name} expected samples of shape {self.input_shape}, as it was trained "
                    f"on, got {shape} before its layer {part.layer.kind}. Resize them."
                )
            shape = part.layer.output_shape(shape, part.layer.kind)


def _shapes(tree: Weights) -> Weights:
    return {k: _shapes(v) if isinstance(v, dict) else v.shape for k, v in tree.items()}


def of_architecture(
    architecture: Architecture, weights: Weights, statistics: Weights, drop: int = 1
) -> Backbone:
    """Return a known architecture with its weights as a backbone, without its scores."""
    network, weights, statistics = without_last(architecture.network, weights, statistics, drop)
    shape, preprocessing = architecture.input_shape(), architecture.preprocessing
    return Backbone(architecture.name, network, weights, statistics, shape, preprocessing)


def without_last(
    network: Layer, weights: Weights, statistics: Weights, drop: int
) -> tuple[Sequential, Weights, Weights]:
    """Return a network without its last ``drop`` layers that have weights, and dropout before."""
    if not isinstance(network, Sequential):
        raise InputError(
            f"A backbone expected a Sequential network, got {type(network).__name__}. Put it into "
            "Sequential([…, Dense(K)])."
        )
    layers = network.named()
    for _ in range(drop):
        while layers and not has_matrix(weights.get(layers[-1][0], {})):
            layers.pop()
        if len(layers) < 2:
            raise InputError(
                f"drop expected to leave layers with weights, got {drop} of {len(weights)}. Drop "
                "fewer."
            )
        layers.pop()
    while layers and isinstance(layers[-1][1], Dropout):
        layers.pop()
    kept = {name for name, _ in layers}
    weights = {name: part for name, part in weights.items() if name in kept}
    statistics = {name: part for name, part in statistics.items() if name in kept}
    return Sequential([layer for _, layer in layers]), weights, statistics
