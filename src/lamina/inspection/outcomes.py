"""What a model makes of labelled data: what it predicts, how well, and where it errs most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.inspection.calibration import Calibration, calibration

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Classified:
    """Predicted and true classes.

    Parameters
    ----------
    classes : tuple of K str
        Their names.
    true, found : int array of shape (n,)
        Class numbers.
    probabilities : array of shape (n, K), or None
        Of the classes; None where the loss gives none.
    """

    classes: tuple[str, ...]
    true: Int[np.ndarray, " n"]
    found: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n K"] | None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.true)

    @cached_property
    def confusion(self) -> Int[np.ndarray, "K K"]:
        """Counts: true classes down, predicted ones across."""
        counts = np.zeros((len(self.classes),) * 2, int)
        np.add.at(counts, (self.true, self.found), 1)
        return counts

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return float(np.mean(self.true == self.found))

    @property
    def calibration(self) -> Calibration | None:
        """Confidence against accuracy; None without probabilities."""
        if self.probabilities is None:
            return None
        return calibration(self.probabilities.max(axis=1), self.true == self.found)

    def worst(self, count: int) -> Int[np.ndarray, " r"]:
        """Return the wrong rows, those first whose true class was given the least probability."""
        wrong = np.flatnonzero(self.true != self.found)
        if self.probabilities is not None:
            wrong = wrong[np.argsort(self.probabilities[wrong, self.true[wrong]], kind="stable")]
        return wrong[:count]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Predicted and true yes-or-no labels.

    Parameters
    ----------
    classes : tuple of K str
        The labels' names.
    true, found : bool array of shape (n, K)
        Which labels a row has.
    probabilities : array of shape (n, K), or None
        Of each label.
    """

    classes: tuple[str, ...]
    true: np.ndarray
    found: np.ndarray
    probabilities: Float[np.ndarray, "n K"] | None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.true)

    @property
    def accuracy(self) -> float:
        """The share of rows whose labels are all right."""
        return float(np.mean((self.true == self.found).all(axis=1)))

    @property
    def calibration(self) -> Calibration | None:
        """Confidence in each label against its accuracy; None without probabilities."""
        if self.probabilities is None:
            return None
        confidence = np.maximum(self.probabilities, 1 - self.probabilities)
        return calibration(confidence.ravel(), (self.true == self.found).ravel())

    def worst(self, count: int) -> Int[np.ndarray, " r"]:
        """Return the rows with most labels wrong."""
        wrong = (self.true != self.found).sum(axis=1)
        return np.argsort(-wrong, kind="stable")[: min(count, int((wrong > 0).sum()))]


@dataclass(frozen=True, eq=False)
class Estimated:
    """Predicted and true values.

    Parameters
    ----------
    names : tuple of k str
        The targets'.
    true, found : array of shape (n, k)
        In the units of y.
    """

    names: tuple[str, ...]
    true: Float[np.ndarray, "n k"]
    found: Float[np.ndarray, "n k"]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.true)

    @property
    def errors(self) -> Float[np.ndarray, "n k"]:
        """Predicted minus true."""
        return self.found - self.true

    @property
    def r2(self) -> Float[np.ndarray, " k"]:
        """The share of each target's variance that is explained; NaN for one without any."""
        spread = ((self.true - self.true.mean(axis=0)) ** 2).sum(axis=0)
        return 1 - (self.errors**2).sum(axis=0) / np.where(spread > 0, spread, np.nan)

    def worst(self, count: int) -> Int[np.ndarray, " r"]:
        """Return the rows of greatest error, in standard deviations of the targets."""
        spread = np.maximum(self.true.std(axis=0), 1e-300)
        return np.argsort(-np.abs(self.errors / spread).max(axis=1), kind="stable")[:count]


Outcome = Classified | Labelled | Estimated


def per_class(true: np.ndarray, found: np.ndarray) -> list[tuple[float, float, float, int]]:
    """Return precision, recall, their harmonic mean F₁ and the true rows, of each class.

    Parameters
    ----------
    true, found : bool array of shape (n, K)
        Which classes a row has; shares of nothing are 0.
    """
    hits, called, there = (true & found).sum(axis=0), found.sum(axis=0), true.sum(axis=0)
    precision = hits / np.maximum(called, 1)
    recall = hits / np.maximum(there, 1)
    f1 = 2 * hits / np.maximum(called + there, 1)
    return list(zip(precision.tolist(), recall.tolist(), f1.tolist(), there.tolist(), strict=True))


def outcome(model: Any, X: Any, y: Any) -> Outcome:
    """Return what a model predicts for data, beside what is true.

    Parameters
    ----------
    model : estimator
        A fitted classifier or regressor.
    X, y
        Data as `fit` takes them.

    Raises
    ------
    InputError
        For unusable data, classes unseen in training among it.
    """
    targets = np.asarray(model.as_trained(X, y)[-1])
    if not hasattr(model, "classes_"):
        true, found = (
            np.asarray(values, np.float64).reshape(len(targets), -1)
            for values in (y, model.predict(X))
        )
        names = model.target_names_ or [f"target {j}" for j in range(true.shape[1])]
        return Estimated(_text(names), true, found)
    probabilities = model.predict_proba(X) if hasattr(model, "predict_proba") else None
    classes = _text(model.classes_)
    if targets.ndim == 2:
        if len(model.target_names_ or ()) == len(classes):
            classes = _text(model.target_names_)
        found = model.predict(X) if probabilities is None else probabilities > 0.5
        return Labelled(classes, targets > 0.5, np.asarray(found) > 0, probabilities)
    if probabilities is None:
        found = np.searchsorted(model.classes_, model.predict(X))
    else:
        found = probabilities.argmax(axis=1)
    return Classified(classes, targets.astype(int), found, probabilities)


def _text(names: Sequence[object] | np.ndarray) -> tuple[str, ...]:
    return tuple(map(str, names))
