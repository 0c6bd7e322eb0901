"""The parts of an ONNX graph that do not depend on its input, worked out in NumPy.

Shapes are such: vectors with None where the file leaves a size open. Nothing larger than the file
itself is made on its word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.errors import FileFormatError

SMALL = 1_000_000
"""So many numbers may be made from next to nothing, as shapes and zeros are."""


def folded(
    operator: str, inputs: Sequence[Any], attributes: dict[str, Any], limit: int
) -> np.ndarray | None:
    """Return an operator's value for constants; None for an operator that is not known here.

    Parameters
    ----------
    operator : str
        As ONNX calls it.
    inputs : sequence of array or None
        None where an input is left out.
    attributes : dict
        The node's.
    limit : int
        How many numbers the result may have.
    """
    if operator not in _FOLDS:
        return None
    size = sum(array.size for array in inputs if array is not None)
    if size > max(limit, SMALL):
        raise FileFormatError(
            f"The ONNX file expected constants no larger than itself, got {operator} of {size:,} "
            "numbers; refused."
        )
    value = _FOLDS[operator](list(inputs), attributes)
    return value if isinstance(value, np.ndarray) else np.array(value)


def axes_from(inputs: Sequence[Any], attributes: dict[str, Any]) -> list[int] | None:
    """Return the axes of a node: its second input, or in older files an attribute."""
    given = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("axes")
    return None if given is None else [int(axis) for axis in np.atleast_1d(given)]


def _unsqueeze(inputs: list[Any], attributes: dict[str, Any]) -> np.ndarray:
    return np.expand_dims(inputs[0], tuple(axes_from(inputs, attributes) or ()))


def _squeeze(inputs: list[Any], attributes: dict[str, Any]) -> np.ndarray:
    axes = axes_from(inputs, attributes)
    return np.squeeze(inputs[0], None if axes is None else tuple(axes))


def _slice(inputs: list[Any], attributes: dict[str, Any]) -> np.ndarray:
    data, starts, ends, *rest = inputs
    if data.ndim == 0:
        return data  # zeros of a shape that the file leaves open
    axes = rest[0] if rest and rest[0] is not None else range(len(starts))
    steps = rest[1] if len(rest) > 1 and rest[1] is not None else [1] * len(starts)
    place = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place[int(axis)] = slice(int(start), int(end), int(step))
    return data[tuple(place)]


def _expand(inputs: list[Any], attributes: dict[str, Any]) -> np.ndarray:
    return inputs[0]  # for as many rows as there are: read where it is used


def _zeros(inputs: list[Any], attributes: dict[str, Any]) -> np.ndarray:
    value = attributes.get("value")
    return np.zeros((), np.float32) if value is None else np.asarray(value).reshape(())


def _reshape(inputs: list[Any], attributes: dict[str, Any]) -> np.ndarray:
    data, shape = inputs
    sizes = [data.shape[i] if size == 0 else int(size) for i, size in enumerate(shape)]
    return data.reshape(sizes)


_FOLDS: dict[str, Callable[[list[Any], dict[str, Any]], np.ndarray]] = {
    "Cast": lambda inputs, attributes: inputs[0],
    "Concat": lambda inputs, attributes: np.concatenate(inputs, axis=attributes["axis"]),
    "ConstantOfShape": _zeros,
    "Expand": _expand,
    "Gather": lambda inputs, attributes: np.take(
        inputs[0], np.asarray(inputs[1], np.int64), axis=attributes.get("axis", 0)
    ),
    "Identity": lambda inputs, attributes: inputs[0],
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": lambda inputs, attributes: np.transpose(inputs[0], attributes.get("perm")),
    "Unsqueeze": _unsqueeze,
}
