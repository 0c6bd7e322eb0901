"""Calibration: whether what a classifier calls 80 % certain comes true in 80 of 100 cases.

Rows are sorted by confidence, the probability of the class that is predicted, and cut into bins of
as many rows each. A bin's confidence against its accuracy is a point of the reliability diagram;
the mean of their distance over all rows is the expected calibration error.

Sources: Niculescu-Mizil and Caruana 2005 (reliability diagrams); Naeini, Cooper and Hauskrecht
2015, equation 1 (expected calibration error); Nguyen and O'Connor 2015 (bins of equal counts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """Confidence against accuracy, by bins of equal counts.

    Parameters
    ----------
    confidence, accuracy : array of shape (bins,)
        The mean confidence of each bin, least first, and the share of its rows that came true.
    counts : int array of shape (bins,)
        Rows in each.
    """

    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    counts: Int[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        """The expected calibration error, ``Σ n_b |accuracy_b - confidence_b| / n``."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.average(gaps, weights=self.counts))

    @property
    def overconfident(self) -> bool:
        """Whether predictions are on average more confident than right."""
        return bool(np.average(self.confidence - self.accuracy, weights=self.counts) > 0)


def calibration(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = BINS
) -> Calibration:
    """Return how confidence compares with accuracy.

    Parameters
    ----------
    confidence : array of shape (n,)
        The probability of each row's predicted class.
    right : bool array of shape (n,)
        Whether the prediction came true.
    bins : int
        How many; fewer where there are fewer rows.

    Examples
    --------
    >>> calibration(np.array([0.5, 0.5, 0.9, 0.9]), np.array([1, 0, 1, 0]), bins=2).error
    0.2
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, bool)
    if confidence.ndim != 1 or confidence.shape != right.shape or not len(confidence):
        raise InputError(
            "calibration expected a confidence and an outcome for each row, got shapes "
            f"{confidence.shape} and {right.shape}."
        )
    order = np.argsort(confidence, kind="stable")
    groups = np.array_split(order, min(bins, len(order)))
    return Calibration(
        np.array([confidence[rows].mean() for rows in groups]),
        np.array([right[rows].mean() for rows in groups]),
        np.array([len(rows) for rows in groups]),
    )
