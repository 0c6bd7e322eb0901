"""What every encoder checks: that it is fitted, and each entry of a document it is built from."""

from __future__ import annotations

import sys
from typing import Any

from lamina.errors import FileFormatError, InputError

LIST = list | tuple  # a document may come from JSON or straight from `to_document`
_LARGEST = sys.float_info.max


def check_fitted(encoder: object, fitted: bool) -> None:
    """Raise unless an encoder is fitted."""
    if not fitted:
        name = type(encoder).__name__
        raise InputError(
            f"{name} expected to be fitted first, got an unfitted one. "
            f"Use the copy that fit returns: encoder = {name}().fit(X)."
        )


def entry(document: object, key: str, kind: Any) -> Any:
    """Return an entry of a document if it is there and of this type."""
    if not isinstance(document, dict) or key not in document:
        raise _refused(f"the entry {key!r}", document)
    if not isinstance(document[key], kind):
        raise wrong_entry(key, getattr(kind, "__name__", str(kind)), document[key])
    return document[key]


def finite(value: Any, key: str, above: float = -_LARGEST) -> float:
    """Return a finite number above a bound."""
    plain = isinstance(value, float | int) and not isinstance(value, bool)
    if plain and above < value <= _LARGEST:
        return float(value)
    raise wrong_entry(key, "a finite number" + (" above 0" if above == 0 else ""), value)


def positive_integer(value: object, key: str) -> int:
    """Return a whole number of at least 1."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise wrong_entry(key, "a whole number of at least 1", value)


def wrong_entry(key: str, expected: str, got: object) -> FileFormatError:
    """Return the error for an entry that is not what it should be."""
    return _refused(f"{key!r} to be {expected}", got)


def _refused(expected: str, got: object) -> FileFormatError:
    text = repr(got)
    return FileFormatError(
        f"An encoder's document expected {expected}, got "
        f"{text if len(text) <= 60 else text[:57] + '...'}. "
        f"The file was edited or is of another version: save the model again."
    )
