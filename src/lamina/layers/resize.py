"""Images of another size: a product with a matrix on each side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.functions.resampling import REACH, resampling_matrix
from lamina.layers.layer import Layer, Shape
from lamina.layers.windows import per_axis


@dataclass(frozen=True)
class Resize(Layer):
    """``A = R X Cᵀ`` in each channel, of the middle of X: (h, w, c) to (h', w', c').

    Parameters
    ----------
    size : int or (int, int)
        (h', w'), the new height and width; one number is both. Stored as a pair.
    crop : float in (0, 1], optional
        The share of the image that is seen: the largest window of the new shape in its middle,
        times this. None sees all of it, and squeezes where the shapes differ.
    interpolation : {"bilinear", "bicubic"}
        The filter; see `lamina.functions.resampling`.
    channels : int, optional
        c'; an image of one channel is repeated so often. None keeps them.
    """

    size: int | Sequence[int]
    crop: float | None = None
    interpolation: str = "bilinear"
    channels: int | None = None
    kind: ClassVar[str] = "resize"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", per_axis("Resize size", self.size, 2))
        check_choice("Resize interpolation", self.interpolation, REACH)
        if self.crop is not None:
            check_number("Resize crop", self.crop, above=0, at_most=1)
        if self.channels is not None:
            check_number("Resize channels", self.channels, at_least=1, whole=True)

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return ``(h', w', c')``."""
        if len(input_shape) != 3:
            raise InputError(
                f"{name} expected samples that are images (h, w, c), got samples of shape "
                f"{input_shape}. Reshape them."
            )
        found, wanted = input_shape[-1], self.channels or input_shape[-1]
        if found not in (1, wanted):
            raise InputError(
                f"{name} expected images of {wanted} channels or one, got {found} channels. "
                "Convert them to RGB."
            )
        return (*self._pair, wanted)

    @property
    def _pair(self) -> tuple[int, int]:
        return self.size  # type: ignore

    def apply(self, weights, statistics, X, context):
        """Return the images (n, h', w', c')."""
        for axis, matrix in enumerate(self.matrices((X.shape[1], X.shape[2]))):
            if matrix is not None:
                product = jnp.tensordot(jnp.asarray(matrix, X.dtype), X, ((1,), (axis + 1,)))
                X = jnp.moveaxis(product, 0, axis + 1)
        repeats = self.output_shape(X.shape[1:], self.kind)[-1] // X.shape[-1]
        return jnp.repeat(X, repeats, axis=-1) if repeats > 1 else X, statistics

    def matrices(self, size: tuple[int, int]) -> list[np.ndarray | None]:
        """Return R (h', h) and C (w', w) for images of ``size``; None for the identity."""
        seen = [float(size[0]), float(size[1])]
        if self.crop is not None:
            side = min(seen[axis] / self._pair[axis] for axis in (0, 1)) * self.crop
            seen = [side * self._pair[axis] for axis in (0, 1)]
        found: list[np.ndarray | None] = []
        for axis in (0, 1):
            cells, wanted, start = size[axis], self._pair[axis], (size[axis] - seen[axis]) / 2
            same = cells == wanted and start == 0
            part = start, start + seen[axis]
            found.append(
                None if same else resampling_matrix(cells, wanted, self.interpolation, *part)
            )
        return found
