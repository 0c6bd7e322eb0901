"""What is known of users or items beside their interactions: numbers by label, as matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import InputError
from lamina.factorization.labels import UNKNOWN, Labels

if TYPE_CHECKING:
    from jaxtyping import Float


def named_by(given: Any, what: str) -> list[Any]:
    """Return the labels that features are given for."""
    if given is None:
        return []
    return list(_parts(given, what)[0])


def _parts(given: Any, what: str) -> tuple[Any, Any]:
    """Return labels and numbers."""
    if hasattr(given, "columns") and hasattr(given, "index"):
        return given.index, given.to_numpy()
    if isinstance(given, tuple) and len(given) == 2:
        return given
    raise InputError(
        f"{what}_features expected a DataFrame with labels as its index, or a tuple (labels, "
        f"array), got {type(given).__name__}."
    )


def feature_matrix(given: Any, labels: Labels, what: str) -> Float[np.ndarray, "n f"]:
    """Return the features of each label, standardised; zeros for those without any.

    Parameters
    ----------
    given : DataFrame with labels as its index, or tuple (labels, array of shape (r, f))
        Numbers.
    labels : Labels
        Of the rows wanted.
    what : str
        "user" or "item", for errors.

    Returns
    -------
    float32 array of shape (n, f)
        Columns have mean 0 and variance 1 over what was given; a constant column is zeros.
    """
    names, values = _parts(given, what)
    try:
        values = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{what}_features expected numbers, got others: {error}. Encode text as columns of 0 "
            "and 1: pandas.get_dummies."
        ) from None
    if values.ndim != 2 or 0 in values.shape or len(values) != len(names):
        raise InputError(
            f"{what}_features expected a row of numbers for each of {len(names)} labels, got shape "
            f"{values.shape}."
        )
    if not np.isfinite(values).all():
        raise InputError(f"{what}_features expected finite numbers, got NaN or infinity.")
    theirs, codes = Labels.of(names, what)
    if len(theirs) != len(names):
        raise InputError(f"{what}_features expected each label once, got one repeated.")
    deviation = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    rows = np.empty(len(names), np.int64)
    rows[codes] = np.arange(len(names))
    found = theirs.codes(labels.values, what)
    made = np.where((found == UNKNOWN)[:, None], 0, values[rows[found]])
    return made.astype(np.float32)
