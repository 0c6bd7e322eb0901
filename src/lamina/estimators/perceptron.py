"""The multilayer perceptron: dense layers with an activation between, and scores at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from lamina.errors import InputError
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.classifier import Classifier
from lamina.estimators.regressor import Regressor
from lamina.functions.initializers import AUTO as AUTO_INIT
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape
from lamina.layers.pointwise import Dropout
from lamina.layers.sequential import Sequential


@dataclass(kw_only=True, eq=False, repr=False)
class _Perceptron(NetworkEstimator):
    """``A_l = σ(A_{l-1} W_l + b_l)`` for each hidden layer, then ``scores = A W + b``.

    Parameters
    ----------
    hidden : sequence of int
        Units of each hidden layer.
    activation : str
        σ, a key of `lamina.functions.activations.ACTIVATIONS`.
    init : str
        The scheme of the initial weights, a key of `lamina.functions.initializers.INITIALIZERS`;
        ``"auto"`` suits the activation.
    dropout : float in [0, 1)
        The share of each hidden layer's outputs dropped in training.
    **others
        See `NetworkEstimator`.
    """

    hidden: Sequence[int] = (256, 128)
    activation: str = "relu"
    init: str = AUTO_INIT
    dropout: float = 0.0
    penalty: str | None = "l2"
    schedule: str = "cosine"

    def _network(self, input_shape: Shape, outputs: int) -> Layer:
        if isinstance(self.hidden, Integral):
            raise InputError(
                f"hidden expected a sequence with the units of each hidden layer, got "
                f"{self.hidden}. Use hidden=({self.hidden},)."
            )
        layers: list[Layer] = []
        for units in self.hidden:
            layers.append(Dense(units, self.activation, self.init))
            if self.dropout:
                layers.append(Dropout(self.dropout))
        return Sequential([*layers, Dense(outputs, init="glorot")])


@dataclass(kw_only=True, eq=False, repr=False)
class MLPClassifier(_Perceptron, Classifier):
    """A multilayer perceptron that classifies.

    Parameters
    ----------
    hidden : sequence of int
        Units of each hidden layer.
    activation, init : str
        σ and the scheme of the initial weights.
    dropout : float in [0, 1)
        The share of hidden outputs dropped in training.
    **others
        See `lamina.estimators.classifier.Classifier` and
        `lamina.estimators.base.NetworkEstimator`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from lamina import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> model = MLPClassifier(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """


@dataclass(kw_only=True, eq=False, repr=False)
class MLPRegressor(_Perceptron, Regressor):
    """A multilayer perceptron that predicts real values.

    Parameters
    ----------
    hidden, activation, init, dropout
        As in `MLPClassifier`.
    **others
        See `lamina.estimators.regressor.Regressor` and
        `lamina.estimators.base.NetworkEstimator`.
    """
