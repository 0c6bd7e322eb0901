"""The dense layer ``A = σ(X W + b)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.functions.activations import ACTIVATIONS
from lamina.functions.initializers import AUTO, INITIALIZERS, initializer
from lamina.functions.penalties import Penalty
from lamina.kernels.dense import dense
from lamina.layers.layer import Layer, Shape


@dataclass(frozen=True)
class Dense(Layer):
    """``A = σ(X W + b)``, X (n, m), W (m, k), b (k,).

    Parameters
    ----------
    units : int
        k, the columns of ``W``.
    activation : str
        σ, a key of `lamina.functions.activations.ACTIVATIONS`.
    init : str
        The scheme of the initial ``W``: a key of `lamina.functions.initializers.INITIALIZERS`, or
        ``"auto"``, He's for relu and its kin and Glorot's otherwise. ``b`` starts at zero.
    bias : bool
        Whether there is a ``b``.
    penalty : Penalty, optional
        This layer's own penalty on ``W``; the estimator's where None.
    """

    units: int
    activation: str = "linear"
    init: str = AUTO
    bias: bool = True
    penalty: Penalty | None = None
    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        check_number("Dense units", self.units, at_least=1, whole=True)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("init", self.init, [AUTO, *INITIALIZERS])

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(units,)``."""
        if len(input_shape) != 1:
            raise InputError(
                f"{name} expected samples that are vectors (m,), got samples of shape "
                f"{input_shape}. Put Flatten() before it."
            )
        return (self.units,)

    def weight_shapes(self, input_shape: Shape):
        """Return ``{"W": (m, k), "b": (k,)}``."""
        shapes: dict[str, Shape] = {"W": (input_shape[0], self.units)}
        return (shapes | {"b": (self.units,)} if self.bias else shapes), {}

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return ``W`` drawn by the scheme and ``b`` zero."""
        shapes, _ = self.weight_shapes(input_shape)
        weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        weights["W"] = initializer(self.init, self.activation)(rng, shapes["W"])
        return weights, {}

    def apply(self, weights, statistics, X, context):
        """Return ``σ(X W + b)``."""
        return dense(X, weights["W"], weights.get("b"), self.activation), statistics
