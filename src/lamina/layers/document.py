"""A network as a JSON document and back: data only, and only layers that Lamina knows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice
from lamina.functions.penalties import Penalty
from lamina.layers.augmentation import Cutout, RandomFlip, RandomShift
from lamina.layers.composition import Parallel, Residual
from lamina.layers.convolution import Conv1D, Conv2D, ConvTranspose1D, ConvTranspose2D
from lamina.layers.dense import Dense
from lamina.layers.each_step import EachStep
from lamina.layers.embedding import Embedding
from lamina.layers.layer import Layer
from lamina.layers.normalization import BatchNorm, LayerNorm, Standardize
from lamina.layers.pointwise import Activation, Dropout, Flatten, Reshape, SpatialDropout
from lamina.layers.pooling import (
    AveragePool1D,
    AveragePool2D,
    GlobalAveragePool,
    MaxPool1D,
    MaxPool2D,
)
from lamina.layers.recurrent import GRU, LSTM, RNN
from lamina.layers.resize import Resize
from lamina.layers.sequential import Sequential

LAYERS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        Activation,
        AveragePool1D,
        AveragePool2D,
        BatchNorm,
        Conv1D,
        Conv2D,
        ConvTranspose1D,
        ConvTranspose2D,
        Cutout,
        Dense,
        Dropout,
        EachStep,
        Embedding,
        Flatten,
        GRU,
        GlobalAveragePool,
        LSTM,
        LayerNorm,
        MaxPool1D,
        MaxPool2D,
        Parallel,
        Penalty,
        RNN,
        RandomFlip,
        RandomShift,
        Reshape,
        Residual,
        Resize,
        Sequential,
        SpatialDropout,
        Standardize,
    )
}


def to_document(part: Any) -> Any:
    """Return a layer (or a field of one) as JSON values; a layer carries its class as ``"is"``."""
    if isinstance(part, Layer | Penalty):
        name = type(part).__name__
        if LAYERS.get(name) is not type(part):
            raise InputError(
                f"A network to be saved expected layers of lamina.layers, got {name}. "
                "Keep its weights with numpy.savez instead, or compose it from known layers."
            )
        fields = {f.name: to_document(getattr(part, f.name)) for f in dataclasses.fields(part)}
        return {"is": name, **fields}
    if isinstance(part, tuple | list):
        return [to_document(item) for item in part]
    return part.item() if isinstance(part, np.generic) else part


def from_document(document: Any) -> Any:
    """Return what `to_document` was given; unknown names and fields are errors."""
    if isinstance(document, list):
        return tuple(from_document(item) for item in document)
    if not isinstance(document, dict):
        return document
    fields = {key: from_document(value) for key, value in document.items() if key != "is"}
    try:
        cls = LAYERS[check_choice("a layer in the model file", document.get("is"), LAYERS)]
        part = cls(**fields)
        if not isinstance(getattr(part, "penalty", None), Penalty | None):
            raise InputError(f"{cls.__name__} expected a Penalty, got {part.penalty!r}.")
        return part
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"The network in the model file cannot be built: {error}") from None
