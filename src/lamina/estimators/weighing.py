"""The weights of rows that are never all in memory at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.errors import InputError


@dataclass(frozen=True)
class Weighing:
    """How the weights of rows are made, so that their mean over all rows is 1.

    Parameters
    ----------
    by_class : array of shape (K,), or None
        The factor on each class; None for one each.
    mean : float > 0
        The mean of the weights before.
    dtype : NumPy floating type
        Of the result.
    """

    by_class: np.ndarray | None
    mean: float
    dtype: Any

    def __post_init__(self) -> None:
        if not self.mean > 0:
            raise InputError(
                "sample_weight expected at least one positive weight, got only zeros; "
                "all sample weights are zero."
            )

    def __call__(self, targets: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        """Return the weights of some rows; None where all are 1."""
        if self.by_class is not None:
            factor = self.by_class[targets]
            weight = factor if weight is None else factor * weight
        return None if weight is None else (weight / self.mean).astype(self.dtype)
