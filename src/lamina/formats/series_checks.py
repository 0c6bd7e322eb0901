"""Where series are not what they should be: the first one, its step and channel.

Who asks says it in words: the encoder of series, and the estimators that take them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def as_steps(array: np.ndarray) -> np.ndarray:
    """Return one series as an array (t, m): one of shape (t,) has one channel."""
    return array[:, None] if array.ndim == 1 else array


def is_whole(array: np.ndarray) -> bool:
    """Whether an array (t, m) has at least one step and one channel."""
    return array.ndim == 2 and 0 not in array.shape


def is_listed(X: Any) -> bool:
    """Whether X is a list, a tuple, or an array of objects (n,): what may hold series."""
    return isinstance(X, list | tuple) or (
        isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype == object
    )


def first_unlike(series: Iterable[np.ndarray], channels: int) -> int | None:
    """Return which series (t, m) is the first with another number of channels; None if none."""
    return next((i for i, each in enumerate(series) if each.shape[-1] != channels), None)


def first_wrong(
    values: Iterable[np.ndarray], fine: Callable[[Any], Any], lengths: np.ndarray | None = None
) -> tuple[int, int, int] | None:
    """Return series, step and channel of the first entry that is not fine; None if all are.

    Parameters
    ----------
    values : list of n arrays (t_i, m), or array of shape (n, t, m)
        Series of numbers.
    fine : callable (array) -> array of bool
        Which entries are: `np.isfinite`, or `fits_float32`.
    lengths : array of shape (n,), optional
        Steps of each series that are data; None for all.
    """
    for i, each in enumerate(values):
        wrong = ~fine(each if lengths is None else each[: lengths[i]])
        if wrong.any():
            t, j = np.argwhere(wrong)[0]
            return i, int(t), int(j)
    return None
