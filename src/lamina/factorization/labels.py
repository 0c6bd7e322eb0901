"""The names of users or items and their row numbers, both ways."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError

UNKNOWN = -1
"""The code of a label that is not known."""

_LARGEST = 2**53
"""Up to here a float holds every whole number."""


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels in the order of the rows that they name.

    Parameters
    ----------
    values : array of shape (n,)
        int64 or text, sorted, or any hashable objects, all different.

    Examples
    --------
    >>> labels, codes = Labels.of(["Ulm", "Rome", "Ulm"], "user")
    >>> labels.values.tolist(), codes.tolist()
    (['Rome', 'Ulm'], [1, 0, 1])
    >>> labels.codes(["Ulm", "Paris"]).tolist()
    [1, -1]
    """

    values: np.ndarray

    @classmethod
    def of(cls, given: Any, what: str) -> tuple[Labels, np.ndarray]:
        """Return the different labels of a column, and each row's code.

        Parameters
        ----------
        given : array-like of shape (n,)
            One label a row; whole numbers stay so where they came as floats.
        what : str
            "user" or "item", for errors.
        """
        column = label_column(given, what)
        if column.dtype != object:
            values, codes = np.unique(column, return_inverse=True)
            return cls(values), codes
        first: dict[Hashable, int] = {}
        codes = np.fromiter((first.setdefault(x, len(first)) for x in column), np.int64)
        return cls(_objects(list(first))), codes

    @classmethod
    def counted(cls, n: int) -> Labels:
        """Return the labels 0 … n-1: the rows of a matrix."""
        return cls(np.arange(n))

    def __len__(self) -> int:
        return len(self.values)

    def codes(self, given: Any, what: str = "label") -> np.ndarray:
        """Return the codes of labels, `UNKNOWN` for those that are not here."""
        if len(given) == 0:
            return np.zeros(0, np.int64)
        column = label_column(given, what)
        if self.values.dtype == object or column.dtype.kind != self.values.dtype.kind:
            return np.fromiter((self._of.get(x, UNKNOWN) for x in column.tolist()), np.int64)
        place = np.minimum(np.searchsorted(self.values, column), len(self) - 1)
        return np.where(self.values[place] == column, place, UNKNOWN)

    def read(self, texts: Sequence[str]) -> list[Any]:
        """Return labels written as text: whole numbers where these are such."""
        if self.values.dtype.kind != "i":
            return list(texts)
        return [int(text) if _is_whole(text) else text for text in texts]

    @cached_property
    def _of(self) -> dict[Hashable, int]:
        return {label: code for code, label in enumerate(self.values.tolist())}

    # On disk

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the labels as arrays of numbers: whole ones, or UTF-8 and where each text ends."""
        if self.values.dtype.kind == "i":
            return {"numbers": self.values}
        texts = self.values.tolist()
        if not all(isinstance(text, str) for text in texts):
            strange = next(text for text in texts if not isinstance(text, str))
            raise InputError(
                f"save expected labels that are all text or all whole numbers, got {strange!r} of "
                f"type {type(strange).__name__} among them. Rename users and items before fitting."
            )
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
        return {"ends": ends, "text": np.frombuffer(b"".join(encoded), np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Labels:
        """Return the labels that `arrays` described, every entry checked."""
        if set(arrays) == {"numbers"}:
            values = arrays["numbers"]
            fine = values.dtype == np.int64
        elif set(arrays) == {"ends", "text"}:
            ends, text = arrays["ends"], arrays["text"].tobytes()
            fine = ends.dtype == np.int64 and len(ends) > 0 and ends[-1] == len(text)
            if not fine or (np.diff(ends, prepend=0) < 0).any():
                raise FileFormatError("labels expected texts that end one after the other")
            starts = np.concatenate([[0], ends[:-1]])
            pairs = zip(starts.tolist(), ends.tolist(), strict=True)
            values = _text([text[a:b].decode("utf-8", "surrogatepass") for a, b in pairs])
        else:
            raise FileFormatError(f"labels expected numbers or texts, got {sorted(arrays)}")
        if not fine or values.ndim != 1 or len(np.unique(values)) != len(values):
            raise FileFormatError("labels expected a list of different ones")
        if values.dtype != object and (values[1:] < values[:-1]).any():
            raise FileFormatError("labels expected to be sorted")
        return cls(values)


def label_column(given: Any, what: str) -> np.ndarray:
    """Return a column of labels as an array (n,) of int64, of text, or of objects.

    Raises
    ------
    InputError
        For a missing label, a float that is not whole, and what cannot be hashed.
    """
    column = given if isinstance(given, np.ndarray) else _as_array(given)
    if column.ndim != 1:
        raise InputError(
            f"{what} expected one label a row, shape (n,), got shape {column.shape}. "
            "Pass one column."
        )
    if column.dtype.kind in "iub":
        return column.astype(np.int64)
    if column.dtype.kind == "U":
        return column
    if column.dtype.kind == "f":
        return _whole(column, what)
    labels = column.tolist()
    kinds = {type(label) for label in labels}
    if kinds == {str}:
        return _text(labels)
    if all(issubclass(kind, int | np.integer) for kind in kinds):
        try:
            return np.array(labels, np.int64)
        except OverflowError:
            return _objects(labels)
    for row, label in enumerate(labels):
        if label is None or label != label or type(label).__name__ == "NAType":
            raise _missing(what, row)
        if not isinstance(label, Hashable):
            raise InputError(
                f"{what} expected labels that can be told apart (text, numbers), got {label!r} in "
                f"row {row + 1}. Turn them into text."
            )
    return _whole(column, what) if kinds <= {int, float} else _objects(labels)


def _as_array(given: Any) -> np.ndarray:
    if hasattr(given, "to_numpy"):  # pandas: numbers stay numbers, text comes as str
        plain = given.dtype.kind in "iufb" if hasattr(given.dtype, "kind") else False
        return given.to_numpy() if plain else given.to_numpy(dtype=object)
    return _objects(list(given))


def _objects(labels: list[Any]) -> np.ndarray:
    array = np.empty(len(labels), object)
    array[:] = labels
    return array


def _text(labels: list[str]) -> np.ndarray:
    """Return texts as NumPy's, or as objects where that would lose a trailing NUL or much room."""
    longest = max(map(len, labels), default=0)
    wasteful = longest > 64 and longest * len(labels) > 4 * sum(map(len, labels)) + (1 << 20)
    if wasteful or any("\0" in label for label in labels):
        return _objects(labels)
    return np.array(labels, f"U{max(longest, 1)}")


def _whole(column: np.ndarray, what: str) -> np.ndarray:
    numbers = column.astype(np.float64)
    if np.isnan(numbers).any():
        raise _missing(what, int(np.isnan(numbers).argmax()))
    wrong = ~(np.abs(numbers) < _LARGEST) | (numbers != np.floor(numbers))
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{what} expected labels that are text or whole numbers, got {column[row]!s} in row "
            f"{row + 1}. Are the columns in the order user, item, value?"
        )
    return numbers.astype(np.int64)


def _missing(what: str, row: int) -> InputError:
    return InputError(
        f"{what} expected a label in every row, got none in row {row + 1}. Delete such rows."
    )


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()
