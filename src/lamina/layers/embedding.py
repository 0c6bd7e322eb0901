"""The embedding: a row of a matrix for each code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_number
from lamina.functions.penalties import Penalty
from lamina.kernels.embedding import embedding
from lamina.layers.layer import Layer, Shape
from lamina.layers.sequences import Sequences


@dataclass(frozen=True)
class Embedding(Layer):
    """``A[i, s] = W[X[i, s]]``: codes (n, t) to (n, t, width), W (vocabulary, width).

    The same as a product of one-hot rows with ``W``, without the product; so the gradient by ``W``
    adds each output's gradient to the row of its code. A code outside 0 … vocabulary - 1 gives a
    row that is not a number, since a compiled program cannot raise.

    Parameters
    ----------
    vocabulary : int
        How many codes there are.
    width : int
        The size of the vector for each.
    penalty : Penalty, optional
        This layer's own penalty on ``W``; the estimator's where None.

    Notes
    -----
    ``W`` starts normal with standard deviation ``1 / sqrt(width)``: a row then has length about 1
    whatever the width, and products of rows are at most of that order, as where ``W`` also makes
    the scores (Vaswani et al. 2017, section 3.4). Schemes by fan do not fit, for a one-hot row has
    one entry, however many codes there are.
    """

    vocabulary: int
    width: int
    penalty: Penalty | None = None
    kind: ClassVar[str] = "embedding"

    def __post_init__(self) -> None:
        check_number("Embedding vocabulary", self.vocabulary, at_least=1, whole=True)
        check_number("Embedding width", self.width, at_least=1, whole=True)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(t, width)``."""
        if len(input_shape) != 1:
            raise InputError(
                f"{name} expected samples that are codes (t,), got samples of shape {input_shape}. "
                "Give whole numbers of shape (n, t), one for each step."
            )
        return (input_shape[0], self.width)

    def weight_shapes(self, input_shape: Shape):
        """Return ``{"W": (vocabulary, width)}``."""
        return {"W": (self.vocabulary, self.width)}, {}

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return ``W`` normal with standard deviation ``1 / sqrt(width)``."""
        W = rng.standard_normal((self.vocabulary, self.width), dtype=np.float32)
        return {"W": W / np.float32(math.sqrt(self.width))}, {}

    def apply(self, weights, statistics, X, context):
        """Return the rows of ``W``; of `Sequences` in `Sequences`, codes beyond a length as 0."""
        if isinstance(X, Sequences):
            codes = jnp.where(X.valid(), X.values, 0)
            return Sequences(embedding(weights["W"], codes), X.lengths), statistics
        return embedding(weights["W"], X), statistics
