"""A fitted estimator around a network whose weights came from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.errors import InputError, check_choice
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.classifier import Classifier
from lamina.estimators.network import NetworkClassifier, NetworkRegressor
from lamina.estimators.recurrent import RecurrentClassifier, RecurrentRegressor
from lamina.functions.losses import loss
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.pointwise import Activation
from lamina.layers.sequential import Sequential

KINDS: dict[str, type[NetworkEstimator]] = {
    kind.__name__: kind
    for kind in (NetworkClassifier, NetworkRegressor, RecurrentClassifier, RecurrentRegressor)
}


def ready_made(
    network: Layer,
    weights: Weights,
    statistics: Weights,
    input_shape: Shape,
    *,
    classes: Sequence[Any] | None = None,
    kind: str | None = None,
) -> NetworkEstimator:
    """Return a fitted estimator that was never fitted here.

    Parameters
    ----------
    network : Layer
        From samples to scores; a softmax at a classifier's end is left to its loss.
    weights, statistics : dict
        The network's.
    input_shape : tuple of int
        One sample's shape.
    classes : sequence, optional
        A classifier's classes, in the order of the scores; without any it is a regressor.
    kind : str, optional
        `NetworkClassifier` or `NetworkRegressor`; the `Recurrent…` ones take series of any length.
    """
    usual = "NetworkRegressor" if classes is None else "NetworkClassifier"
    cls = KINDS[check_choice("estimator", kind or usual, KINDS)]
    classifies = issubclass(cls, Classifier)
    scores = network.output_shape(input_shape, "network")
    if len(scores) != 1:
        raise InputError(
            f"The network expected to end in a vector of scores, got samples of shape {scores}. "
            "End it with a Dense layer, or read the bare network."
        )
    if classifies:
        network = _without_softmax(network)
        classes = list(range(scores[0])) if classes is None else list(classes)
        if len(classes) != scores[0]:
            raise InputError(
                f"classes expected {scores[0]} of them, one for each score, got {len(classes)}."
            )
        classes, weights = _sorted(classes, network, weights)
    elif classes is not None:
        raise InputError(f"{cls.__name__} expected no classes, got {len(classes)}.")
    options = {"network": network} if kind is None or kind.startswith("Network") else {}
    estimator = cls(**options)  # type: ignore[arg-type]
    estimator.network_, estimator.input_shape_ = network, tuple(input_shape)
    estimator.loss_ = loss("softmax" if classifies else "squared")
    estimator.history_, estimator.target_names_ = {}, None
    recurrent = cls in (RecurrentClassifier, RecurrentRegressor)
    estimator.n_features_in_ = input_shape[-1] if recurrent else math.prod(input_shape)
    estimator._keep(weights, statistics)
    estimator._adopt(_learned_classes(classes) if classes is not None else _unscaled(scores[0]))
    return estimator


def _without_softmax(network: Layer) -> Layer:
    if isinstance(network, Sequential) and network.layers[-1:] == (Activation("softmax"),):
        return Sequential(network.layers[:-1])
    return network


def _sorted(classes: Sequence[Any], network: Layer, weights: Weights) -> tuple[list, Weights]:
    """Return classes in the order that `Classifier` keeps, and weights whose scores have it too."""
    array = np.array(classes)
    if array.ndim != 1 or array.dtype.kind not in "iubfU" or len(np.unique(array)) < len(array):
        raise InputError(
            f"classes expected labels that differ, all text or all numbers, got {classes!r}."
        )
    order = np.argsort(array)
    if (order == np.arange(len(array))).all():
        return array.tolist(), weights
    last = network.layers[-1] if isinstance(network, Sequential) and network.layers else None
    if not isinstance(last, Dense) or last.activation not in ("linear", "sigmoid"):
        raise InputError(
            "classes expected sorted labels where the network does not end in a plain Dense layer, "
            f"got {classes!r}. Reorder the scores in it."
        )
    name = network.named()[-1][0]  # type: ignore[attr-defined]
    own = {key: np.ascontiguousarray(part[..., order]) for key, part in weights[name].items()}
    return array[order].tolist(), weights | {name: own}


def _learned_classes(classes: Sequence[Any]) -> dict[str, Any]:
    array = np.array(classes)
    return {"multilabel": False, "classes": array.tolist(), "kind": array.dtype.kind}


def _unscaled(outputs: int) -> dict[str, Any]:
    one = [1.0] * outputs
    return {"mean": [0.0] * outputs, "scale": one, "vector": outputs == 1, "dtype": "float32"}
