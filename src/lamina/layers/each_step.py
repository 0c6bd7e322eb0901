"""A layer for single samples, applied to each step of sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from lamina.errors import InputError
from lamina.layers.composite import Composite
from lamina.layers.layer import Layer, Shape
from lamina.layers.sequences import Sequences, parts


@dataclass(frozen=True)
class EachStep(Composite):
    """``A[:, s] = f(X[:, s])`` with the same weights for all steps s.

    Steps are folded into rows, (n, t, …) to (n·t, …), so a dense layer stays one product:
    ``EachStep(Dense(50))`` gives a language model's scores at each step. Steps beyond the lengths
    of `Sequences` are padding rows to the layer.

    Parameters
    ----------
    layer : Layer
        f; its weights are found under ``layer``.
    """

    layer: Layer
    kind: ClassVar[str] = "each_step"

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Layer):
            raise InputError(
                f"EachStep expected a layer, got {self.layer!r}. Use EachStep(Dense(10))."
            )

    def named(self) -> list[tuple[str, Layer]]:
        """Return the layer, named ``layer``."""
        return [("layer", self.layer)]

    def wired(self, input_shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """Return the layer and one step's shape."""
        return [("layer", self.layer, input_shape[1:])]

    def widest(self, input_shape: Shape) -> int:
        """Return what all steps take together."""
        return input_shape[0] * self.layer.widest(input_shape[1:])

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(t, *shape)`` with the layer's output shape for one step."""
        if not input_shape:
            raise InputError(
                f"{name} expected samples that are sequences (t, m), got samples of shape (). "
                "Give X of shape (n, t, m)."
            )
        return (input_shape[0], *self.layer.output_shape(input_shape[1:], f"{name}/layer"))

    def apply(self, weights, statistics, X, context):
        """Return the layer's output for each step."""
        values, lengths = parts(X)
        n, t = values.shape[:2]
        counts = context.weight
        if counts is not None:
            counts = jnp.repeat(counts, t)
        if lengths is not None:
            valid = Sequences(values, lengths).valid().reshape(-1)
            counts = valid.astype(float) if counts is None else jnp.where(valid, counts, 0)
        A, after = self.layer.apply(
            weights.get("layer", {}),
            statistics.get("layer", {}),
            values.reshape(n * t, *values.shape[2:]),
            context._replace(weight=counts),
        )
        A = A.reshape(n, t, *A.shape[1:])
        if "layer" in statistics:
            statistics = {"layer": after}
        return A if lengths is None else Sequences(A, lengths), statistics
