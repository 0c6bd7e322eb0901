"""A fitted estimator as an ONNX file: encoder, network, and what ``predict`` makes of scores.

The graph computes in float32, the encoder's standardisation and a regressor's units in float64, as
the estimators do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.classifier import Classifier
from lamina.estimators.forecaster import Forecaster
from lamina.estimators.language import CharacterModel
from lamina.estimators.recurrent import RecurrentClassifier, RecurrentRegressor
from lamina.estimators.regressor import Regressor
from lamina.formats.onnx.export import SCORES, axes_of, check_installed, hand_out, write_onnx
from lamina.formats.onnx.graph import ROWS, Graph, Value, written
from lamina.formats.onnx.inputs import INPUT, samples
from lamina.formats.onnx.rules import write_layer
from lamina.formats.text_encoder import TextEncoder
from lamina.functions.losses import Hinge

PROBABILITIES, LABEL, PREDICTION, FORECAST = "probabilities", "label", "prediction", "forecast"


def export_onnx(
    estimator: NetworkEstimator,
    path: str | Path,
    *,
    lengths: bool | None = None,
    encoder: bool = True,
) -> None:
    """Write a fitted estimator to an ONNX file.

    Parameters
    ----------
    estimator : NetworkEstimator
        Any of Lamina's, fitted.
    path : path
        The file, replaced in one step.
    lengths : bool, optional
        Whether series differ in length, told by an input ``lengths`` (n,) of int32; None does so
        for `RecurrentClassifier` and `RecurrentRegressor`.
    encoder : bool
        Whether the estimator's encoder is written out before the network.

    Raises
    ------
    InputError
        For an estimator that is not fitted or a layer without operators, by name; and where the
        package ``onnx`` is missing.

    Notes
    -----
    Inputs: ``X`` (n, …) float32, for texts int64 codes, for images with an encoder uint8 (n, h, w,
    c); for a table one input (n, 1) for each column, float32 with NaN where missing or text; for a
    forecaster windows (n, window, columns) of float64. Outputs: a classifier's ``scores``,
    ``probabilities`` (unless its loss has none) and ``label``; a regressor's ``prediction``; a
    forecaster's ``forecast`` (n, horizon, series); a language model's ``scores`` and
    ``probabilities`` at each step.
    """
    check_installed()
    if not hasattr(estimator, "weights_"):
        raise InputError(
            f"export_onnx expected a fitted {type(estimator).__name__}, got one without weights. "
            "Call fit first."
        )
    if lengths is None:
        lengths = isinstance(estimator, RecurrentClassifier | RecurrentRegressor)

    def build(graph: Graph) -> None:
        if isinstance(estimator, Forecaster):
            _forecasts(graph, estimator)
            return
        used = getattr(estimator, "encoder_", None) if encoder else None
        shape = estimator.input_shape_
        X = samples(graph, estimator.network_, shape, lengths, used)
        if isinstance(used, TextEncoder):
            graph.metadata["vocabulary"] = json.dumps(used.vocabulary.to_document())
        scores = _scores(graph, estimator, X)
        if isinstance(estimator, Classifier):
            _classes(graph, estimator, hand_out(graph, scores, SCORES))
        elif isinstance(estimator, Regressor):
            _values(graph, estimator, scores)
        elif isinstance(estimator, CharacterModel):
            graph.metadata["vocabulary"] = json.dumps(estimator.vocabulary_.to_document())
            _probabilities(graph, "Softmax", hand_out(graph, scores, SCORES))
        else:
            raise InputError(
                f"export_onnx expected one of Lamina's estimators, got {type(estimator).__name__}."
            )

    write_onnx(written(type(estimator).__name__, build), path)


def _scores(graph: Graph, estimator: NetworkEstimator, X: Value) -> Value:
    return write_layer(graph, estimator.network_, estimator.weights_, estimator.statistics_, X)


def _probabilities(graph: Graph, operator: str, scores: Value) -> None:
    settings = {"axis": -1} if operator == "Softmax" else {}
    made = graph.node(operator, [scores.name], PROBABILITIES, **settings)
    graph.output(made, PROBABILITIES, np.float32, axes_of(scores))


def _classes(graph: Graph, estimator: Classifier, scores: Value) -> None:
    """Write probabilities, and the class of the highest score or the labels above one half."""
    multilabel, classes = estimator._multilabel, estimator.classes_
    if not isinstance(estimator.loss_, Hinge):
        _probabilities(graph, "Sigmoid" if multilabel else "Softmax", scores)
    if multilabel:
        zero = graph.constant(np.array(0.0), f"{LABEL}/zero")
        label = graph.cast(graph.node("Greater", [scores.name, zero], LABEL), np.int64, LABEL)
        graph.output(label, LABEL, np.int64, axes_of(scores))
        return
    graph.metadata["classes"] = json.dumps(classes.tolist())
    text = classes.dtype.kind in "OU"
    dtype: Any = object if text else classes.dtype
    best = graph.node("ArgMax", [scores.name], LABEL, axis=1, keepdims=0)
    known = graph.constant(classes, f"{LABEL}/classes", dtype)
    graph.output(graph.node("Gather", [known, best], LABEL, axis=0), LABEL, dtype, (ROWS,))


def _values(graph: Graph, estimator: Regressor, scores: Value) -> None:
    """Write ``scores · scale + mean``, in the units of y and in its dtype."""
    learned = estimator._learned()
    values = graph.cast(scores.name, np.float64, PREDICTION)
    for operator, key in (("Mul", "scale"), ("Add", "mean")):
        constant = graph.constant(np.array(learned[key]), f"{PREDICTION}/{key}", np.float64)
        values = graph.node(operator, [values, constant], PREDICTION)
    axes: Sequence[int | str] = [ROWS, *scores.shape]
    if learned["vector"]:
        column = graph.constant(np.array([1], np.int64), f"{PREDICTION}/axis")
        values, axes = graph.node("Squeeze", [values, column], PREDICTION), [ROWS]
    dtype = np.dtype(learned["dtype"])
    if dtype != np.float64:
        values = graph.cast(values, dtype, PREDICTION)
    graph.output(values, PREDICTION, dtype, axes)


def _forecasts(graph: Graph, estimator: Forecaster) -> None:
    """Write windows normalised by their own mean and deviation, and forecasts brought back."""
    learned, (window, columns) = estimator._learned(), estimator.input_shape_
    flattest = np.array(learned["flattest"])
    k = len(flattest)
    X = graph.input(INPUT, np.float64, (ROWS, window, columns))
    series, beside = X, None
    if columns > k:
        cut = graph.constant(np.array([k, columns - k], np.int64), "window/columns")
        series, beside = graph.nodes("Split", [X, cut], "window", 2, axis=2)
    steps = graph.constant(np.array([1], np.int64), "window/axes")
    mean = graph.node("ReduceMean", [series, steps], "window")
    centred = graph.node("Sub", [series, mean], "window")
    square = graph.node("Mul", [centred, centred], "window")
    spread = graph.node("Sqrt", [graph.node("ReduceMean", [square, steps], "window")], "window")
    least = graph.constant(flattest, "window/flattest", np.float64)
    deviation = graph.node("Max", [spread, least], "window")
    parts = [graph.node("Div", [centred, deviation], "window")]
    if beside is not None:
        for operator, key in (("Sub", "exogenous_mean"), ("Div", "exogenous_scale")):
            constant = graph.constant(np.array(learned[key]), f"window/{key}", np.float64)
            beside = graph.node(operator, [beside, constant], "window")
        parts = [graph.node("Concat", [*parts, beside], "window", axis=2)]
    normalised = Value(graph.cast(parts[0], np.float32, "window"), estimator.input_shape_)
    scores = _scores(graph, estimator, normalised)
    sizes = graph.constant(np.array([0, learned["horizon"], k], np.int64), f"{FORECAST}/shape")
    values = graph.node("Reshape", [graph.cast(scores.name, np.float64, FORECAST), sizes], FORECAST)
    for operator, tensor in (("Mul", deviation), ("Add", mean)):
        values = graph.node(operator, [values, tensor], FORECAST)
    graph.output(values, FORECAST, np.float64, (ROWS, learned["horizon"], k))
