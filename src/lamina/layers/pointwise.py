"""Layers without weights: an activation on its own, dropout, and other shapes for a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from lamina.errors import InputError, check_choice, check_number
from lamina.functions.activations import ACTIVATIONS
from lamina.kernels.activation import activate
from lamina.layers.layer import Layer, Shape


@dataclass(frozen=True)
class Activation(Layer):
    """``A = σ(X)``; after a layer that is linear by itself.

    Parameters
    ----------
    function : str
        σ, a key of `lamina.functions.activations.ACTIVATIONS`.
    """

    function: str
    kind: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        check_choice("activation", self.function, ACTIVATIONS)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the input's shape."""
        return input_shape

    def apply(self, weights, statistics, X, context):
        """Return ``σ(X)``."""
        return activate(X, self.function), statistics


@dataclass(frozen=True)
class Dropout(Layer):
    """In training ``A = X ∘ M / (1 - p)`` with ``M`` zero with probability p; otherwise ``A = X``.

    Source: Srivastava et al. 2014, in the inverted form, which leaves prediction untouched.

    Parameters
    ----------
    rate : float in [0, 1)
        p, the share of entries dropped.
    """

    rate: float
    kind: ClassVar[str] = "dropout"

    def __post_init__(self) -> None:
        check_number("dropout rate", self.rate, at_least=0, below=1)

    @property
    def random(self) -> bool:
        """Whether anything is dropped."""
        return self.rate > 0

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the input's shape."""
        return input_shape

    def apply(self, weights, statistics, X, context):
        """Return ``X`` with entries dropped, in training."""
        return _dropped(X, self.rate, context, X.shape), statistics


@dataclass(frozen=True)
class SpatialDropout(Layer):
    """Dropout of whole channels: ``M`` is one number for each sample and channel.

    Neighbouring cells of a feature map tell much the same, so a cell dropped alone is not missed.

    Source: Tompson et al. 2015, Efficient Object Localization Using Convolutional Networks,
    section 3.2.

    Parameters
    ----------
    rate : float in [0, 1)
        p, the share of channels dropped.
    """

    rate: float
    kind: ClassVar[str] = "spatial_dropout"

    def __post_init__(self) -> None:
        check_number("spatial dropout rate", self.rate, at_least=0, below=1)

    @property
    def random(self) -> bool:
        """Whether anything is dropped."""
        return self.rate > 0

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the input's shape."""
        return input_shape

    def apply(self, weights, statistics, X, context):
        """Return ``X`` (n, ..., c) with channels dropped, in training."""
        channels = (X.shape[0], *[1] * (X.ndim - 2), X.shape[-1])
        return _dropped(X, self.rate, context, channels), statistics


def _dropped(X, rate, context, shape):
    """Return ``X ∘ M / (1 - rate)`` with M drawn in ``shape``, which broadcasts to X."""
    if not context.train or rate == 0:
        return X
    assert context.key is not None, "training with dropout needs a key"
    kept = jax.random.bernoulli(context.key, 1 - rate, shape)
    return jnp.where(kept, X / (1 - rate), 0)


@dataclass(frozen=True)
class Flatten(Layer):
    """Each sample as one row: (n, h, w, c) to (n, h·w·c)."""

    kind: ClassVar[str] = "flatten"

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(product of the input's shape,)``."""
        return (math.prod(input_shape),)

    def apply(self, weights, statistics, X, context):
        """Return ``X`` with all axes but the first joined."""
        return X.reshape(X.shape[0], -1), statistics


@dataclass(frozen=True)
class Reshape(Layer):
    """Each sample in another shape, its entries in the same order, row by row.

    Parameters
    ----------
    shape : sequence of int
        One sample's new shape, stored as a tuple; one size may be -1, and follows from the others.

    Examples
    --------
    >>> Reshape((28, 28, -1)).output_shape((784,), "reshape_0")
    (28, 28, 1)
    """

    shape: Sequence[int]
    kind: ClassVar[str] = "reshape"

    def __post_init__(self) -> None:
        if not isinstance(self.shape, Sequence) or isinstance(self.shape, str):
            raise InputError(
                f"Reshape expected a shape, got {self.shape!r}. Use Reshape((28, 28, 1))."
            )
        for size in self.shape:
            check_number("Reshape size", size, at_least=-1, whole=True)
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.shape.count(-1) > 1 or 0 in self.shape:
            raise InputError(
                f"Reshape expected sizes of at least 1, of which one may be -1, got {self.shape}. "
                "Write out all sizes but one."
            )

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``shape`` with its -1 filled in."""
        entries = math.prod(input_shape)
        written = math.prod(size for size in self.shape if size != -1)
        free = entries // written
        shape = tuple(free if size == -1 else size for size in self.shape)
        if math.prod(shape) != entries:
            raise InputError(
                f"{name} expected samples that fill the shape {self.shape}, got samples of shape "
                f"{input_shape}, {entries} entries. Make the product of the sizes {entries}."
            )
        return shape

    def apply(self, weights, statistics, X, context):
        """Return ``X`` (n, ...) as (n, *shape)."""
        return X.reshape(X.shape[0], *self.output_shape(X.shape[1:], self.kind)), statistics
