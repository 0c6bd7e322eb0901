"""Pooling layers: maxima and means over windows of images and sequences, or over all of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lamina.errors import InputError
from lamina.kernels.global_average import global_average_pool
from lamina.kernels.pooling import average_pool, max_pool, pooled_size
from lamina.layers.layer import Layer, Shape
from lamina.layers.windows import padding_per_axis, per_axis

GRAMMAR = {1: "that are sequences (t, c)", 2: "that are images (h, w, c)"}


@dataclass(frozen=True)
class Pool(Layer):
    """What pooling over windows shares; its final classes say along how many axes, and what.

    Parameters
    ----------
    window : int or pair of int
        Cells along each axis; stored as a tuple, one number an axis.
    stride : int or pair of int, optional
        Steps from window to window; the window where None.
    padding : {"valid", "same"}, int, or cells before and after
        ``"valid"`` is none, and cells left over at the end are not seen; ``"same"`` makes
        ``⌈size / stride⌉`` windows; a number is for all sides.
    """

    window: int | Sequence[int] = 2
    stride: int | Sequence[int] | None = None
    padding: str | int | Sequence[Any] = "valid"
    axes: ClassVar[int]
    """How many axes are pooled: 1 for sequences, 2 for images."""
    pool: ClassVar[Callable[..., Any]]
    """The kernel, for images."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        window = per_axis(f"{name} window", self.window, self.axes)
        pads = padding_per_axis(f"{name} padding", self.padding, self.axes)
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "padding", pads)
        if self.stride is not None:
            stride = per_axis(f"{name} stride", self.stride, self.axes)
            object.__setattr__(self, "stride", stride)
        if isinstance(pads, str):
            return
        if any(max(ends) >= cells for ends, cells in zip(pads, window, strict=True)):
            raise InputError(
                f"{name} expected padding smaller than its window {_times(window)}, got {pads}. "
                "Use padding='same' to keep the size."
            )

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the number of windows along each axis, and c."""
        if len(input_shape) != self.axes + 1:
            raise InputError(
                f"{name} expected samples {GRAMMAR[self.axes]}, got samples of shape "
                f"{input_shape}. Put it before Flatten(), or a Reshape before it."
            )
        *sizes, channels = input_shape
        window, stride, padding = self.by_axis()
        each = [padding] * self.axes if isinstance(padding, str) else padding
        found = [pooled_size(*axis) for axis in zip(sizes, window, stride, each, strict=True)]
        if min(found) < 1:
            raise InputError(
                f"{name} expected samples no smaller than its window {_times(window)}, got "
                f"{_times(sizes)} (samples of shape {input_shape}). Use a smaller window, less "
                "pooling before it, or padding='same'."
            )
        return (*found, channels)

    def apply(self, weights, statistics, X, context):
        """Return the pooled batch; a sequence is an image of height 1."""
        window, stride, padding = self.by_axis()
        pool = type(self).pool
        if self.axes == 2:
            return pool(X, window, stride, padding), statistics
        if not isinstance(padding, str):
            padding = ((0, 0), *padding)
        return pool(X[:, None], (1, *window), (1, *stride), padding)[:, 0], statistics

    def by_axis(self) -> tuple[Any, Any, Any]:
        """Return window, stride and padding with an entry for each axis."""
        return self.window, self.stride or self.window, self.padding


@dataclass(frozen=True)
class MaxPool2D(Pool):
    """Each window's maximum in each channel, for images: (h, w, c) to (i, j, c).

    Of equal maxima the first takes the gradient; padding never wins.

    Parameters
    ----------
    window : int or (int, int)
        Height and width in cells; one number is both.
    stride : int or (int, int), optional
        Steps from window to window; the window where None.
    padding : {"valid", "same"}, int, or ((top, bottom), (left, right))
        See `lamina.kernels.pooling.max_pool`.
    """

    kind: ClassVar[str] = "max_pool"
    axes: ClassVar[int] = 2
    pool: ClassVar[Callable[..., Any]] = staticmethod(max_pool)


@dataclass(frozen=True)
class AveragePool2D(Pool):
    """Each window's mean in each channel, for images: (h, w, c) to (i, j, c).

    Parameters
    ----------
    window : int or (int, int)
        Height and width in cells; one number is both.
    stride : int or (int, int), optional
        Steps from window to window; the window where None.
    padding : {"valid", "same"}, int, or ((top, bottom), (left, right))
        Explicit padding counts as zeros; with ``"same"`` only the image's cells count. See
        `lamina.kernels.pooling.average_pool`.
    """

    kind: ClassVar[str] = "average_pool"
    axes: ClassVar[int] = 2
    pool: ClassVar[Callable[..., Any]] = staticmethod(average_pool)


@dataclass(frozen=True)
class MaxPool1D(Pool):
    """Each window's maximum in each channel, for sequences: (t, c) to (i, c).

    Parameters
    ----------
    window : int
        Steps of a window.
    stride : int, optional
        Steps from window to window; the window where None.
    padding : {"valid", "same"}, int, or (before, after)
        As for `MaxPool2D`.
    """

    kind: ClassVar[str] = "max_pool"
    axes: ClassVar[int] = 1
    pool: ClassVar[Callable[..., Any]] = staticmethod(max_pool)


@dataclass(frozen=True)
class AveragePool1D(Pool):
    """Each window's mean in each channel, for sequences: (t, c) to (i, c).

    Parameters
    ----------
    window : int
        Steps of a window.
    stride : int, optional
        Steps from window to window; the window where None.
    padding : {"valid", "same"}, int, or (before, after)
        As for `AveragePool2D`.
    """

    kind: ClassVar[str] = "average_pool"
    axes: ClassVar[int] = 1
    pool: ClassVar[Callable[..., Any]] = staticmethod(average_pool)


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """Each channel's mean over all positions: (h, w, c) or (t, c) to (c,).

    Parameters
    ----------
    keep_axes : bool
        Whether the pooled axes stay, with size 1: (1, 1, c) or (1, c).
    """

    keep_axes: bool = False
    kind: ClassVar[str] = "global_average_pool"

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(c,)``, or with ``keep_axes`` 1 for each pooled axis before it."""
        if len(input_shape) < 2:
            raise InputError(
                f"{name} expected samples that are images (h, w, c) or sequences (t, c), got "
                f"samples of shape {input_shape}. Put it before Flatten()."
            )
        return ((1,) * (len(input_shape) - 1) if self.keep_axes else ()) + input_shape[-1:]

    def apply(self, weights, statistics, X, context):
        """Return the means."""
        A = global_average_pool(X)
        kept = A.reshape(X.shape[0], *self.output_shape(X.shape[1:], self.kind))
        return kept, statistics


def _times(sizes: Sequence[int]) -> str:
    """Return ``(3, 2)`` as ``3×2``."""
    return "×".join(str(size) for size in sizes)
