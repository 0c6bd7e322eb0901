"""A known architecture as a value: its stages, what an image must be, and its names in PyTorch.

The network is `Sequential`: stages (the parts that fine-tuning tells apart), then the mean over
the image, then the scores. PyTorch's names are a list of modules in the order in which the layers
with weights stand in the network, one list for each library whose files are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lamina.layers.composite import Composite
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.pooling import GlobalAveragePool
from lamina.layers.resize import Resize
from lamina.layers.sequential import Sequential

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's channels, for pixels from 0 to 1."""


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image, pixels from 0 to 1, before the first layer sees it.

    Parameters
    ----------
    size : tuple (h, w)
        What it is resized to.
    crop : float, optional
        The share of it that is seen, in its middle; see `Resize`.
    mean, scale : tuple of float
        ``(X - mean) / scale`` by channel.
    interpolation : {"bilinear", "bicubic"}
        How it is resized.
    """

    size: tuple[int, int] = (224, 224)
    crop: float | None = 0.875
    mean: tuple[float, ...] = IMAGENET[0]
    scale: tuple[float, ...] = IMAGENET[1]
    interpolation: str = "bilinear"

    @property
    def resize(self) -> Resize:
        """The layer that resizes."""
        return Resize(self.size, self.crop, self.interpolation, len(self.mean))

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return images (n, h, w, c), uint8 or from 0 to 1, as the network takes them."""
        X = np.asarray(X)
        X = np.divide(X, 255, dtype=np.float32) if X.dtype == np.uint8 else X.astype(np.float32)
        R, C = self.resize.matrices((X.shape[1], X.shape[2]))
        if R is not None:
            X = np.moveaxis(np.tensordot(R, X, ((1,), (1,))), 0, 1)
        if C is not None:
            X = np.moveaxis(np.tensordot(C, X, ((1,), (2,))), 0, 2)
        mean, scale = (np.array([[[v]]], np.float32) for v in (self.mean, self.scale))
        return (X - mean) / scale


@dataclass(frozen=True)
class Architecture:
    """A network whose weights others have trained.

    Parameters
    ----------
    name : str
        As in ``lamina.models``.
    stages : tuple of Layer
        From the image to its feature map.
    names : mapping of str to tuple of str
        By library: the modules with weights, from first to last, the scores' the last.
    preprocessing : Preprocessing
        What the pretrained weights expect of an image.
    outputs : int
        How many scores it ends in.
    """

    name: str
    stages: tuple[Layer, ...]
    names: Mapping[str, tuple[str, ...]]
    preprocessing: Preprocessing
    outputs: int = 1000

    @cached_property
    def network(self) -> Sequential:
        """From standardised images (n, h, w, 3) to scores."""
        return Sequential([*self.stages, GlobalAveragePool(), Dense(self.outputs)])

    def input_shape(self) -> Shape:
        """Return the shape of an image, (h, w, 3)."""
        return (*self.preprocessing.size, 3)

    def from_torch(self, arrays: Mapping[str, np.ndarray]) -> tuple[Weights, Weights]:
        """Return weights and statistics from PyTorch's arrays by name; see `torch_names`."""
        from lamina.models.torch_names import from_torch

        return from_torch(self, arrays)

    def to_torch(
        self, weights: Weights, statistics: Weights, library: str = "torchvision"
    ) -> dict[str, np.ndarray]:
        """Return a state dict that the library's own model loads strictly."""
        from lamina.models.torch_names import to_torch

        return to_torch(self, weights, statistics, library)


def in_wiring_order(layer: Layer, shape: Shape) -> Iterator[tuple[Layer, Shape]]:
    """Yield all parts that have no parts themselves, and their input's shape, in order."""
    if not isinstance(layer, Composite):
        yield layer, shape
        return
    for _, part, part_shape in layer.wired(shape):
        yield from in_wiring_order(part, part_shape)


def leaves(layer: Layer, shape: Shape, path: str = "") -> Iterator[tuple[str, Layer, Shape]]:
    """Yield path, layer and its input's shape for all layers with weights, in order."""
    if isinstance(layer, Composite):
        for name, part, part_shape in layer.wired(shape):
            yield from leaves(part, part_shape, f"{path}/{name}" if path else name)
    elif any(layer.weight_shapes(shape)):
        yield path, layer, shape


def at(tree: Weights, path: str) -> Any:
    """Return what lies at a path, ``{}`` for nothing."""
    for name in path.split("/"):
        tree = tree.get(name, {})
    return tree


def put(tree: Weights, path: str, leaf: Weights) -> None:
    """Put arrays at a path."""
    *folders, last = path.split("/")
    for name in folders:
        tree = tree.setdefault(name, {})
    tree[last] = leaf


def has_matrix(weights: Weights) -> bool:
    """Tell whether there is a matrix among a layer's weights, its parts' included."""
    parts = weights.values()
    return any(has_matrix(W) if isinstance(W, dict) else W.ndim > 1 for W in parts)


Maker = Callable[..., Architecture]
