"""An ONNX file as a fitted estimator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lamina.errors import FileFormatError
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.ready_made import ready_made
from lamina.formats.onnx.reading import read_onnx


def import_onnx(
    path: str | Path, classes: Sequence[Any] | None = None, output: str | None = None
) -> NetworkEstimator:
    """Read an ONNX file's network and return it as a fitted estimator.

    Parameters
    ----------
    path : path
        As for `lamina.formats.onnx.reading.read_onnx`, which returns the bare network.
    classes : sequence, optional
        The classes, in the order of the scores; those that Lamina wrote into the file where None.
        With classes it is a classifier, else a regressor.
    output : str, optional
        Which output; ``scores``, or else the first.

    Returns
    -------
    NetworkClassifier or NetworkRegressor
        `RecurrentClassifier` or `RecurrentRegressor` where series may have any length.
    """
    found = read_onnx(path, output)
    if classes is None and "classes" in found.metadata:
        try:
            classes = json.loads(found.metadata["classes"])
        except ValueError:
            raise FileFormatError(f"{path} has damaged classes. Pass classes=[…].") from None
    series = len(found.input_shape) == 2 and (found.any_steps or found.lengths)
    kind = "RecurrentRegressor" if classes is None else "RecurrentClassifier"
    return ready_made(
        found.network,
        found.weights,
        found.statistics,
        found.input_shape,
        classes=classes,
        kind=kind if series else None,
    )
