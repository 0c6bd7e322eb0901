"""Layers without weights: an activation on its own, dropout, and flattening."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from lamina.errors import check_choice, check_number
from lamina.functions.activations import ACTIVATIONS, activation
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
        return activation(self.function)(X), statistics


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
        if not context.train or self.rate == 0:
            return X, statistics
        assert context.key is not None, "training with dropout needs a key"
        kept = jax.random.bernoulli(context.key, 1 - self.rate, X.shape)
        return jnp.where(kept, X / (1 - self.rate), 0), statistics


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
