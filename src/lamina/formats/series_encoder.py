"""Series of numbers, standardised channel by channel over all steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from lamina.errors import InputError
from lamina.formats.encoder_checks import LIST, check_fitted, entry, finite, wrong_entry
from lamina.formats.standardization import fits_float32, mean_and_scale, standardized


@dataclass(frozen=True)
class SeriesEncoder:
    """Series of m channels, each channel standardised: ``(X - mean) / scale``.

    Mean and scale are those of all steps of all series in training, a long series weighing more.

    Parameters
    ----------
    standardize : bool
        False takes the numbers as they are (mean 0, scale 1).
    mean, scale : tuples of m floats
        What ``fit`` has learned; empty before. A constant channel has scale 1.
    """

    kind: ClassVar[str] = "series"
    standardize: bool = True
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def fit(self, X: Sequence[np.ndarray] | np.ndarray) -> Self:
        """Return a copy that has learned mean and scale of each channel.

        Parameters
        ----------
        X : list of n arrays of shape (t_i, m) or (t_i,), or array of shape (n, t, m)
            Series; one of shape (t_i,) has one channel.
        """
        series = _series(X)
        if not series:
            raise InputError("SeriesEncoder expected at least one series, got none.")
        m = series[0].shape[1]
        for i, each in enumerate(series):
            _check_channels(each, i, m, f"as in series 0 (X[0] has shape {np.shape(X[0])})")
            _check_entries(each, each, i)
        pairs = [(0.0, 1.0)] * m
        if self.standardize:
            columns = (np.concatenate([each[:, j] for each in series]) for j in range(m))
            pairs = [mean_and_scale(column.astype(np.float64)) for column in columns]
        mean, scale = zip(*pairs, strict=True)
        return replace(self, mean=mean, scale=scale)

    def transform(self, X: Sequence[np.ndarray] | np.ndarray) -> Any:
        """Return float32 series: a list of arrays (t_i, m) for a list, an array for an array."""
        check_fitted(self, bool(self.mean))
        mean, scale = np.array(self.mean), np.array(self.scale)
        encoded = []
        for i, each in enumerate(_series(X)):
            _check_channels(each, i, len(self.mean), "as in its fit")
            Z = standardized(each, mean, scale)
            _check_entries(Z, each, i)
            encoded.append(Z)
        if isinstance(X, np.ndarray) and X.ndim == 3:
            return np.stack(encoded) if encoded else np.empty(X.shape, np.float32)
        return encoded

    @property
    def input_width(self) -> int:
        """Number of channels, m."""
        return len(self.mean)

    @property
    def output_names(self) -> tuple[str, ...]:
        """``channel 0`` to ``channel m-1``."""
        return tuple(f"channel {j}" for j in range(len(self.mean)))

    def to_document(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        mean = tuple(finite(v, "mean") for v in entry(document, "mean", LIST))
        scale = tuple(finite(v, "scale", above=0) for v in entry(document, "scale", LIST))
        if len(mean) != len(scale):
            raise wrong_entry("scale", f"{len(mean)} numbers, as in 'mean'", len(scale))
        return cls(entry(document, "standardize", bool), mean, scale)


def _series(X: Any) -> list[np.ndarray]:
    """Return numeric arrays (t_i, m), none of them empty."""
    whole = isinstance(X, np.ndarray) and (X.ndim == 3 or (X.ndim == 1 and X.dtype == object))
    if not whole and not isinstance(X, list | tuple):
        got = f"an array of shape {X.shape}" if hasattr(X, "shape") else type(X).__name__
        raise InputError(
            f"SeriesEncoder expected a list of arrays (t, m) or an array (n, t, m), got {got}. "
            f"Give series of one channel as X[:, :, None]."
        )
    series = []
    for i, each in enumerate(X):
        try:
            array = np.asarray(each)
        except ValueError:  # rows of unequal length
            array = np.empty(0, object)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or array.dtype.kind not in "buif":
            raise InputError(
                f"SeriesEncoder expected numeric series of shape (t, m), got {array.dtype} of "
                f"shape {array.shape} in series {i} (X[{i}]). Convert it: X[{i}].astype(float)."
            )
        if 0 in array.shape:
            raise InputError(
                f"SeriesEncoder expected at least one step and one channel in every series, got "
                f"shape {array.shape} in series {i} (X[{i}]). Leave it out."
            )
        series.append(array)
    return series


def _check_channels(series: np.ndarray, i: int, m: int, why: str) -> None:
    if series.shape[1] != m:
        raise InputError(
            f"SeriesEncoder expected series with {m} channels, {why}, got shape {series.shape} in "
            f"series {i} (X[{i}]). Give the same channels in the same order."
        )


def _check_entries(encoded: np.ndarray, series: np.ndarray, i: int) -> None:
    wrong = ~fits_float32(encoded)
    if wrong.any():
        t, j = np.argwhere(wrong)[0]
        raise InputError(
            f"SeriesEncoder expected finite numbers within float32's range, got {series[t, j]} in "
            f"series {i}, step {t}, channel {j} (X[{i}][{t}, {j}]). Fill it in or leave the series "
            f"out."
        )
