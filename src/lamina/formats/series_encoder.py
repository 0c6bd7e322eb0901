"""Series of numbers, standardised channel by channel over all steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from lamina.errors import InputError
from lamina.formats.encoder_checks import check_fitted
from lamina.formats.readings import Reading, reading_document, reading_from_document
from lamina.formats.series_checks import as_steps, first_unlike, first_wrong, is_listed, is_whole
from lamina.formats.standardization import entries_of, fits_float32, learned, standardized


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
    reading : LongTable or SoundFrames, optional
        How files were read for it, so that later ones are read alike.
    """

    kind: ClassVar[str] = "series"
    standardize: bool = True
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    reading: Reading | None = None

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
        _check_channels(series, m, f"as in series 0 (X[0] has shape {np.shape(X[0])})")
        _check_entries(series, series)
        columns = (np.concatenate([each[:, j] for each in series]) for j in range(m))
        mean, scale = learned(columns, self.standardize)
        return replace(self, mean=mean, scale=scale)

    def transform(self, X: Sequence[np.ndarray] | np.ndarray) -> Any:
        """Return float32 series: a list of arrays (t_i, m) for a list, an array for an array."""
        check_fitted(self, bool(self.mean))
        mean, scale = np.array(self.mean), np.array(self.scale)
        series = _series(X)
        _check_channels(series, len(self.mean), "as in its fit")
        encoded = [standardized(each, mean, scale) for each in series]
        _check_entries(encoded, series)
        if isinstance(X, np.ndarray) and X.ndim == 3:
            return np.stack(encoded) if encoded else np.empty(X.shape, np.float32)
        return encoded

    @property
    def input_width(self) -> int:
        """Number of channels, m."""
        return len(self.mean)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The channels' names where the files had them, else ``channel 0`` to ``channel m-1``."""
        names = getattr(self.reading, "channels", ())
        if len(names) == len(self.mean):
            return names
        return tuple(f"channel {j}" for j in range(len(self.mean)))

    def to_document(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        document = {"kind": self.kind, **asdict(self)}
        return {**document, "reading": reading_document(self.reading)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        return cls(*entries_of(document), reading_from_document(document))


def _series(X: Any) -> list[np.ndarray]:
    """Return numeric arrays (t_i, m), none of them empty."""
    if not is_listed(X) and not (isinstance(X, np.ndarray) and X.ndim == 3):
        got = f"an array of shape {X.shape}" if hasattr(X, "shape") else type(X).__name__
        raise InputError(
            f"SeriesEncoder expected a list of arrays (t, m) or an array (n, t, m), got {got}. "
            f"Give series of one channel as X[:, :, None]."
        )
    series = []
    for i, each in enumerate(X):
        try:
            array = as_steps(np.asarray(each))
        except ValueError:  # rows of unequal length
            array = np.empty((0, 1), object)
        if array.ndim != 2 or array.dtype.kind not in "buif":
            raise InputError(
                f"SeriesEncoder expected numeric series of shape (t, m), got {array.dtype} of "
                f"shape {array.shape} in series {i} (X[{i}]). Convert it: X[{i}].astype(float)."
            )
        if not is_whole(array):
            raise InputError(
                f"SeriesEncoder expected at least one step and one channel in every series, got "
                f"shape {array.shape} in series {i} (X[{i}]). Leave it out."
            )
        series.append(array)
    return series


def _check_channels(series: list[np.ndarray], m: int, why: str) -> None:
    i = first_unlike(series, m)
    if i is not None:
        raise InputError(
            f"SeriesEncoder expected series with {m} channels, {why}, got shape {series[i].shape} "
            f"in series {i} (X[{i}]). Give the same channels in the same order."
        )


def _check_entries(encoded: list[np.ndarray], series: list[np.ndarray]) -> None:
    wrong = first_wrong(encoded, fits_float32)
    if wrong is not None:
        i, t, j = wrong
        raise InputError(
            f"SeriesEncoder expected finite numbers within float32's range, got {series[i][t, j]} "
            f"in series {i}, step {t}, channel {j} (X[{i}][{t}, {j}]). Fill it in or leave the "
            f"series out."
        )
