"""Convolutional layers: filters that see a window and are put at every place.

A signal (t, c) is an image of height one to the kernel, so the layers along time share all of the
mathematics with those over images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.functions.activations import ACTIVATIONS
from lamina.functions.initializers import AUTO, INITIALIZERS, initializer
from lamina.functions.penalties import Penalty
from lamina.kernels.convolution import (
    Pooling,
    convolution,
    transposed_convolution,
    transposed_size,
)
from lamina.kernels.patches import SAME, Geometry, Pair
from lamina.layers.layer import Layer, Shape
from lamina.layers.pointwise import Activation
from lamina.layers.pooling import AveragePool2D, MaxPool2D, Pool
from lamina.layers.windows import padding_per_axis, per_axis

DEPTHWISE = "depthwise"


@dataclass(frozen=True)
class _Filters(Layer):
    """What all layers with filters share: their settings, weights and errors."""

    filters: int
    kernel_size: int | Sequence[int] = 3
    stride: int | Sequence[int] = 1
    padding: str | int | Sequence = SAME
    dilation: int | Sequence[int] = 1
    activation: str = "linear"
    init: str = AUTO
    bias: bool = True
    penalty: Penalty | None = None
    axes: ClassVar[int]

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_number(f"{kind} filters", self.filters, at_least=1, whole=True)
        for name in ("kernel_size", "stride", "dilation"):
            value = per_axis(f"{kind} {name}", getattr(self, name), self.axes)
            object.__setattr__(self, name, value)
        padding = padding_per_axis(f"{kind} padding", self.padding, self.axes)
        object.__setattr__(self, "padding", padding)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("init", self.init, [AUTO, *INITIALIZERS])

    @property
    def convolves(self) -> bool:
        """Whether XLA's convolution is in it."""
        return True

    @property
    def _window(self) -> Pair:
        return self._lifted(self.kernel_size)

    def _lifted(self, values: Any) -> Any:
        """Return one entry for height and one for width: time is the width of one row."""
        return (1, *values) if self.axes == 1 else tuple(values)

    def _geometry(self, groups: int = 1) -> Geometry:
        pads: Any = self.padding
        if not isinstance(pads, str) and self.axes == 1:
            pads = ((0, 0), *pads)
        return Geometry(self._lifted(self.stride), pads, self._lifted(self.dilation), groups)

    def _check_rank(self, input_shape: Shape, name: str) -> None:
        if len(input_shape) != self.axes + 1:
            wanted = "signals (t, c)" if self.axes == 1 else "images (h, w, c)"
            raise InputError(
                f"{name} expected samples that are {wanted}, got samples of shape {input_shape}. "
                "Give them their axes, by Reshape or image_shape."
            )

    def _channels_seen(self, channels: int) -> int:
        """Return how many input channels a filter has."""
        return channels

    def weight_shapes(self, input_shape: Shape):
        """Return ``{"W": (i, j, channels seen, k), "b": (k,)}``, without i for signals."""
        seen = self._channels_seen(input_shape[-1])
        shapes: dict[str, Shape] = {"W": (*self.kernel_size, seen, self.filters)}  # type: ignore
        return (shapes | {"b": (self.filters,)} if self.bias else shapes), {}

    def initialize(self, rng: np.random.Generator, input_shape: Shape):
        """Return ``W`` drawn by the scheme and ``b`` zero."""
        shapes, _ = self.weight_shapes(input_shape)
        weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        weights["W"] = initializer(self.init, self.activation)(rng, shapes["W"])
        return weights, {}

    def apply(self, weights, statistics, X, context):
        """Return the filters' answers."""
        W, b = weights["W"], weights.get("b")
        if self.axes == 1:
            return self._answers(X[:, None], W[None], b)[:, 0], statistics
        return self._answers(X, W, b), statistics

    def _answers(self, X: Any, W: Any, b: Any) -> Any:
        raise NotImplementedError

    def fused(self, following: Layer) -> Layer | None:
        """Return one layer for this one and an activation after it."""
        if isinstance(following, Activation) and self.activation == "linear":
            return replace(self, activation=following.function)
        return None


