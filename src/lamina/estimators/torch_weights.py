"""PyTorch's weights as a fitted estimator, and an estimator's weights for PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamina.errors import FileFormatError, InputError
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.ready_made import ready_made
from lamina.formats.files import reading
from lamina.formats.torch_weights import from_torch, to_torch
from lamina.formats.weights import read_weights, write_weights
from lamina.layers.document import from_document
from lamina.layers.layer import Layer

_ENTRIES = {"network", "input_shape", "classes", "names", "estimator"}


def import_torch(path: str | Path, layout: Mapping[str, Any] | str | Path) -> NetworkEstimator:
    """Return a fitted estimator with the weights of a state dict.

    Parameters
    ----------
    path : path
        A ``.pt``, ``.pth`` or ``.safetensors`` file; nothing in it runs.
    layout : dict, or path of a JSON file
        ``network``, a `Layer` or its document; ``input_shape``, one sample's shape, channels last;
        for a classifier ``classes``; ``estimator``, if it is to be `RecurrentClassifier` or the
        like; ``names``, a module's name for each layer's path where their order is another.

    Raises
    ------
    FileFormatError
        For names that are missing or left over, shapes that differ, or a damaged file.
    """
    told = dict(layout) if isinstance(layout, Mapping) else _read_layout(Path(layout))
    strange = sorted(set(told) - _ENTRIES)
    missing = sorted({"network", "input_shape"} - set(told))
    if strange or missing:
        raise InputError(
            f"The layout expected network and input_shape, and perhaps classes, names and "
            f"estimator, got {'another entry ' + repr(strange[0]) if strange else 'none'}"
            f"{' and no ' + ' and '.join(missing) if missing else ''}."
        )
    network = told["network"]
    network = network if isinstance(network, Layer) else from_document(network)
    shape = told["input_shape"]
    whole = isinstance(shape, list | tuple) and all(type(s) is int and s > 0 for s in shape)
    if not isinstance(network, Layer) or not whole or not shape:
        raise InputError(
            f"The layout expected a network of layers and an input_shape of whole numbers, got "
            f"{type(network).__name__} and {shape!r}."
        )
    try:
        weights, statistics = from_torch(
            network, tuple(shape), read_weights(path), told.get("names")
        )
    except FileFormatError as error:
        text = str(error)
        raise FileFormatError(text if str(path) in text else f"{path}: {text}") from None
    return ready_made(
        network,
        weights,
        statistics,
        tuple(shape),
        classes=told.get("classes"),
        kind=told.get("estimator"),
    )


def export_torch(estimator: NetworkEstimator, path: str | Path) -> list[str]:
    """Write a fitted estimator's weights by PyTorch's names, and return these.

    Parameters
    ----------
    estimator : NetworkEstimator
        Fitted; each layer becomes a module named by its path, ``lstm_0.weight_ih_l0``.
    path : path
        ``.safetensors``, or ``.pt`` for ``torch.load(path, weights_only=True)``.
    """
    if not hasattr(estimator, "weights_"):
        raise InputError(
            f"export_torch expected a fitted {type(estimator).__name__}, got one without weights. "
            "Call fit first."
        )
    arrays = to_torch(
        estimator.network_, estimator.weights_, estimator.statistics_, estimator.input_shape_
    )
    write_weights(path, arrays)
    return list(arrays)


def _read_layout(path: Path) -> dict[str, Any]:
    with reading(path):
        text = path.read_text(encoding="utf-8")
    try:
        layout = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} expected a JSON document, got: {error}.") from None
    if not isinstance(layout, dict):
        raise FileFormatError(f"{path} expected a JSON object, got {type(layout).__name__}.")
    return layout
