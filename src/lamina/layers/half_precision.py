"""A network computed in half precision: matrices in bfloat16, what must be exact in float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina.layers.layer import PREDICTING, Context, Layer, Shape, Weights
from lamina.layers.sequential import Sequential


@dataclass(frozen=True)
class HalfPrecision(Layer):
    """Another network with its products taken in bfloat16, for float32 weights.

    bfloat16 keeps float32's eight exponent bits, so gradients neither overflow nor vanish where
    float32's do not, and the loss need not be scaled; it has eight bits of fraction where float32
    has 24. So weights are rounded on the way into the network and their gradients come back to the
    exact ones, which the optimiser changes by steps far below bfloat16's rounding. Each layer takes
    its input in the dtype of its weights; sums inside products, normalisation, recurrent states,
    statistics and, from the scores on, the loss are in float32.

    Source: Micikevicius et al. 2018, Mixed Precision Training; Kalamkar et al. 2019, A Study of
    BFLOAT16 for Deep Learning Training.

    Parameters
    ----------
    network : Layer
        Whose weights, statistics and shapes it has.
    """

    network: Layer
    kind: ClassVar[str] = "half_precision"

    @property
    def random(self) -> bool:
        """The network's."""
        return self.network.random

    @property
    def convolves(self) -> bool:
        """The network's."""
        return self.network.convolves

    def widest(self, input_shape: Shape) -> int:
        """Return the network's."""
        return self.network.widest(input_shape)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the network's."""
        return self.network.output_shape(input_shape, name)

    def weight_shapes(self, input_shape: Shape):
        """Return the network's."""
        return self.network.weight_shapes(input_shape)

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return the network's, in float32."""
        return self.network.initialize(rng, input_shape)

    def penalties(self, weights: Weights, default: Any) -> Weights:
        """Return the network's."""
        return self.network.penalties(weights, default)

    def apply(self, weights, statistics, X, context):
        """Return the network's output in float32, and its statistics."""
        A, after = self.network.apply(_rounded(weights), statistics, X, context)
        return _in_float32(A), after

    def walk(
        self, weights, statistics, X, context: Context = PREDICTING
    ) -> Iterator[tuple[str, Any, Weights]]:
        """Yield each layer's name, output and statistics, if the network is `Sequential`."""
        if isinstance(self.network, Sequential):
            yield from self.network.walk(_rounded(weights), statistics, X, context)


def _rounded(weights: Weights) -> Weights:
    return jax.tree.map(lambda W: jnp.asarray(W, jnp.bfloat16), weights)


def _in_float32(A: Any) -> Any:
    def wide(part):
        return part.astype(jnp.float32) if part.dtype == jnp.bfloat16 else part

    return jax.tree.map(wide, A)
