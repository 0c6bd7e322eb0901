"""What every reader returns: raw inputs, their targets if there are any, and their source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
        blake = hashlib.blake2b(digest_size=16)
        X: Any = self.X if columns is None else self.X[list(columns)]  # type: ignore
        for part in X if isinstance(X, list) else [X]:
            blake.update(_bytes(part))
        blake.update(_bytes(self.y))
        return blake.hexdigest()


def _bytes(part: Any) -> bytes:
    """Return what an array, a table or a text holds, types of numbers included."""
    if hasattr(part, "columns"):
        from pandas.util import hash_pandas_object

        part = hash_pandas_object(part, index=False).to_numpy()  # type: ignore
    if type(part) is str:
        return part.encode("utf-8", "surrogatepass")
    array = np.asarray(part)
    told = f"{array.dtype}{array.shape}".encode()
    return told + (repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
