"""What every reader returns: raw inputs, their targets if there are any, and their source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from lamina.formats.readings import Reading


@dataclass(frozen=True)
class Dataset:
    """Inputs and targets as a reader found them, before any encoding.

    Parameters
    ----------
    X : DataFrame of n rows, array of shape (n, h, w, c) or (n, m), list of n arrays (t_i, m), str
        A table keeps its columns and dtypes; images are ``uint8``, NHWC; arrays are as stored;
        series are ``float32`` and as long as they are; the rows of a text are its characters;
        several texts are a list of n str.
    y : array of shape (n,) or (n, k), or None
        Labels or targets; None where the file holds inputs only.
    kind : {"table", "images", "array", "series", "text"}
        What ``X`` is, which decides how it is encoded (`lamina.formats.encoders.encoder_for`).
    source : str
        The file or folder, for messages.
    row_names : tuple of str
        A name for each row (an image's file name); empty where rows have none.
    reading : Reading or None
        How series and texts were read, where their files leave a choice; see
        `lamina.formats.readings`.
    """

    X: pd.DataFrame | np.ndarray | list[np.ndarray] | list[str] | str
    y: np.ndarray | None
    kind: Literal["table", "images", "array", "series", "text"]
    source: str
    row_names: tuple[str, ...] = ()
    reading: Reading | None = None

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: np.ndarray) -> Dataset:
        """Return the data set made of these rows, in this order."""
        X: Any
        if self.kind == "table":
            X = self.X.iloc[rows]  # type: ignore
        elif isinstance(self.X, list | str):
            X = [self.X[i] for i in rows]
            X = "".join(X) if isinstance(self.X, str) else X
        else:
            X = self.X[rows]
        y = None if self.y is None else self.y[rows]
        names = tuple(self.row_names[i] for i in rows) if self.row_names else ()
        return Dataset(X, y, self.kind, self.source, names, self.reading)

    def digest(self, columns: Sequence[str] | None = None) -> str:
        """Return a digest over inputs and targets, the same wherever the data are read from.

        Parameters
        ----------
        columns : sequence of str, optional
            Those of a table that count; None for all.
        """
        X: Any = self.X if columns is None else self.X[list(columns)]  # type: ignore
        return digest_of(map(_as_array, [*(X if isinstance(X, list) else [X]), self.y]))


def digest_of(arrays: Iterable[Any]) -> str:
    """Return a digest over arrays of numbers, their shapes and dtypes."""
    blake = hashlib.blake2b(digest_size=16)
    for array in arrays:
        array = np.ascontiguousarray(array)
        blake.update(f"{array.dtype}{array.shape}".encode())
        blake.update(array.reshape(-1).view(np.uint8).data)
    return blake.hexdigest()


def _as_array(part: Any) -> np.ndarray:
    """Return what an array, a table or a text holds as an array of numbers."""
    if hasattr(part, "columns"):
        from pandas.util import hash_pandas_object

        return hash_pandas_object(part, index=False).to_numpy()  # type: ignore
    array = np.asarray(part)
    if array.dtype.kind in "OU":  # texts, and cells of any kind
        text = part if isinstance(part, str) else repr(array.tolist())
        array = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    return array
