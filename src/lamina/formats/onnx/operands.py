"""What operators' readers ask of their inputs: weights, rows, and axes in one order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.errors import FileFormatError
from lamina.formats.onnx.tracing import Axis, Traced

Inputs = Sequence[Any]
Attributes = dict[str, Any]
Reading = Callable[[str, Inputs, Attributes], Any]
"""From what a node is called, its inputs and attributes to its output."""


def unreadable(who: str, expected: str, got: object, remedy: str) -> FileFormatError:
    """Return the error for a node that has no layer."""
    return FileFormatError(f"{who} expected {expected}, got {got}. {remedy}")


def constant(who: str, array: Any) -> np.ndarray:
    """Return a weight as float32; it must be in the file."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise unreadable(who, "weights that are in the file", "computed ones", "Export again.")
    return array.astype(np.float32)


def first(who: str, X: Traced) -> Traced:
    """Return a tensor (n, c, ...) whose step makes it channels last."""
    check_rows(who, X)
    return X.laid((*X.axes[2:], X.axes[1]), who)


def last(who: str, X: Traced) -> Traced:
    """Return a tensor whose step makes its axes in their order, the batch left out."""
    check_rows(who, X)
    return X.laid([axis for axis in X.axes if not is_batch(axis)], who)


def check_rows(who: str, X: Traced) -> None:
    """Raise unless one axis counts samples and nothing else."""
    if not any(map(is_batch, X.axes)):
        raise unreadable(
            who, "an axis that counts samples", "samples folded with another axis",
            "Put what is done at each step into operators that keep the axes.",
        )  # fmt: skip


def is_batch(axis: Axis) -> bool:
    """Whether an axis counts samples."""
    return len(axis) == 1 and axis[0].free and axis[0].batch
