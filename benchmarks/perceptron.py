"""The dense network in the words of every peer, and the dense layers that end the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.initial import dense_stack
from benchmarks.task import CLASSES, SEED, Shape, Weights

relu = partial(np.maximum, np.float32(0))


def dense(weights: Sequence[Any], X: Any, relu: Callable[[Any], Any]) -> Any:
    """Return ``relu(… relu(X W + b) …) W + b``, in NumPy or JAX."""
    *hidden, (W, b) = weights
    A = X
    for V, c in hidden:
        A = relu(A @ V + c)
    return A @ W + b


def dense_multiplications(*widths: int) -> float:
    """Return those of dense layers between these widths, for one sample."""
    return sum(a * b for a, b in pairwise(widths))


def torch_dense(weights: Weights) -> list[Any]:
    """Return linear modules with relu between them."""
    import torch

    layers: list[Any] = []
    for W, b in weights:
        layer: Any = torch.nn.utils.skip_init(torch.nn.Linear, *W.shape)
        layer.weight.data.copy_(torch.from_numpy(W.T))
        layer.bias.data.copy_(torch.from_numpy(b))
        layers += [layer, torch.nn.ReLU()]
    return layers[:-1]


def torch_dense_weights(modules: Any) -> Weights:
    """Return what `torch_dense` was given, trained."""
    return [(x.weight.detach().numpy().T, x.bias.detach().numpy()) for x in modules[::2]]


@dataclass(frozen=True)
class Perceptron:
    """Relu layers and scores: a `Network` on rows of numbers.

    Parameters
    ----------
    hidden : tuple of int
        Units of the relu layers before the 10 scores.
    """

    hidden: tuple[int, ...]

    @property
    def linear(self) -> bool:
        """Whether there is no hidden layer."""
        return not self.hidden

    def title(self, sample: Shape) -> str:
        """Return such as ``MLP 784-256-128-10``."""
        widths = "-".join(map(str, (*sample, *self.hidden, CLASSES)))
        return f"{'linear' if self.linear else 'MLP'} {widths}"

    def multiplications(self, sample: Shape) -> float:
        """Return those of one sample's forward pass."""
        return dense_multiplications(*sample, *self.hidden, CLASSES)

    def initial(self, sample: Shape) -> Weights:
        """Return Lamina's draws; zeros if linear."""
        if self.linear:
            return [(np.zeros((*sample, CLASSES), np.float32), np.zeros(CLASSES, np.float32))]
        return dense_stack(np.random.default_rng(SEED), sample[0], self.hidden)

    def lamina(self, **settings: Any) -> Any:
        """Return the estimator."""
        from lamina import LinearClassifier, MLPClassifier

        if self.linear:
            return LinearClassifier(**settings)
        return MLPClassifier(hidden=self.hidden, **settings)

    def lamina_weights(self, model: Any) -> Weights:
        """Return ``[(W, b), …]``."""
        layers = [model.weights_[f"dense_{i}"] for i in range(len(self.hidden) + 1)]
        return [(layer["W"], layer["b"]) for layer in layers]

    def torch(self, weights: Weights, sample: Shape) -> Any:
        """Return the module."""
        import torch

        return torch.nn.Sequential(*torch_dense(weights))

    def torch_inputs(self, X: np.ndarray) -> Any:
        """Return ``X`` as a tensor."""
        import torch

        return torch.from_numpy(X)

    def torch_weights(self, module: Any, sample: Shape) -> Weights:
        """Return ``[(W, b), …]``."""
        return torch_dense_weights(module)

    def jax(self, weights: Any, X: Any) -> Any:
        """Return scores, as a JAX program."""
        import jax

        return dense(weights, X, jax.nn.relu)

    def scores(self, weights: Weights, X: np.ndarray) -> np.ndarray:
        """Return scores by NumPy."""
        return dense(weights, X, relu)
