"""The linear score function ``scores = X W + b``: classifier and regressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.estimators.base import AUTO, NetworkEstimator
from lamina.estimators.classifier import Classifier
from lamina.estimators.regressor import Regressor
from lamina.functions.losses import Hinge, loss
from lamina.functions.penalties import penalty
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape
from lamina.layers.sequential import Sequential
from lamina.training.optimizers import Optimizer
from lamina.training.schedules import Schedule

MOST_FULL_BATCH_SAMPLES = 10_000


@dataclass(kw_only=True, eq=False, repr=False)
class _Linear(NetworkEstimator):
    """One dense layer from zero weights.

    Parameters
    ----------
    optimizer : str or optax.GradientTransformation
        ``"auto"`` is lbfgs for up to 10,000 samples of a smooth objective, and adam for more
        samples, the hinge loss, an L1 penalty, and `partial_fit`.
    learning_rate : float > 0, optional
        None is the optimiser's usual one, and 1e-2 for adam.
    **others
        See `NetworkEstimator`.
    """

    penalty: str | None = "l2"
    optimizer: Any = AUTO
    schedule: str | Schedule = "cosine"

    def _network(self, input_shape: Shape, outputs: int) -> Layer:
        return Sequential([Dense(outputs, init="zeros")])

    def _optimizer_name(self, samples: int, *, partial: bool) -> Any:
        if not (isinstance(self.optimizer, str) and self.optimizer == AUTO):
            return self.optimizer
        smooth = not isinstance(loss(self.loss_), Hinge)
        smooth &= not penalty(self.penalty, self.alpha, self.l1_ratio).l1
        small = samples <= MOST_FULL_BATCH_SAMPLES
        return "lbfgs" if smooth and small and not partial else "adam"

    def _usual_rate(self, method: Optimizer) -> float:
        """Return ten times Adam's rate for networks: the problem is convex, and starts at zero."""
        return method.learning_rate * (10 if method.name in ("adam", "adamw") else 1)

    @property
    def coef_(self) -> np.ndarray:
        """Return ``W`` (m, K): column j scores class or target j (of the scaled target)."""
        return self.weights_["dense_0"]["W"]

    @property
    def intercept_(self) -> np.ndarray:
        """Return ``b`` (K,)."""
        return self.weights_["dense_0"]["b"]


@dataclass(kw_only=True, eq=False, repr=False)
class LinearClassifier(_Linear, Classifier):
    """Scores ``X W + b`` for K classes: softmax regression, or the multiclass SVM with ``"hinge"``.

    Parameters
    ----------
    **parameters
        See `lamina.estimators.classifier.Classifier` and
        `lamina.estimators.base.NetworkEstimator`; by default an L2 penalty and, where the
        objective is smooth, L-BFGS.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from lamina import LinearClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LinearClassifier(random_state=0).fit(X / 16, y)
    >>> model.weights_["dense_0"]["W"].shape
    (64, 10)
    """


@dataclass(kw_only=True, eq=False, repr=False)
class LinearRegressor(_Linear, Regressor):
    """Predicts ``X W + b``: least squares, or with ``"absolute"`` or ``"huber"`` a robust fit.

    Parameters
    ----------
    **parameters
        See `lamina.estimators.regressor.Regressor` and
        `lamina.estimators.base.NetworkEstimator`; by default an L2 penalty and L-BFGS.
    """
