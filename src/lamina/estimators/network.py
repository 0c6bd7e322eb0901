"""Any composition of layers as an estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lamina.errors import InputError
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.classifier import Classifier
from lamina.estimators.regressor import Regressor
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape
from lamina.layers.sequential import Sequential


@dataclass(kw_only=True, eq=False, repr=False)
class _Network(NetworkEstimator):
    """The network that the user composed.

    Parameters
    ----------
    network : Layer, optional
        From inputs to scores, ending in as many as there are classes or targets. None is a
        perceptron with one hidden layer of 128 units.
    **others
        See `NetworkEstimator`.
    """

    network: Layer | None = None
    _any_rank: ClassVar[bool] = True

    def _network(self, input_shape: Shape, outputs: int) -> Layer:
        network = (
            Sequential([Dense(128, "relu"), Dense(outputs)])
            if self.network is None
            else self.network
        )
        if not isinstance(network, Layer):
            raise InputError(
                f"network expected a Layer, got {network!r}. Use Sequential([Dense(64, 'relu'), "
                f"Dense({outputs})])."
            )
        return network


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkClassifier(_Network, Classifier):
    """A classifier around any network, such as ``Sequential([Dense(64, "relu"), Dense(10)])``.

    Parameters
    ----------
    network : Layer
        From inputs to K scores.
    **others
        See `lamina.estimators.classifier.Classifier` and
        `lamina.estimators.base.NetworkEstimator`.
    """


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkRegressor(_Network, Regressor):
    """A regressor around any network.

    Parameters
    ----------
    network : Layer
        From inputs to k values.
    **others
        See `lamina.estimators.regressor.Regressor` and
        `lamina.estimators.base.NetworkEstimator`.
    """
