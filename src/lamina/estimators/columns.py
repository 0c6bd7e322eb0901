"""Series as users pass them to columns of numbers, checked step by step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lamina.errors import InputError
from lamina.estimators.base import _names_of as names_of


class Columns(NamedTuple):
    """A series as an array (t, k), with what its columns are called."""

    values: np.ndarray
    names: tuple[str, ...] | None
    vector: bool


def columns(given: Any, who: str, what: str, length: int | None = None) -> Columns:
    """Return a series as float64 columns, all finite; no columns for None beside a series.

    Parameters
    ----------
    given : array-like of shape (t,) or (t, k), or None
        What the user passed.
    who, what : str
        For errors: the method, and what it expected.
    length : int, optional
        How many steps the series has that these columns stand beside.
    """
    if given is None and length is not None:
        return Columns(np.zeros((length, 0)), None, False)
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{who} expected {what} of numbers, got: {error}.") from None
    if values.ndim not in (1, 2) or 0 in values.shape[1:]:
        raise InputError(
            f"{who} expected {what} of shape (t,) or (t, k), got shape {values.shape}."
        )
    vector = values.ndim == 1
    values = values.reshape(len(values), -1)
    if length is not None and len(values) != length:
        raise InputError(
            f"exogenous expected {length} steps, as many as the series has, got {len(values)}."
        )
    names = names_of(given)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        step, column = wrong[0]
        of_column = "" if vector else f" of column {names[column] if names else column}"
        kind = "NaN" if np.isnan(values[step, column]) else "infinity"
        raise InputError(
            f"{who} expected {what} of finite numbers, got {kind} at step {step}{of_column}. "
            "Fill the gap, or cut the series there."
        )
    return Columns(values, names, vector)
