"""Normalisation layers: over the batch (with running statistics) and over features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_number
from lamina.kernels.activation import activate
from lamina.kernels.normalization import batch_norm, cells, layer_norm
from lamina.layers.layer import Context, Layer, Shape, Weights
from lamina.layers.pointwise import Activation
from lamina.layers.sequences import Sequences


@dataclass(frozen=True)
class BatchNorm(Layer):
    """``A = gain ∘ (X - mean) / √(variance + ε) + shift``, by channel, the last axis.

    In training mean and variance are the batch's, over all other axes; in prediction they are the
    running ones.

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2.

    Parameters
    ----------
    momentum : float in [0, 1)
        ``running = momentum · running + (1 - momentum) · batch``. PyTorch's momentum is 1 minus
        this one.
    epsilon : float > 0
        ε.
    frozen : bool
        Whether training too takes the running statistics and leaves them as they are, as in fine
        tuning on small batches.

    Notes
    -----
    As in PyTorch, the batch is normalised by its biased variance, and the running variance follows
    the unbiased one. Rows count by ``context.weight``: padding counts in neither, and a batch of
    nothing else leaves the running statistics as they are. Where N is below 2 the correction
    ``N / (N - 1)`` stops at 2.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    frozen: bool = False
    kind: ClassVar[str] = "batch_norm"

    def __post_init__(self) -> None:
        check_number("BatchNorm momentum", self.momentum, at_least=0, below=1)
        check_number("BatchNorm epsilon", self.epsilon, above=0)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the input's shape."""
        return _with_channels(input_shape, name)

    def weight_shapes(self, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return ``gain`` and ``shift``, and the statistics ``mean`` and ``variance``: all (c,)."""
        channels = input_shape[-1:]
        return {"gain": channels, "shift": channels}, {"mean": channels, "variance": channels}

    def initialize(self, rng: np.random.Generator, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return gain and variance one, shift and mean zero."""
        c = input_shape[-1]
        statistics = {"mean": np.zeros(c, np.float32), "variance": np.ones(c, np.float32)}
        return {"gain": np.ones(c, np.float32), "shift": np.zeros(c, np.float32)}, statistics

    def fused(self, following: Layer) -> Layer | None:
        """Return one layer for this one and a relu after it."""
        return RectifiedBatchNorm(self) if following == Activation("relu") else None

    def apply(self, weights, statistics, X, context):
        """Return the normalised batch, and the statistics after it."""
        return self._normalized(weights, statistics, X, context, relu=False)

    def _normalized(
        self, weights: Weights, statistics: Weights, X: Any, context: Context, relu: bool
    ) -> tuple[Any, Weights]:
        gain, shift = weights["gain"], weights["shift"]
        if not context.train or self.frozen:
            scale = gain * jax.lax.rsqrt(statistics["variance"] + self.epsilon)
            mean = _over(X, statistics["mean"])
            A = ((X - mean) * _over(X, scale) + _over(X, shift)).astype(X.dtype)
            return activate(A, "relu") if relu else A, statistics
        exact = map(_in_full, (X, gain, shift))
        A, mean, variance = batch_norm(*exact, context.weight, self.epsilon, relu)  # type: ignore
        N, share = cells(X, context.weight), 1 - self.momentum
        if context.weight is not None:
            share = jnp.where(jnp.any(context.weight > 0), share, 0)
        batch = {"mean": mean, "variance": variance * (N / jnp.maximum(N - 1, N / 2))}
        after = {
            name: running + (share * (batch[name] - running)).astype(running.dtype)
            for name, running in statistics.items()
        }
        return A.astype(X.dtype), after


@dataclass(frozen=True)
class RectifiedBatchNorm(Layer):
    """Batch normalisation and the relu after it as one kernel call; `Sequential` makes it.

    Parameters
    ----------
    norm : BatchNorm
        Whose weights these are.
    """

    norm: BatchNorm
    kind: ClassVar[str] = "batch_norm"

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the input's shape."""
        return self.norm.output_shape(input_shape, name)

    def apply(self, weights, statistics, X, context):
        """Return relu of the normalised batch, and the statistics after it."""
        return self.norm._normalized(weights, statistics, X, context, relu=True)


@dataclass(frozen=True)
class LayerNorm(Layer):
    """``A = gain ∘ (X - mean) / √(variance + ε) + shift``, mean and variance over the last axis.

    Source: Ba, Kiros and Hinton 2016, equations 3 and 4.

    Parameters
    ----------
    epsilon : float > 0
        ε.
    """

    epsilon: float = 1e-5
    kind: ClassVar[str] = "layer_norm"

    def __post_init__(self) -> None:
        check_number("LayerNorm epsilon", self.epsilon, above=0)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the input's shape."""
        return _with_channels(input_shape, name)

    def weight_shapes(self, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return ``{"gain": (m,), "shift": (m,)}``."""
        return {"gain": input_shape[-1:], "shift": input_shape[-1:]}, {}

    def initialize(self, rng: np.random.Generator, input_shape: Shape) -> tuple[Weights, Weights]:
        """Return gain one and shift zero."""
        m = input_shape[-1]
        return {"gain": np.ones(m, np.float32), "shift": np.zeros(m, np.float32)}, {}

    def apply(self, weights, statistics, X, context):
        """Return the normalised batch."""
        exact = map(_in_full, (X, weights["gain"], weights["shift"]))
        return layer_norm(*exact, self.epsilon).astype(X.dtype), statistics  # type: ignore


@dataclass(frozen=True)
class Standardize(Layer):
    """``A = (X - mean) / scale``, by channel, with what was learned of the data before training.

    Statistics ``mean`` and ``scale`` (c,) are 0 and 1 until somebody sets them; `ConvClassifier`
    takes those of its training images.
    """

    kind: ClassVar[str] = "standardize"

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the input's shape."""
        return _with_channels(input_shape, name)

    def weight_shapes(self, input_shape: Shape):
        """Return no weights, and the statistics ``mean`` and ``scale``: (c,)."""
        return {}, {"mean": input_shape[-1:], "scale": input_shape[-1:]}

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return mean zero and scale one."""
        zero, one = (np.full(input_shape[-1:], value, np.float32) for value in (0, 1))
        return {}, {"mean": zero, "scale": one}

    def apply(self, weights, statistics, X, context):
        """Return the standardised batch; of `Sequences` in `Sequences`."""
        if isinstance(X, Sequences):
            values, _ = self.apply(weights, statistics, X.values, context)
            return Sequences(values, X.lengths), statistics
        return (X - _over(X, statistics["mean"])) / _over(X, statistics["scale"]), statistics


def _in_full(array):
    """Return the array in float32 at least: means and variances are sums of many numbers."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _with_channels(input_shape: Shape, name: str) -> Shape:
    if not input_shape:
        raise InputError(
            f"{name} expected samples (..., c) with channels last, got samples of shape "
            f"{input_shape}. Put Reshape((1,)) before it."
        )
    return input_shape


def _over(X, vector):
    """Return ``vector`` (c,) with X's rank, channels last."""
    return vector.reshape(*[1] * (X.ndim - 1), -1)
