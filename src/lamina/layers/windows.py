"""Windows as users write them: a number for all axes, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.errors import InputError, check_number
from lamina.kernels.patches import SAME, VALID


def per_axis(name: str, value: Any, axes: int) -> tuple[int, ...]:
    """Return a whole number of at least 1 for each axis.

    Parameters
    ----------
    name : str
        The setting's, for the error.
    value : int or sequence of ``axes`` int
        What the user wrote.
    axes : int
        1 for time, 2 for height and width.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if isinstance(value, str) or len(values) != axes:
        wanted = "a whole number" if axes == 1 else f"a whole number or {axes} of them"
        raise InputError(f"{name} expected {wanted}, got {value!r}.")
    for each in values:
        check_number(name, each, at_least=1, whole=True)
    return values


def padding_per_axis(name: str, value: Any, axes: int) -> str | tuple[tuple[int, int], ...]:
    """Return "same", "valid", or (before, after) for each axis.

    Parameters
    ----------
    name : str
        The setting's, for the error.
    value : str, int, or sequence
        Also a number of zeros for all sides; for one axis (before, after).
    axes : int
        1 for time, 2 for height and width.
    """
    if isinstance(value, str):
        if value not in (SAME, VALID):
            raise InputError(f"{name} expected 'same', 'valid', or numbers; got {value!r}.")
        return value
    if not isinstance(value, Sequence):
        check_number(name, value, at_least=0, whole=True)
        return ((int(value), int(value)),) * axes
    pairs = (value,) if axes == 1 and not isinstance(value[0], Sequence) else tuple(value)
    if len(pairs) != axes or any(not isinstance(p, Sequence) or len(p) != 2 for p in pairs):
        wanted = "(before, after)" if axes == 1 else "((top, bottom), (left, right))"
        raise InputError(f"{name} expected 'same', 'valid', a number or {wanted}; got {value!r}.")
    for each in (side for p in pairs for side in p):
        check_number(name, each, at_least=0, whole=True)
    return tuple((int(before), int(after)) for before, after in pairs)
