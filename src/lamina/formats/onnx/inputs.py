"""What a graph takes: samples as they are, or raw ones and the encoder's rules written out.

Standardisation is computed in float64, as the encoders do, whatever the input's dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.formats.array_encoder import ArrayEncoder
from lamina.formats.image_encoder import ImageEncoder
from lamina.formats.onnx.graph import ROWS, TIME, Graph, Value
from lamina.formats.onnx.pointwise_rules import reshaped
from lamina.formats.series_encoder import SeriesEncoder
from lamina.formats.table_columns import CategoryColumn, NumberColumn
from lamina.formats.table_encoder import TableEncoder
from lamina.formats.text_encoder import TextEncoder
from lamina.layers.composite import Composite
from lamina.layers.embedding import Embedding
from lamina.layers.layer import Layer, Shape
from lamina.layers.recurrent import Recurrent

INPUT, LENGTHS = "X", "lengths"


def samples(
    graph: Graph, network: Layer, shape: Shape, lengths: bool = False, encoder: Any = None
) -> Value:
    """Add the graph's inputs, and return samples as the network takes them.

    Parameters
    ----------
    graph : Graph
        To be written into.
    network : Layer
        What the samples go through; where it begins with an `Embedding` they are int64 codes.
    shape : tuple of int
        One sample's shape.
    lengths : bool
        Whether there is a second input, ``lengths`` (n,) of int32.
    encoder : Encoder, optional
        Written out before the network; without one ``X`` is what the network takes.
    """
    if isinstance(encoder, TableEncoder):
        return _fitting(graph, _table(graph, encoder), shape)
    if isinstance(encoder, ImageEncoder):
        return _fitting(graph, _images(graph, encoder), shape)
    codes = isinstance(encoder, TextEncoder) or isinstance(_first(network), Embedding)
    free = graph.free and (codes or len(shape) == 2)
    axes = (ROWS, TIME, *shape[1:]) if free else (ROWS, *shape)
    X = graph.input(INPUT, np.int64 if codes else np.float32, axes)
    told = graph.input(LENGTHS, np.int32, (ROWS,)) if lengths else None
    found = Value(X, shape, lengths=told, free=free, whole=codes)
    if isinstance(encoder, ArrayEncoder | SeriesEncoder):
        return _standardized(graph, found, encoder)
    if encoder is not None and not isinstance(encoder, TextEncoder):
        raise InputError(
            f"ONNX export expected one of Lamina's encoders, got {type(encoder).__name__}. Export "
            "with encoder=False, and encode before the graph."
        )
    return found


def reads_sequences(network: Layer) -> bool:
    """Whether a recurrent layer is in the network."""
    if isinstance(network, Composite):
        return any(reads_sequences(part) for _, part in network.named())
    return isinstance(network, Recurrent)


def _first(network: Layer) -> Layer | None:
    """Return the layer that samples meet first."""
    if not isinstance(network, Composite):
        return network
    named = network.named()
    return _first(named[0][1]) if named else None


def _fitting(graph: Graph, X: Value, shape: Shape) -> Value:
    return X if X.shape == shape else reshaped(graph, X, shape, "encoder")


def _standardized(graph: Graph, X: Value, encoder: ArrayEncoder | SeriesEncoder) -> Value:
    """Write ``(X - mean) / scale``; rows of numbers that become images are standardised as rows."""
    if not encoder.standardize:
        return X
    shape = X.shape
    width = len(encoder.mean)
    mean, scale = np.array(encoder.mean), np.array(encoder.scale)
    if shape[-1] != width:
        graph.need_steps(X)
        mean, scale = mean.reshape(shape), scale.reshape(shape)
    numbers = graph.cast(X.name, np.float64, "encoder")
    for operator, vector in (("Sub", mean), ("Div", scale)):
        constant = graph.constant(vector, f"encoder/{operator}", np.float64)
        numbers = graph.node(operator, [numbers, constant], "encoder")
    name = graph.cast(numbers, np.float32, "encoder")
    return Value(name, shape, lengths=X.lengths, free=X.free)


def _images(graph: Graph, encoder: ImageEncoder) -> Value:
    """Write bytes / 255."""
    assert encoder.image_shape is not None, "a fitted encoder knows its images' shape"
    X = graph.input(INPUT, np.uint8, (ROWS, *encoder.image_shape))
    numbers = graph.cast(X, np.float32, "encoder")
    most = graph.constant(np.array(255.0), "encoder/most")
    return Value(graph.node("Div", [numbers, most], "encoder"), encoder.image_shape)


def _table(graph: Graph, encoder: TableEncoder) -> Value:
    """Write an input (n, 1) for each column: floats with NaN where missing, or texts."""
    parts = []
    for column in encoder.columns:
        text = isinstance(column, CategoryColumn)
        parts += _category(graph, column) if text else _number(graph, column)
    names = encoder.output_names
    if len(parts) > 1:
        parts = [graph.node("Concat", parts, "encoder", axis=1)]
    return Value(parts[0], (len(names),))


def _number(graph: Graph, column: NumberColumn) -> list[str]:
    where = f"encoder/{column.name}"
    X = graph.cast(graph.input(column.name, np.float32, (ROWS, 1)), np.float64, where)
    mean, scale = (
        graph.constant(np.array([value]), f"{where}/{name}", np.float64)
        for name, value in (("mean", column.mean), ("scale", column.scale))
    )
    missing = graph.node("IsNaN", [X], where)
    filled = graph.node("Where", [missing, mean, X], where)
    z = graph.node("Div", [graph.node("Sub", [filled, mean], where), scale], where)
    parts = [z, missing] if column.marks_missing else [z]
    return [graph.cast(part, np.float32, where) for part in parts]


def _category(graph: Graph, column: CategoryColumn) -> list[str]:
    """Write which of the categories a cell is: none where it is missing or unseen."""
    where = f"encoder/{column.name}"
    X = graph.input(column.name, np.str_, (ROWS, 1))
    known = graph.constant(np.array([column.categories], object), f"{where}/categories", object)
    return [graph.cast(graph.node("Equal", [X, known], where), np.float32, where)]
