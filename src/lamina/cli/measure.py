"""Test figures of a fitted estimator, as commands print them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.cli.show import MOST_CLASSES_SHOWN, confusion_table, console, table
from lamina.errors import InputError
from lamina.estimators.classifier import Classifier
from lamina.formats.dataset import Dataset


def headline(model: Any, data: Dataset) -> str:
    """Return the one figure that matters: accuracy, or R² with the root mean square error."""
    if isinstance(model, Classifier):
        return f"accuracy {model.score(data.X, data.y):.4f} on {len(data):,} rows"
    error = np.asarray(data.y, np.float64) - model.predict(data.X)
    rmse = float(np.sqrt(np.mean(error**2)))
    return f"R² {model.score(data.X, data.y):.4f}, RMSE {rmse:.4g} on {len(data):,} rows"


def details(model: Any, data: Dataset) -> None:
    """Print what is behind it: precision and recall by class and the confusion, or the errors."""
    if isinstance(model, Classifier):
        _classes(model, data)
    else:
        _values(model, data)


def confusion_of(model: Any, data: Dataset) -> np.ndarray:
    """Return the confusion matrix (K, K): true classes down, predicted ones across."""
    if not isinstance(model, Classifier):
        raise InputError(
            f"A confusion matrix expected a classifier, got {type(model).__name__}. Drop --png."
        )
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(data.y, model.predict(data.X), labels=model.classes_)


def _classes(model: Classifier, data: Dataset) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    found = model.predict(data.X)
    labels = model.classes_
    parts = precision_recall_fscore_support(data.y, found, labels=labels, zero_division=0)  # type: ignore
    rows = [
        [label, f"{p:.3f}", f"{r:.3f}", f"{f:.3f}", f"{int(n):,}"]
        for label, p, r, f, n in zip(labels, *map(np.asarray, parts), strict=True)
    ]
    console().print(table(["class", "precision", "recall", "F1", "rows"], rows))
    if found.ndim == 1 and len(labels) <= MOST_CLASSES_SHOWN:
        console().print(confusion_table(confusion_of(model, data), labels.tolist()))


def _values(model: Any, data: Dataset) -> None:
    y = np.asarray(data.y, np.float64).reshape(len(data), -1)
    error = y - model.predict(data.X).reshape(y.shape)
    names = model.target_names_ or [f"target {j}" for j in range(y.shape[1])]
    spread = np.maximum(((y - y.mean(axis=0)) ** 2).sum(axis=0), 1e-300)
    rows = [
        [
            name,
            f"{np.sqrt(np.mean(e**2)):.4g}",
            f"{np.mean(np.abs(e)):.4g}",
            f"{np.median(np.abs(e)):.4g}",
            f"{1 - (e**2).sum() / s:.4f}",
        ]
        for name, e, s in zip(names, error.T, spread, strict=True)
    ]
    console().print(table(["target", "RMSE", "mean |error|", "median |error|", "R²"], rows))
