"""Patches: what turns a convolution into one matrix product.

A filter sees a window of the image; `patches` lays each window out as a row, so that all filters
at all places are ``P W`` with ``P`` (n·h'·w', i·j·c) and ``W`` (i·j·c, k), the filters' columns.
This is im2col (Chellapilla, Puri and Simard 2006).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp

from lamina.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Array, Float

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]
SAME, VALID = "same", "valid"


class Geometry(NamedTuple):
    """Where a window is put.

    Parameters
    ----------
    stride : pair of int
        Steps between windows, down and right.
    padding : "same", "valid" or ((top, bottom), (left, right))
        Zeros around the image. "same" gives ⌈size / stride⌉ windows, the odd zero at the end;
        "valid" adds none.
    dilation : pair of int
        Distance between the cells that a window sees.
    groups : int
        Into how many the channels are split; each group has filters of its own.
    """

    stride: Pair = (1, 1)
    padding: Padding = SAME
    dilation: Pair = (1, 1)
    groups: int = 1

    def pads(self, size: Pair, window: Pair) -> tuple[Pair, Pair]:
        """Return the zeros around an image of ``size``: ((top, bottom), (left, right))."""
        if self.padding == VALID:
            return (0, 0), (0, 0)
        if not isinstance(self.padding, str):
            return self.padding
        found = []
        for axis in (0, 1):
            steps = -(-size[axis] // self.stride[axis])
            covered = (steps - 1) * self.stride[axis] + self.reach(window)[axis]
            total = max(covered - size[axis], 0)
            found.append((total // 2, total - total // 2))
        return found[0], found[1]

    def reach(self, window: Pair) -> Pair:
        """Return how many cells a window spans, from its first to its last."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, window, strict=True))  # type: ignore

    def output_size(self, size: Pair, window: Pair) -> Pair:
        """Return (h', w'): how many windows there are, down and right; below 1 if none fits."""
        pads, reach = self.pads(size, window), self.reach(window)
        return tuple(  # type: ignore
            (size[a] + sum(pads[a]) - reach[a]) // self.stride[a] + 1 for a in (0, 1)
        )


PLAIN = Geometry()
"""Every place, with zeros around the image."""


def patches(
    X: Float[Array, "n h w c"], window: Pair, geometry: Geometry = PLAIN
) -> Float[Array, "n h2 w2 ijc"]:
    """Return each window's cells as one row, in the order of filters HWIO: row, column, channel.

    Parameters
    ----------
    X : array of shape (n, h, w, c)
        Images.
    window : pair of int
        (i, j), its cells down and right.
    geometry : Geometry
        Stride, padding and dilation; without groups.

    Returns
    -------
    array of shape (n, h', w', i·j·c)
        So that ``patches(X, (i, j)) @ W.reshape(i * j * c, k)`` is the convolution.

    Raises
    ------
    InputError
        If no window fits into the image.

    Examples
    --------
    >>> patches(jnp.arange(9.0).reshape(1, 3, 3, 1), (2, 2), Geometry(padding="valid"))[0, 0, 0]
    Array([0., 1., 3., 4.], dtype=float32)
    """
    size = (X.shape[1], X.shape[2])
    height, width = geometry.output_size(size, window)
    if height < 1 or width < 1:
        raise InputError(
            f"patches expected a window no larger than the image {size}, got {tuple(window)}. "
            "Use a smaller window or padding."
        )
    padded = jnp.pad(X, ((0, 0), *geometry.pads(size, window), (0, 0)))
    (down, right), (far_down, far_right) = geometry.stride, geometry.dilation

    def cells(i: int, j: int) -> Any:
        top, left = i * far_down, j * far_right
        rows = slice(top, top + (height - 1) * down + 1, down)
        return padded[:, rows, left : left + (width - 1) * right + 1 : right]

    return jnp.concatenate([cells(i, j) for i in range(window[0]) for j in range(window[1])], -1)
