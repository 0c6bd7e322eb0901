"""Numeric arrays, standardised column by column."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from lamina.errors import InputError
from lamina.formats.encoder_checks import check_fitted
from lamina.formats.standardization import entries_of, fits_float32, learned, standardized

_BLOCK = 1024  # rows standardised at once, in float64


@dataclass(frozen=True)
class ArrayEncoder:
    """A numeric array, each column standardised: ``(X - mean) / scale``.

    Parameters
    ----------
    standardize : bool
        False takes the numbers as they are (mean 0, scale 1).
    mean, scale : tuples of m floats
        What ``fit`` has learned; empty before. A constant column has scale 1.
    """

    kind: ClassVar[str] = "array"
    standardize: bool = True
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def fit(self, X: np.ndarray) -> Self:
        """Return a copy that has learned mean and scale of an array of shape (n, m)."""
        X = _matrix(X)
        if 0 in X.shape:
            raise InputError(
                f"ArrayEncoder expected at least one row and one column, got shape {X.shape}."
            )
        _check_entries(X, X)
        mean, scale = learned(X.T, self.standardize)
        return replace(self, mean=mean, scale=scale)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return float32 of shape (n, m)."""
        check_fitted(self, bool(self.mean))
        X = _matrix(X)
        if X.shape[1] != len(self.mean):
            raise InputError(
                f"ArrayEncoder expected X with {len(self.mean)} columns, as in its fit, got shape "
                f"{X.shape}. Give the same columns in the same order."
            )
        mean, scale = np.array(self.mean), np.array(self.scale)
        Z = np.empty(X.shape, np.float32)
        for start in range(0, len(X), _BLOCK):
            block = slice(start, start + _BLOCK)
            Z[block] = standardized(X[block], mean, scale)
        _check_entries(Z, X)
        return Z

    @property
    def input_width(self) -> int:
        """Number of columns, m."""
        return len(self.mean)

    @property
    def output_names(self) -> tuple[str, ...]:
        """``x0`` to ``x(m-1)``."""
        return tuple(f"x{j}" for j in range(len(self.mean)))

    def to_document(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        return cls(*entries_of(document))


def _matrix(X: Any) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "buif":
        raise InputError(
            f"ArrayEncoder expected a numeric array of shape (n, m), got {X.dtype} of shape "
            f"{X.shape}. Convert it: np.asarray(X, float).reshape(n, m)."
        )
    return X


def _check_entries(encoded: np.ndarray, X: np.ndarray) -> None:
    wrong = ~fits_float32(encoded)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise InputError(
            f"ArrayEncoder expected finite numbers within float32's range, got {X[i, j]} in row "
            f"{i}, column {j} (X[{i}, {j}]). Fill it in or leave the row out."
        )
