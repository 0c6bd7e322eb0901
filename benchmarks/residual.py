"""The residual network in the words of every peer: ResNet-18 for small images.

Source: He, Zhang, Ren and Sun 2016, Deep Residual Learning, sections 3.3 and 4.2; the widths and
the depth are those of its ImageNet network, the 3×3 stem without pooling that of its CIFAR one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.convolutional import convolved
from benchmarks.initial import dense_stack, he
from benchmarks.perceptron import torch_dense
from benchmarks.task import CLASSES, SEED, Shape, Weights

EPSILON = 1e-5


class Unit(NamedTuple):
    """A convolution with the normalisation after it."""

    window: int
    channels: int
    filters: int
    stride: int


class Block(NamedTuple):
    """``relu(body(X) + shortcut(X))``; the identity where the shortcut is None."""

    first: Unit
    second: Unit
    shortcut: Unit | None

    def units(self) -> list[Unit]:
        """Return all, in the order of their weights."""
        return [unit for unit in self if unit is not None]


@dataclass(frozen=True)
class ResidualNet:
    """A stem, stages of residual blocks, global average pooling and scores: a `Network`.

    Parameters
    ----------
    stages : tuple of int
        Channels of each stage; from the second on a stage halves the image.
    blocks : int
        Blocks of each.
    """

    stages: tuple[int, ...] = (64, 128, 256, 512)
    blocks: int = 2
    linear = False

    def title(self, sample: Shape) -> str:
        """Return such as ``residual network of 18 layers, 32x32x3``."""
        depth = 2 + 2 * self.blocks * len(self.stages)
        return f"residual network of {depth} layers, {'x'.join(map(str, sample))}"

    def _stem(self, sample: Shape) -> Unit:
        return Unit(3, sample[-1], self.stages[0], 1)

    def _blocks(self) -> Iterator[Block]:
        before = self.stages[0]
        for number, filters in enumerate(self.stages):
            for block in range(self.blocks):
                stride = 2 if number and not block else 1
                first = Unit(3, before, filters, stride)
                same = stride == 1 and before == filters
                shortcut = None if same else Unit(1, before, filters, stride)
                yield Block(first, Unit(3, filters, filters, 1), shortcut)
                before = filters

    def _units(self, sample: Shape) -> list[Unit]:
        return [self._stem(sample), *(unit for block in self._blocks() for unit in block.units())]

    def multiplications(self, sample: Shape) -> float:
        """Return those of one sample's forward pass."""
        cells = sample[0] * sample[1]
        stem = self._stem(sample)
        total = cells * stem.window**2 * stem.channels * stem.filters
        for block in self._blocks():
            cells //= block.first.stride**2
            total += cells * sum(u.window**2 * u.channels * u.filters for u in block.units())
        return total + self.stages[-1] * CLASSES

    def initial(self, sample: Shape) -> Weights:
        """Return ``(W, gain, shift)`` of each unit by Lamina's draws, and ``(W, b)``."""
        rng = np.random.default_rng(SEED)
        weights: Weights = []
        for window, channels, filters, _ in self._units(sample):
            W = he(rng, (window, window, channels, filters))
            weights.append((W, np.ones(filters, np.float32), np.zeros(filters, np.float32)))
        return weights + dense_stack(rng, self.stages[-1], ())

    def lamina(self, **settings: Any) -> Any:
        """Return the estimator."""
        from lamina import NetworkClassifier
        from lamina.layers import (
            Activation,
            BatchNorm,
            Conv2D,
            Dense,
            GlobalAveragePool,
            Residual,
            Sequential,
        )

        def unit(of: Unit) -> list[Any]:
            pads = of.window // 2
            conv = Conv2D(of.filters, of.window, of.stride, pads, init="he", bias=False)
            return [conv, BatchNorm()]

        layers = [*unit(Unit(3, 0, self.stages[0], 1)), Activation("relu")]
        for block in self._blocks():
            body = Sequential([*unit(block.first), Activation("relu"), *unit(block.second)])
            shortcut = Sequential(unit(block.shortcut)) if block.shortcut else None
            layers += [Residual(body, shortcut), Activation("relu")]
        network = Sequential([*layers, GlobalAveragePool(), Dense(CLASSES)])
        return NetworkClassifier(network=network, **settings)

    def lamina_weights(self, model: Any) -> Weights:
        """Return ``[(W, gain, shift), …, (W, b)]``."""
        learned = model.weights_

        def unit(of: Any, number: int = 0) -> tuple[np.ndarray, ...]:
            norm = of[f"batch_norm_{number}"]
            return of[f"conv_{number}"]["W"], norm["gain"], norm["shift"]

        weights: Weights = [unit(learned)]
        for number, block in enumerate(self._blocks()):
            parts = learned[f"residual_{number}"]
            weights += [unit(parts["body"]), unit(parts["body"], 1)]
            weights += [unit(parts["shortcut"])] if block.shortcut else []
        return [*weights, (learned["dense_0"]["W"], learned["dense_0"]["b"])]

    def torch(self, weights: Weights, sample: Shape) -> Any:
        """Return the module."""
        import torch

        nn, units = torch.nn, iter(weights[:-1])

        def unit(of: Unit) -> list[Any]:
            W, gain, shift = next(units)
            sizes = of.channels, of.filters, of.window, of.stride, of.window // 2
            conv: Any = nn.utils.skip_init(nn.Conv2d, *sizes, bias=False)
            conv.weight.data.copy_(torch.from_numpy(W.transpose(3, 2, 0, 1)))
            norm = nn.BatchNorm2d(of.filters)
            norm.weight.data.copy_(torch.from_numpy(gain))
            norm.bias.data.copy_(torch.from_numpy(shift))
            return [conv, norm]

        class Added(nn.Module):
            def __init__(self, block: Block) -> None:
                super().__init__()
                first, second = unit(block.first), unit(block.second)
                self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *second)
                self.shortcut = nn.Sequential(*(unit(block.shortcut) if block.shortcut else []))
                self.relu = nn.ReLU(inplace=True)

            def forward(self, X: Any) -> Any:
                return self.relu(self.body(X) + self.shortcut(X))

        layers = [*unit(self._stem(sample)), nn.ReLU(inplace=True)]
        layers += [Added(block) for block in self._blocks()]
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, *pool, *torch_dense(weights[-1:]))

    def torch_inputs(self, X: np.ndarray) -> Any:
        """Return images (n, c, h, w), as a view."""
        import torch

        return torch.from_numpy(X).permute(0, 3, 1, 2)

    def torch_weights(self, module: Any, sample: Shape) -> Weights:
        """Return ``[(W, gain, shift), …, (W, b)]`` in Lamina's order of axes."""
        arrays = [parameter.detach().numpy() for parameter in module.parameters()]
        *units, W, b = arrays
        weights: Weights = [
            (units[i].transpose(2, 3, 1, 0), units[i + 1], units[i + 2])
            for i in range(0, len(units), 3)
        ]
        return [*weights, (W.T, b)]

    def jax(self, weights: Any, X: Any) -> Any:
        """Return scores, as a JAX program."""
        from jax import lax

        def convolve(X: Any, W: Any, stride: int) -> Any:
            edge, axes = len(W) // 2, ("NHWC", "HWIO", "NHWC")
            pads = [(edge, edge), (edge, edge)]
            return lax.conv_general_dilated(X, W, (stride, stride), pads, dimension_numbers=axes)

        return self._scores(weights, X, convolve)

    def scores(self, weights: Weights, X: np.ndarray) -> np.ndarray:
        """Return scores by NumPy, normalised as in training: over these images."""
        return self._scores(weights, X, convolved)

    def _scores(self, weights: Any, X: Any, convolve: Any) -> Any:
        units = iter(weights[:-1])

        def unit(X: Any, stride: int) -> Any:
            W, gain, shift = next(units)
            Y = convolve(X, W, stride)
            centred = Y - Y.mean((0, 1, 2))
            return centred * (gain / ((centred**2).mean((0, 1, 2)) + EPSILON) ** 0.5) + shift

        def relu(Y: Any) -> Any:
            return Y * (Y > 0)

        A = relu(unit(X, 1))
        for block in self._blocks():
            body = unit(relu(unit(A, block.first.stride)), 1)
            A = relu(body + (unit(A, block.shortcut.stride) if block.shortcut else A))
        W, b = weights[-1]
        return A.mean((1, 2)) @ W + b
