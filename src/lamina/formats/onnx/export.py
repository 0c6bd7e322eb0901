"""A network as an ONNX file: samples in, scores out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import InputError
from lamina.formats.files import written_whole
from lamina.formats.onnx.graph import ROWS, TIME, Graph, Value, written
from lamina.formats.onnx.inputs import samples
from lamina.formats.onnx.rules import write_layer
from lamina.layers.layer import Layer, Shape, Weights

if TYPE_CHECKING:
    from onnx import ModelProto

SCORES = "scores"


def network_to_onnx(
    network: Layer,
    weights: Weights,
    statistics: Weights,
    input_shape: Shape,
    *,
    lengths: bool = False,
) -> ModelProto:
    """Return a network as an ONNX model with the output ``scores``.

    Parameters
    ----------
    network : Layer
        Of `lamina.layers`.
    weights, statistics : dict
        As the network made them.
    input_shape : tuple of int
        One sample's shape; the first number of a sequence's is any, where the layers allow it.
    lengths : bool
        Whether sequences differ in length, told by a second input ``lengths``.

    Raises
    ------
    InputError
        For a layer that has no operators, by name.
    """
    check_installed()

    def build(graph: Graph) -> None:
        X = samples(graph, network, input_shape, lengths)
        hand_out(graph, write_layer(graph, network, weights, statistics, X), SCORES)

    return written("network", build)


def hand_out(graph: Graph, A: Value, name: str) -> Value:
    """Make a value an output of the graph, laid out as Lamina does, and return it so laid out."""
    A = graph.laid(A, "channels last")
    graph.output(A.name, name, np.float32, axes_of(A))
    return A


def axes_of(A: Value) -> list[int | str]:
    """Return the sizes of a value's axes, with names for those that are free."""
    return [ROWS, TIME, *A.shape[1:]] if A.free else [ROWS, *A.shape]


def write_onnx(model: ModelProto, path: str | Path) -> None:
    """Write a model to a file, whole or not at all."""
    with written_whole(Path(path)) as draft:
        draft.write_bytes(model.SerializeToString())


def check_installed() -> None:
    """Raise where the package ``onnx`` is missing."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise InputError(
            "ONNX files expected the package onnx, got an installation without it. Install it: "
            "pip install 'lamina[onnx]'."
        ) from None
