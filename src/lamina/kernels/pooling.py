"""Pooling: each channel's maximum or mean over windows of an image.

For a window V of positions in channel c::

    max:      A = max_{v ∈ V} X_v        dX_v = dA at the first maximum of V, 0 elsewhere
    average:  A = |V|⁻¹ Σ_{v ∈ V} X_v    dX_v = |V|⁻¹ dA

Windows that tile the image (stride = window, no padding) are axes of a reshaped X. The maximum's
gradient is a selection for each position in a window, without a scatter, which on a CPU takes about
a quarter of the time of XLA's rule where windows overlap, and a twentieth where they tile.

Source: Goodfellow, Bengio and Courville, Deep Learning, section 9.3.
"""

from __future__ import annotations

import math
from functools import partial, reduce
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]
"""``"valid"``, ``"same"``, or cells before and after: ``((top, bottom), (left, right))``."""

MANY_POSITIONS = 64  # in a window: here `max_pool` leaves its own rule, whose program would be long


class Pooling(NamedTuple):
    """A pooling as a value, such as the one after a convolution.

    Parameters
    ----------
    kind : {"max", "average"}
        What is taken of each window.
    window, stride : pair of int
        Its size, and the steps between windows.
    padding : "valid", "same" or ((top, bottom), (left, right))
        See `max_pool` and `average_pool`.
    """

    kind: str
    window: Pair
    stride: Pair
    padding: Padding


def pooled(X: Float[Array, "n h w c"], pooling: Pooling) -> Float[Array, "n i j c"]:
    """Return each window's maximum or mean, whichever ``pooling`` is."""
    pool = max_pool if pooling.kind == "max" else average_pool
    return pool(X, pooling.window, pooling.stride, pooling.padding)


def max_pool(
    X: Float[Array, "n h w c"], window: Pair, stride: Pair | None = None, padding: Padding = "valid"
) -> Float[Array, "n i j c"]:
    """Return each window's maximum.

    Parameters
    ----------
    X : array of shape (n, h, w, c)
        Images.
    window : (int, int)
        Height and width of a window, in cells.
    stride : (int, int), optional
        Steps from window to window; the window where None.
    padding : {"valid", "same"} or ((top, bottom), (left, right))
        Cells around the image, which never win; each smaller than the window.

    Returns
    -------
    array of shape (n, i, j, c)
        ``i`` and ``j`` by `pooled_size`; cells left over at the end are not seen.

    Notes
    -----
    Of equal maxima the first, row by row, takes the whole gradient, as in PyTorch. That matters
    after relu, where whole windows are zero.
    """
    stride = stride or window
    pads = _pads(X.shape, window, stride, padding)
    lowest = np.array(-np.inf, X.dtype)
    if math.prod(window) > MANY_POSITIONS:
        sizes, steps = (1, *window, 1), (1, *stride, 1)
        return jax.lax.reduce_window(X, lowest, jax.lax.max, sizes, steps, _over_images(pads))
    if _tiles(window, stride, pads):
        return _max_over_tiles(_tiled(X, window))
    padded = jax.lax.pad(X, lowest, [(*ends, 0) for ends in _over_images(pads)])
    return _max_over_windows(padded, tuple(window), tuple(stride))


def average_pool(
    X: Float[Array, "n h w c"], window: Pair, stride: Pair | None = None, padding: Padding = "valid"
) -> Float[Array, "n i j c"]:
    """Return each window's mean.

    Parameters
    ----------
    X, window, stride
        As for `max_pool`.
    padding : {"valid", "same"} or ((top, bottom), (left, right))
        Explicit padding counts as cells of value 0, as in PyTorch by default
        (``count_include_pad=True``); with ``"same"`` only cells of the image count, as in
        TensorFlow.

    Returns
    -------
    array of shape (n, i, j, c)
        ``i`` and ``j`` by `pooled_size`.
    """
    stride = stride or window
    pads = _pads(X.shape, window, stride, padding)
    if _tiles(window, stride, pads):
        return jnp.mean(_tiled(X, window), axis=(2, 4))
    zero = np.array(0, X.dtype)
    sizes, steps = (1, *window, 1), (1, *stride, 1)
    sums = jax.lax.reduce_window(X, zero, jax.lax.add, sizes, steps, _over_images(pads))
    if padding != "same":
        return sums / math.prod(window)
    rows, columns = (
        _cells_inside(*axis) for axis in zip(X.shape[1:3], window, stride, pads, strict=True)
    )
    return sums / np.outer(rows, columns)[None, :, :, None].astype(X.dtype)


