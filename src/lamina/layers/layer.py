"""What a layer is: shapes, initial weights, and one map from a batch to a batch.

A layer is a frozen dataclass of hyper-parameters and never holds an array. Its weights and its
running statistics are plain dicts of arrays that the caller keeps and passes in. So a layer hashes,
compares by value, and the same layer always compiles to the same program.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from lamina.functions.penalties import Penalty

if TYPE_CHECKING:
    from jaxtyping import Array, Float

Shape = tuple[int, ...]
Weights = dict[str, Any]
"""Arrays by name, nested as the layers are: ``{"dense_0": {"W": …, "b": …}}``."""


def by_path(tree: Weights, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of every array in nested weights: ``("dense_0/W", W)``."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from by_path(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def in_order(tree: Weights, template: Weights) -> Weights:
    """Return nested arrays in the template's order: JAX hands dicts back sorted by name."""
    return {
        name: in_order(tree[name], part) if isinstance(part, dict) else tree[name]
        for name, part in template.items()
    }


class Context(NamedTuple):
    """On what terms a batch goes through a network.

    Parameters
    ----------
    train : bool
        Whether this is a training step; dropout and normalisation differ.
    key : random key, optional
        The source of random numbers in training, for layers that are `random`.
    weight : array of shape (n,), optional
        How much each row counts, zero for padding; None is one each. Only layers that mix rows,
        such as batch normalisation, look at it.
    """

    train: bool = False
    key: Array | None = None
    weight: Array | None = None

    def split(self, parts: int) -> list[Context]:
        """Return one context for each part of a network, with a key of its own."""
        if self.key is None:
            return [self] * parts
        import jax

        return [self._replace(key=key) for key in jax.random.split(self.key, parts)]


PREDICTING = Context()
"""The context of inference."""


@dataclass(frozen=True)
class Layer(ABC):
    """A map ``X -> A`` with its shapes and initial weights."""

    kind: ClassVar[str]
    """What the layer is called in a path, with a number after it: ``dense`` in ``dense_0/W``."""

    @property
    def random(self) -> bool:
        """Whether training draws random numbers, and so needs a key."""
        return False

    @property
    def convolves(self) -> bool:
        """Whether it calls XLA's convolution, which on a CPU is slow inside a loop."""
        return False

    def widest(self, input_shape: Shape) -> int:
        """Return how many numbers a sample takes where it takes the most."""
        return max(math.prod(input_shape), math.prod(self.output_shape(input_shape, self.kind)))

    @abstractmethod
    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return one sample's shape after this layer.

        Parameters
        ----------
        input_shape : tuple of int
            One sample's shape, without the batch axis.
        name : str
            The layer's path, for the error.

        Raises
        ------
        InputError
            If the layer cannot take samples of this shape.
        """

    def weight_shapes(self, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return the shapes of what `initialize` makes, and allocate nothing."""
        return {}, {}

    def initialize(self, rng: np.random.Generator, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return initial weights and running statistics (NumPy, float32); most layers have none."""
        return {}, {}

    @abstractmethod
    def apply(
        self,
        weights: Weights,
        statistics: Weights,
        X: Float[Array, "n ..."],
        context: Context,
    ) -> tuple[Float[Array, "n ..."], Weights]:
        """Return the output and the running statistics after this batch.

        Parameters
        ----------
        weights, statistics : dict
            As `initialize` made them.
        X : array of shape (n, *input_shape)
            A batch.
        context : Context
            Whether this is training, with which random key, and which rows are padding.
        """

    def fused(self, following: Layer) -> Layer | None:
        """Return one layer that does what this and the next do, with this one's weights.

        None where no kernel covers both.
        """
        return None

    def penalties(self, weights: Weights, default: Penalty) -> Weights:
        """Return each weight's `Penalty`: the layer's own or ``default`` for matrices ``W…``."""
        own = getattr(self, "penalty", None)
        chosen = default if own is None else own
        return {name: chosen if name.startswith("W") else Penalty() for name in weights}
