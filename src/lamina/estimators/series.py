"""Series as users pass them to series as recurrent networks take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.formats.series_checks import as_steps, first_unlike, first_wrong, is_listed, is_whole
from lamina.layers.sequences import Sequences


def check_series(X: Any, dtype: Any, channels: int | None) -> np.ndarray | Sequences:
    """Return series as an array (n, t, m), or as `Sequences` where they differ in length.

    Parameters
    ----------
    X : list of arrays (t_i, m) or (t_i,), array of shape (n, t, m), or Sequences
        Series, all of m channels; a list of 1-D arrays of one channel.
    dtype : NumPy floating type
        What is computed in.
    channels : int, optional
        m, as in training; None learns it.

    Raises
    ------
    InputError
        For an empty series, another number of channels, NaN or infinity: which series it is.
    """
    if isinstance(X, Sequences):
        return _check_sequences(X, dtype, channels)
    if isinstance(X, np.ndarray) and X.ndim == 3:
        _check_channels(X[:1], channels)
        if 0 in X.shape:
            raise InputError(f"X expected at least one series and one step, got shape {X.shape}.")
        values = np.ascontiguousarray(X, dtype)
        _check_finite(values, None)
        return values
    if not _is_list_of_arrays(X):
        raise InputError(
            "X expected series: a list of arrays (t, m), an array (n, t, m) or Sequences, got "
            f"{_described(X)}. Pass series_shape=(t, m) to say what a row of numbers is."
        )
    series = [_one(each, i, dtype) for i, each in enumerate(X)]
    found = channels or series[0].shape[1]
    _check_channels(series, found)
    lengths = np.array([len(each) for each in series], np.int32)
    values = np.zeros((len(series), lengths.max(), found), dtype)
    for row, each in zip(values, series, strict=True):
        row[: len(each)] = each
    _check_finite(values, lengths)
    return values if lengths.min() == lengths.max() else Sequences(values, lengths)


def reshaped(X: np.ndarray, series_shape: Sequence[int]) -> np.ndarray:
    """Return rows of numbers (n, t·m) as series (n, t, m).

    Parameters
    ----------
    X : array of shape (n, t·m)
        One series a row, step by step.
    series_shape : pair of int
        (t, m); one of them may be -1.
    """
    told = tuple(series_shape)
    try:
        if len(told) != 2:
            raise ValueError
        return X.reshape(len(X), *np.empty(X.shape[1], np.bool_).reshape(told).shape)
    except (TypeError, ValueError):
        raise InputError(
            f"series_shape expected (t, m) with t·m = {X.shape[1]}, the columns of X, "
            f"got {series_shape!r}."
        ) from None


def are_rows(X: Any) -> bool:
    """Whether X is a matrix, or numbers that somebody forgot to make one."""
    rank = getattr(X, "ndim", 2)
    return rank == 2 or (rank == 1 and X.dtype != object)


def are_texts(X: Any) -> bool:
    """Whether X is a list, a 1-D array or a pandas Series of str."""
    listed = isinstance(X, list | tuple) or getattr(X, "ndim", 0) == 1
    return listed and len(X) > 0 and isinstance(next(iter(X)), str)


def padded_codes(codes: list[np.ndarray]) -> Sequences:
    """Return texts as codes (n, t), padded with zeros, and their lengths."""
    lengths = np.array([len(each) for each in codes], np.int32)
    values = np.zeros((len(codes), max(1, lengths.max())), np.int32)
    for row, each in zip(values, codes, strict=True):
        row[: len(each)] = each
    return Sequences(values, lengths)


def _one(each: Any, i: int, dtype: Any) -> np.ndarray:
    try:
        array = as_steps(np.asarray(each, dtype))
    except (TypeError, ValueError):
        raise InputError(f"X expected numbers, got something else in series {i}.") from None
    if not is_whole(array):
        raise InputError(
            f"X expected series of shape (t, m) with at least one step, got shape "
            f"{np.shape(each)} for series {i}. Leave it out."
        )
    return array


def _check_sequences(X: Sequences, dtype: Any, channels: int | None) -> Sequences:
    values, lengths = np.ascontiguousarray(X.values, dtype), np.asarray(X.lengths)
    if values.ndim != 3 or lengths.shape != (len(values),) or lengths.dtype.kind not in "iu":
        raise InputError(
            "Sequences expected values (n, t, m) and whole lengths (n,), got shapes "
            f"{values.shape} and {lengths.shape}."
        )
    wrong = np.flatnonzero((lengths < 1) | (lengths > values.shape[1]))
    if len(wrong):
        raise InputError(
            f"Sequences expected lengths from 1 to {values.shape[1]}, the padded steps, got "
            f"{lengths[wrong[0]]} for series {wrong[0]}."
        )
    _check_channels(values[:1], channels)
    _check_finite(values, lengths)
    return Sequences(values, lengths.astype(np.int32))


def _check_channels(series: Sequence[np.ndarray] | np.ndarray, channels: int | None) -> None:
    i = None if channels is None else first_unlike(series, channels)
    if i is not None:
        raise InputError(
            f"X expected {channels} channels in every series, got {series[i].shape[-1]} in series "
            f"{i}."
        )


def _check_finite(values: np.ndarray, lengths: np.ndarray | None) -> None:
    if np.isfinite(values.sum()):
        return
    wrong = first_wrong(values, np.isfinite, lengths)
    if wrong is not None:
        i, t, j = wrong
        raise InputError(
            f"X expected finite numbers, got {values[i, t, j]} in series {i}, step {t}, "
            f"channel {j}. Fill it in or leave the series out."
        )


def _is_list_of_arrays(X: Any) -> bool:
    if not is_listed(X) or not len(X):
        return False
    return isinstance(X, np.ndarray) or all(np.ndim(each) in (1, 2) for each in X)


def _described(X: Any) -> str:
    shape = getattr(X, "shape", None)
    return type(X).__name__ if shape is None else f"an array of shape {tuple(shape)}"