def pooled_size(size: int, window: int, stride: int, padding: str | Pair = "valid") -> int:
    """Return how many windows there are along one axis.

    Parameters
    ----------
    size, window, stride : int
        Cells along the axis, cells of a window, steps from window to window.
    padding : {"valid", "same"} or (before, after)
        Cells added at the two ends; ``"same"`` makes ``⌈size / stride⌉`` windows.

    Returns
    -------
    int
        0 or less where the window is larger than the padded axis.

    Examples
    --------
    >>> pooled_size(7, 3, 2), pooled_size(7, 2, 2), pooled_size(7, 2, 2, "same")
    (3, 3, 4)
    """
    return (size + sum(_pads_of_axis(size, window, stride, padding)) - window) // stride + 1


def _pads_of_axis(size: int, window: int, stride: int, padding: str | Pair) -> Pair:
    """Return the cells that ``padding`` adds before and after one axis.

    Of an odd number of cells that ``"same"`` needs, one more comes after, as in TensorFlow.
    """
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        return total // 2, total - total // 2
    before, after = padding
    return int(before), int(after)


def _pads(shape, window, stride, padding):
    each = (padding, padding) if isinstance(padding, str) else padding
    axes = zip(shape[1:3], window, stride, each, strict=True)
    return tuple(_pads_of_axis(*axis) for axis in axes)


def _tiles(window, stride, pads):
    return tuple(window) == tuple(stride) and pads == ((0, 0), (0, 0))


def _over_images(pads):
    return ((0, 0), *pads, (0, 0))


def _cells_inside(size, window, stride, pads):
    """Return, for each window along an axis, how many of its cells are the image's."""
    before, after = pads
    starts = np.arange(0, size + before + after - window + 1, stride) - before
    return np.minimum(starts + window, size) - np.maximum(starts, 0)


def _tiled(X, window):
    """Return X, its remainder cut off, as (n, i, window height, j, window width, c)."""
    (n, h, w, c), (height, width) = X.shape, window
    i, j = h // height, w // width
    return X[:, : i * height, : j * width].reshape(n, i, height, j, width, c)


# The maximum and its rule take X as one view for each position in a window, row by row: the view
# (a, b) holds cell (a, b) of every window, in the shape of A.


def _first(views, A):
    """Return the number of the first view that holds the maximum, for each window."""
    first = jnp.full(A.shape, len(views) - 1, np.int32)
    for number in reversed(range(len(views) - 1)):
        first = jnp.where(views[number] == A, number, first)
    return first


@jax.custom_vjp
def _max_over_tiles(V):
    """Return the maximum over axes 2 and 4 of V (n, i, height, j, width, c)."""
    return reduce(jnp.maximum, _tile_views(V))


def _tile_views(V):
    return [V[:, :, a, :, b] for a, b in np.ndindex(V.shape[2], V.shape[4])]


def _tiles_forward(V):
    A = _max_over_tiles(V)
    return A, (V, A)


def _tiles_backward(saved, dA):
    V, A = saved
    (height, width), first = (V.shape[2], V.shape[4]), _first(_tile_views(V), A)
    number = np.arange(height * width, dtype=np.int32).reshape(1, 1, height, 1, width, 1)
    first, dA = (Y[:, :, None, :, None, :] for Y in (first, dA))
    return (jnp.where(number == first, dA, 0),)


_max_over_tiles.defvjp(_tiles_forward, _tiles_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_over_windows(X, window, stride):
    """Return the maximum over windows that may overlap, of X with its padding."""
    return reduce(jnp.maximum, _window_views(X, window, stride))


def _window_views(X, window, stride):
    h, w = (
        (size - cells) // step * step + 1
        for size, cells, step in zip(X.shape[1:3], window, stride, strict=True)
    )
    return [X[:, a : a + h : stride[0], b : b + w : stride[1]] for a, b in np.ndindex(*window)]


def _windows_forward(X, window, stride):
    A = _max_over_windows(X, window, stride)
    return A, (X, A)


def _windows_backward(window, stride, saved, dA):
    """Spread each position's share of dA back to where it stood, zeros between, and sum."""
    X, A = saved
    first = _first(_window_views(X, window, stride), A)
    dX = jnp.zeros_like(X)
    for number, starts in enumerate(np.ndindex(*window)):
        share = jnp.where(first == number, dA, 0)
        ends = [
            (start, size - start - (windows - 1) * step - 1, step - 1)
            for start, size, windows, step in zip(
                starts, X.shape[1:3], A.shape[1:3], stride, strict=True
            )
        ]
        dX += jax.lax.pad(share, np.array(0, dA.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    return (dX,)


_max_over_windows.defvjp(_windows_forward, _windows_backward)
