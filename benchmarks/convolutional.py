"""The convolutional network in the words of every peer."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from benchmarks.initial import dense_stack, he
from benchmarks.perceptron import (
    dense,
    dense_multiplications,
    relu,
    torch_dense,
    torch_dense_weights,
)
from benchmarks.task import CLASSES, SEED, Shape, Weights

WINDOW, POOL = 3, 2


@dataclass(frozen=True)
class ConvNet:
    """Stages of convolution 3×3, relu and max pooling 2×2, then dense layers: a `Network`.

    Parameters
    ----------
    filters : tuple of int
        Channels of each stage; padding keeps the size of the image.
    hidden : tuple of int
        Units of the relu layers between the last stage and the 10 scores.
    """

    filters: tuple[int, ...] = (32, 64)
    hidden: tuple[int, ...] = (128,)
    linear = False

    def title(self, sample: Shape) -> str:
        """Return such as ``convolutions 32x32x3-c32-c64-128-10``."""
        stages = [f"c{filters}" for filters in self.filters]
        image = "x".join(map(str, sample))
        return "convolutions " + "-".join(map(str, (image, *stages, *self.hidden, CLASSES)))

    def _last_image(self, sample: Shape) -> Shape:
        """Return (h, w, c) after the last stage."""
        height, width = (size // POOL ** len(self.filters) for size in sample[:2])
        return height, width, self.filters[-1]

    def multiplications(self, sample: Shape) -> float:
        """Return those of one sample's forward pass."""
        height, width, channels = sample
        total = dense_multiplications(prod(self._last_image(sample)), *self.hidden, CLASSES)
        for filters in self.filters:
            total += height * width * WINDOW**2 * channels * filters
            height, width, channels = height // POOL, width // POOL, filters
        return total

    def initial(self, sample: Shape) -> Weights:
        """Return Lamina's draws, filters (i, j, c, k)."""
        rng = np.random.default_rng(SEED)
        weights: Weights = []
        channels = sample[-1]
        for filters in self.filters:
            W = he(rng, (WINDOW, WINDOW, channels, filters))
            weights.append((W, np.zeros(filters, np.float32)))
            channels = filters
        return weights + dense_stack(rng, prod(self._last_image(sample)), self.hidden)

    def lamina(self, **settings: Any) -> Any:
        """Return the estimator."""
        from lamina import NetworkClassifier
        from lamina.layers import Conv2D, Dense, Flatten, MaxPool2D, Sequential

        layers: list[Any] = []
        for filters in self.filters:
            layers += [Conv2D(filters, WINDOW, activation="relu"), MaxPool2D(POOL)]
        layers += [Flatten(), *(Dense(units, "relu") for units in self.hidden), Dense(CLASSES)]
        return NetworkClassifier(network=Sequential(layers), **settings)

    def lamina_weights(self, model: Any) -> Weights:
        """Return ``[(W, b), …]``."""
        names = [f"conv_{i}" for i in range(len(self.filters))]
        names += [f"dense_{i}" for i in range(len(self.hidden) + 1)]
        return [(model.weights_[name]["W"], model.weights_[name]["b"]) for name in names]

    def torch(self, weights: Weights, sample: Shape) -> Any:
        """Return the module, which flattens channels first."""
        import torch

        nn = torch.nn
        layers: list[Any] = []
        stages = len(self.filters)
        for W, b in weights[:stages]:
            channels, filters = W.shape[-2:]
            layer: Any = nn.utils.skip_init(
                nn.Conv2d, channels, filters, WINDOW, padding=WINDOW // 2
            )
            layer.weight.data.copy_(torch.from_numpy(W.transpose(3, 2, 0, 1)))
            layer.bias.data.copy_(torch.from_numpy(b))
            layers += [layer, nn.ReLU(), nn.MaxPool2d(POOL)]
        (W, b), *rest = weights[stages:]
        flat = W.reshape(*self._last_image(sample), -1).transpose(2, 0, 1, 3).reshape(W.shape)
        return nn.Sequential(*layers, nn.Flatten(), *torch_dense([(flat, b), *rest]))

    def torch_inputs(self, X: np.ndarray) -> Any:
        """Return images (n, c, h, w), as a view."""
        import torch

        return torch.from_numpy(X).permute(0, 3, 1, 2)

    def torch_weights(self, module: Any, sample: Shape) -> Weights:
        """Return ``[(W, b), …]`` in Lamina's order of axes."""
        cut = 3 * len(self.filters)
        stages: Weights = [
            (x.weight.detach().numpy().transpose(2, 3, 1, 0), x.bias.detach().numpy())
            for x in module[:cut:3]
        ]
        (W, b), *rest = torch_dense_weights(module[cut + 1 :])
        height, width, channels = self._last_image(sample)
        W = W.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(W.shape)
        return [*stages, (W, b), *rest]

    def jax(self, weights: Any, X: Any) -> Any:
        """Return scores, as a JAX program."""
        import jax
        from jax import lax

        axes, pool = ("NHWC", "HWIO", "NHWC"), (1, POOL, POOL, 1)
        A = X
        for W, b in weights[: len(self.filters)]:
            Z = lax.conv_general_dilated(A, W, (1, 1), "SAME", dimension_numbers=axes) + b
            A = lax.reduce_window(jax.nn.relu(Z), -np.inf, lax.max, pool, pool, "VALID")
        return dense(weights[len(self.filters) :], A.reshape(len(A), -1), jax.nn.relu)

    def scores(self, weights: Weights, X: np.ndarray) -> np.ndarray:
        """Return scores by NumPy."""
        A = X
        for W, b in weights[: len(self.filters)]:
            A = relu(pooled(convolved(A, W) + b))
        return dense(weights[len(self.filters) :], A.reshape(len(A), -1), relu)


def convolved(X: np.ndarray, W: np.ndarray, stride: int = 1) -> np.ndarray:
    """Return ``X ∗ W`` (n, h', w', k), zeros around the images: X (n, h, w, c), W (i, i, c, k)."""
    edge = (len(W) // 2, len(W) // 2)
    padded = np.pad(X, ((0, 0), edge, edge, (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, W.shape[:2], axis=(1, 2))
    return np.tensordot(patches[:, ::stride, ::stride], W.transpose(2, 0, 1, 3), 3)


def pooled(X: np.ndarray) -> np.ndarray:
    """Return the maxima of windows 2×2, which must divide the image."""
    n, height, width, channels = X.shape
    split = X.reshape(n, height // POOL, POOL, width // POOL, POOL, channels)
    return split.max(axis=(2, 4))
