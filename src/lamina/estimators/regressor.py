"""What regressors share: real targets of one or more columns, their scale, and R²."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice
from lamina.estimators import validation
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.streaming import targets_of
from lamina.estimators.weighing import Weighing
from lamina.training.loop import Objective


@dataclass(kw_only=True, eq=False, repr=False)
class Regressor(NetworkEstimator):
    """Scores (n, k) for k real targets.

    Parameters
    ----------
    scale_target : bool
        Whether each target is trained at mean 0 and standard deviation 1. Predictions come back in
        the units of y; losses, the Huber delta and penalties are in those of the scaled target.
    **others
        See `NetworkEstimator`.

    Attributes
    ----------
    target_mean_, target_scale_ : arrays of shape (k,)
        What scores are multiplied by (scale) and moved by (mean).
    """

    scale_target: bool = True

    @property
    def _outputs(self) -> int:
        return len(self.target_mean_)

    def _usual_loss(self, targets: np.ndarray) -> str:
        return "squared"

    @property
    def _target(self) -> str:
        return "values"

    def _learned(self) -> dict[str, Any]:
        return {
            "mean": self.target_mean_.tolist(),
            "scale": self.target_scale_.tolist(),
            "vector": self._vector,
            "dtype": self._answer_dtype.name,
        }

    def _adopt(self, learned: dict[str, Any]) -> None:
        self.target_mean_ = np.array(learned["mean"], np.float64)
        self.target_scale_ = np.array(learned["scale"], np.float64)
        self._vector = bool(learned["vector"])
        dtypes = ["float16", "float32", "float64"]
        self._answer_dtype = np.dtype(check_choice("dtype", learned["dtype"], dtypes))
        if self.target_mean_.shape != self.target_scale_.shape:
            raise FileFormatError("the target's mean and scale expected one number a target each")

    def _fit_targets(self, y: Any, weight: np.ndarray | None = None) -> np.ndarray:
        values = validation.check_values(y)
        if weight is not None:
            validation.check_same_length(weight, values)
        self._learn_targets(values, getattr(y, "dtype", values.dtype), weight)
        return self._encode(values)

    def _learn_targets(self, values: np.ndarray, dtype: Any, weight: np.ndarray | None) -> None:
        self._learn_kind(values, dtype)
        columns = values.reshape(len(values), -1)
        mean = np.average(columns, axis=0, weights=weight)
        self._learn_scale(mean, np.average((columns - mean) ** 2, axis=0, weights=weight))

    def _learn_kind(self, values: np.ndarray, dtype: Any) -> None:
        self._vector = values.ndim == 1
        floating = np.dtype(dtype) if isinstance(dtype, np.dtype) else np.dtype(np.float64)
        self._answer_dtype = floating if floating.kind == "f" else np.dtype(self._dtype)

    def _learn_scale(self, mean: np.ndarray, variance: np.ndarray) -> None:
        self.target_mean_, self.target_scale_ = np.zeros(len(mean)), np.ones(len(mean))
        if self.scale_target:
            spread = np.sqrt(variance)
            self.target_mean_, self.target_scale_ = mean, np.where(spread > 0, spread, 1.0)

    def _survey(self, parts: Iterable[tuple], learn: bool) -> Weighing:
        """Learn mean and deviation of the targets, part by part.

        Source: Chan, Golub and LeVeque 1979, equations 2.1.
        """
        n = rows = 0.0
        mean: Any = 0.0
        squares: Any = 0.0
        for y, weight in parts:
            values = validation.check_values(y)
            columns = values.reshape(len(values), -1)
            w = np.ones(len(values)) if weight is None else weight
            if learn and not rows:
                self._learn_kind(values, getattr(y, "dtype", values.dtype))
            rows += len(values)
            if not (added := w.sum()):
                continue
            of_part = np.average(columns, axis=0, weights=w)
            squares = squares + w @ (columns - of_part) ** 2
            squares = squares + (of_part - mean) ** 2 * (n * added / (n + added))
            mean = mean + (of_part - mean) * (added / (n + added))
            n += added
        weighing = Weighing(None, n / rows, self._dtype)
        if learn:
            self._learn_scale(mean, squares / n)
        return weighing

    def _learn_of_first(self, y: Any, classes: Any) -> None:
        if classes is not None:
            raise InputError(
                f"{type(self).__name__} expected values and no classes, got {classes!r}. "
                "Leave classes out."
            )
        self._fit_targets(y)

    def _known_targets(self, y: Any) -> np.ndarray:
        return self._encode(validation.check_values(y))

    def _encode(self, values: np.ndarray) -> np.ndarray:
        columns = values.reshape(len(values), -1)
        if columns.shape[1] != self._outputs:
            raise InputError(
                f"y expected {self._outputs} target columns, as in training, "
                f"got {columns.shape[1]}."
            )
        return ((columns - self.target_mean_) / self.target_scale_).astype(self._dtype)

    def _objective(self) -> Objective:
        """Report the root mean square error in the units of y where there is one target."""
        objective = super()._objective()
        if self._outputs > 1:
            return objective
        scale = float(self.target_scale_[0])
        metric = replace(objective.metric, finish=lambda mean: math.sqrt(mean) * scale)
        return replace(objective, metric=metric)

    def partial_fit(self, X, y, sample_weight=None):
        """Take one pass over ``X``, keeping the weights and the optimiser's state between calls.

        The scale of the target is learned from the first call's ``y``.

        Parameters
        ----------
        X : array-like of shape (n, m)
            Inputs.
        y : array-like of shape (n,) or (n, k)
            Targets.
        sample_weight : array-like of shape (n,), optional
            Weights of the samples.
        """
        if not hasattr(self, "weights_"):
            self._fit_targets(y)
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X) -> np.ndarray:
        """Return predictions in the units of y, (n,) or (n, k), in y's floating dtype."""
        values = self._scores(X) * self.target_scale_ + self.target_mean_
        return (values[:, 0] if self._vector else values).astype(self._answer_dtype)

    def score(self, X, y=None, sample_weight=None) -> float:
        """Return R², averaged over targets; 1 is perfect, 0 is as good as the mean."""
        y, sample_weight = targets_of(X, y, sample_weight)
        from sklearn.metrics import r2_score

        return float(r2_score(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self):
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags()
        return tags