@dataclass(frozen=True)
class _Convolution(_Filters):
    groups: int | str = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.groups != DEPTHWISE:
            check_number(f"{type(self).__name__} groups", self.groups, at_least=1, whole=True)

    def _groups(self, channels: int) -> int:
        return channels if self.groups == DEPTHWISE else int(self.groups)

    def _channels_seen(self, channels: int) -> int:
        return channels // self._groups(channels)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(h', w', filters)``; for signals ``(t', filters)``."""
        self._check_rank(input_shape, name)
        channels, groups = input_shape[-1], self._groups(input_shape[-1])
        if channels % groups or self.filters % groups:
            raise InputError(
                f"{name} expected channels and filters that {groups} groups divide, got {channels} "
                f"channels and {self.filters} filters. Change groups or filters."
            )
        geometry, size = self._geometry(groups), self._lifted(input_shape[:-1])
        found = geometry.output_size(size, self._window)
        if min(found) < 1:
            raise InputError(
                f"{name} expected samples no smaller than its window "
                f"{geometry.reach(self._window)[-self.axes :]}, got {input_shape[:-1]}. Use a "
                "smaller kernel_size, less pooling before it, or padding='same'."
            )
        return (*found[-self.axes :], self.filters)

    def _answers(self, X: Any, W: Any, b: Any, pooling: Pooling | None = None) -> Any:
        geometry = self._geometry(self._groups(X.shape[-1]))
        return convolution(X, W, b, self.activation, geometry, pooling)

    def fused(self, following: Layer) -> Layer | None:
        """Return one layer for this one and an activation or a pooling after it."""
        if isinstance(following, MaxPool2D | AveragePool2D) and self.axes == 2:
            return PooledConvolution(self, following)
        return super().fused(following)


@dataclass(frozen=True)
class Conv2D(_Convolution):
    """``A = σ(X ∗ W + b)``, X (n, h, w, c), W (i, j, c / groups, k), b (k,).

    Parameters
    ----------
    filters : int
        k, the channels of A.
    kernel_size : int or pair of int
        (i, j), the filters' window.
    stride : int or pair of int
        Steps between windows.
    padding : "same", "valid", int, or ((top, bottom), (left, right))
        Zeros around the image; "same" keeps its size (divided by the stride).
    dilation : int or pair of int
        Distance between the cells of a window.
    activation : str
        σ, a key of `lamina.functions.activations.ACTIVATIONS`.
    init : str
        The scheme of the initial ``W``, as for `Dense`.
    bias : bool
        Whether there is a ``b``.
    penalty : Penalty, optional
        This layer's own penalty on ``W``; the estimator's where None.
    groups : int or "depthwise"
        Into how many the channels are split, each with filters of its own; "depthwise" is one
        group a channel.
    """

    kind: ClassVar[str] = "conv"
    axes: ClassVar[int] = 2


@dataclass(frozen=True)
class Conv1D(_Convolution):
    """`Conv2D` along time: X (n, t, c), W (j, c / groups, k), b (k,).

    Parameters
    ----------
    filters, kernel_size, stride, padding, dilation, activation, init, bias, penalty, groups
        As for `Conv2D`, with one number instead of a pair, and ``padding`` (before, after):
        ``(kernel_size - 1, 0)`` sees no future.
    """

    kind: ClassVar[str] = "conv"
    axes: ClassVar[int] = 1


@dataclass(frozen=True)
class PooledConvolution(Layer):
    """A convolution and the pooling after it as one kernel call; `Sequential` makes it.

    Parameters
    ----------
    convolution : Conv2D
        Whose weights these are.
    pool : MaxPool2D or AveragePool2D
        What follows it.
    """

    convolution: _Convolution
    pool: Pool
    kind: ClassVar[str] = "conv"

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return one sample's shape after both."""
        return self.pool.output_shape(self.convolution.output_shape(input_shape, name), name)

    def apply(self, weights, statistics, X, context):
        """Return ``pool(σ(X ∗ W + b))``."""
        kind = "max" if isinstance(self.pool, MaxPool2D) else "average"
        pooling = Pooling(kind, *self.pool.by_axis())
        A = self.convolution._answers(X, weights["W"], weights.get("b"), pooling)
        return A, statistics


@dataclass(frozen=True)
class _TransposedConvolution(_Filters):
    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(h · stride, w · stride, filters)``, or what padding leaves of it."""
        self._check_rank(input_shape, name)
        size = self._lifted(input_shape[:-1])
        found = transposed_size(size, self._window, self._geometry())
        if min(found) < 1:
            raise InputError(
                f"{name} expected padding that leaves something, got {self.padding} around "
                f"samples of {input_shape[:-1]}. Use padding='same'."
            )
        return (*found[-self.axes :], self.filters)

    def _answers(self, X: Any, W: Any, b: Any) -> Any:
        return transposed_convolution(X, W, b, self.activation, self._geometry())


@dataclass(frozen=True)
class ConvTranspose2D(_TransposedConvolution):
    """A convolution turned around: images grow by the stride. X (n, h, w, c), W (i, j, c, k).

    Parameters
    ----------
    filters, kernel_size, stride, padding, dilation, activation, init, bias, penalty
        As for `Conv2D`: those of the convolution whose backward rule this is.
    """

    kind: ClassVar[str] = "conv_transpose"
    axes: ClassVar[int] = 2


@dataclass(frozen=True)
class ConvTranspose1D(_TransposedConvolution):
    """`ConvTranspose2D` along time: X (n, t, c), W (j, c, k).

    Parameters
    ----------
    filters, kernel_size, stride, padding, dilation, activation, init, bias, penalty
        As for `Conv1D`.
    """

    kind: ClassVar[str] = "conv_transpose"
    axes: ClassVar[int] = 1
