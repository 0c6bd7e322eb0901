"""Augmentation: images changed at random in each training step, and never at prediction.

These are layers, put before the first convolution: they run inside the compiled step, on whatever
device that is, and the run's random key makes them reproducible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lamina.errors import InputError, check_number
from lamina.layers.layer import Layer, Shape


@dataclass(frozen=True)
class _Augmentation(Layer):
    """A layer that changes images (n, h, w, c) in training alone."""

    @property
    def random(self) -> bool:
        """Whether training draws random numbers: always."""
        return True

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the input's shape."""
        if len(input_shape) != 3:
            raise InputError(
                f"{name} expected samples that are images (h, w, c), got samples of shape "
                f"{input_shape}. Put it before layers that flatten."
            )
        return input_shape

    def apply(self, weights, statistics, X, context):
        """Return the images changed, in training."""
        if not context.train:
            return X, statistics
        assert context.key is not None, "training with augmentation needs a key"
        return self._changed(X, context.key), statistics

    def _changed(self, X: Any, key: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class RandomFlip(_Augmentation):
    """Left and right exchanged in every second image, by chance."""

    kind: ClassVar[str] = "flip"

    def _changed(self, X, key):
        flipped = jax.random.bernoulli(key, 0.5, (len(X), 1, 1, 1))
        return jnp.where(flipped, X[:, :, ::-1], X)


@dataclass(frozen=True)
class RandomShift(_Augmentation):
    """Each image moved by up to ``most`` cells down and right, or up and left, over zeros.

    Source: pad and crop, as in He et al. 2016, section 4.2.

    Parameters
    ----------
    most : int
        Cells, in each direction.
    """

    most: int = 2
    kind: ClassVar[str] = "shift"

    def __post_init__(self) -> None:
        check_number("RandomShift most", self.most, at_least=1, whole=True)

    def _changed(self, X, key):
        around = (self.most, self.most)
        padded = jnp.pad(X, ((0, 0), around, around, (0, 0)))
        corners = jax.random.randint(key, (len(X), 2), 0, 2 * self.most + 1)

        def cropped(image, corner):
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), X.shape[1:])

        return jax.vmap(cropped)(padded, corners)


@dataclass(frozen=True)
class Cutout(_Augmentation):
    """A square of each image set to zero, its centre anywhere in the image.

    Source: DeVries and Taylor 2017, section 3.

    Parameters
    ----------
    size : int
        The square's side, in cells.
    """

    size: int = 8
    kind: ClassVar[str] = "cutout"

    def __post_init__(self) -> None:
        check_number("Cutout size", self.size, at_least=1, whole=True)

    def _changed(self, X, key):
        n, *sides, _ = X.shape
        covered = []
        for side, axis_key in zip(sides, jax.random.split(key), strict=True):
            centre = jax.random.randint(axis_key, (n, 1), 0, side)
            first = centre - self.size // 2
            cells = jnp.arange(side)[None, :]
            covered.append((cells >= first) & (cells < first + self.size))
        down, right = covered
        return jnp.where(down[:, :, None, None] & right[:, None, :, None], 0, X)
