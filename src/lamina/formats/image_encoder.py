"""Images as rows of numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from lamina.errors import InputError
from lamina.formats.encoder_checks import LIST, check_fitted, entry, positive_integer, wrong_entry


@dataclass(frozen=True)
class ImageEncoder:
    """Images as rows of numbers: ``uint8`` divided by 255, floating numbers as they are.

    Parameters
    ----------
    image_shape : tuple (h, w, c) or None
        What ``fit`` has learned; None before.
    """

    kind: ClassVar[str] = "images"
    image_shape: tuple[int, int, int] | None = None

    def fit(self, X: np.ndarray) -> Self:
        """Return a copy that knows the shape of images (n, h, w, c) or (n, h, w)."""
        X = np.asarray(X)
        if X.ndim not in (3, 4) or 0 in X.shape:
            raise InputError(
                f"ImageEncoder expected images of shape (n, h, w, c) or (n, h, w), got shape "
                f"{X.shape}. Reshape them: X.reshape(-1, h, w, c)."
            )
        _check_pixels(X)
        h, w, c = (*X.shape[1:], 1)[:3]
        return replace(self, image_shape=(h, w, c))

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return float32 of shape (n, h w c), from images or from rows already flat."""
        h, w, c = self._shape
        X = np.asarray(X)
        if X.shape[1:] not in ((h, w, c), (h * w * c,)) and (X.shape[1:], c) != ((h, w), 1):
            raise InputError(
                f"ImageEncoder expected images of shape ({h}, {w}, {c}), as in its fit, got X of "
                f"shape {X.shape}. Resize the images or fit anew."
            )
        _check_pixels(X)
        flat = X.reshape(len(X), h * w * c)
        if X.dtype == np.uint8:
            scaled = flat.astype(np.float32)
            scaled /= 255  # half the time of np.divide(flat, 255, dtype=np.float32)
            return scaled
        with np.errstate(over="ignore"):
            flat = flat.astype(np.float32)
        wrong = np.flatnonzero(~np.isfinite(flat).all(axis=1))
        if len(wrong):
            raise InputError(
                f"ImageEncoder expected finite numbers, got NaN or infinity in image {wrong[0]} "
                f"(X[{wrong[0]}]). Repair or leave out that image."
            )
        return flat

    @property
    def input_width(self) -> int:
        """Numbers in an image, h w c."""
        return math.prod(self._shape)

    @property
    def output_names(self) -> tuple[str, ...]:
        """``pixel 3,4,0`` for row 3, column 4, channel 0."""
        return tuple("pixel " + ",".join(map(str, at)) for at in np.ndindex(self._shape))

    def to_document(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        shape = entry(document, "image_shape", LIST | None)
        if shape is None:
            return cls()
        if len(shape) != 3:
            raise wrong_entry("image_shape", "three whole numbers", shape)
        h, w, c = (positive_integer(size, "image_shape") for size in shape)
        return cls((h, w, c))

    @property
    def _shape(self) -> tuple[int, int, int]:
        check_fitted(self, self.image_shape is not None)
        return self.image_shape or (0, 0, 0)


def _check_pixels(X: np.ndarray) -> None:
    if X.dtype != np.uint8 and X.dtype.kind != "f":
        raise InputError(
            f"ImageEncoder expected uint8 or floating images, got {X.dtype}. "
            f"Convert them: X.astype('uint8') for numbers from 0 to 255."
        )
