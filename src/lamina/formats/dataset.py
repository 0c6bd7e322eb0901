"""What every reader returns: raw inputs, their targets if there are any, and their source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """Inputs and targets as a reader found them, before any encoding.

    Parameters
    ----------
    X : DataFrame of n rows, or array of shape (n, h, w, c) or (n, m)
        A table keeps its columns and dtypes; images are ``uint8``, NHWC; arrays are as stored.
    y : array of shape (n,) or (n, k), or None
        Labels or targets; None where the file holds inputs only.
    kind : {"table", "images", "array"}
        What ``X`` is, which decides how it is encoded (`lamina.formats.encoders.encoder_for`).
    source : str
        The file or folder, for messages.
    row_names : tuple of str
        A name for each row (an image's file name); empty where rows have none.
    """

    X: pd.DataFrame | np.ndarray
    y: np.ndarray | None
    kind: Literal["table", "images", "array"]
    source: str
    row_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: np.ndarray) -> Dataset:
        """Return the data set made of these rows, in this order."""
        X: Any = self.X.iloc[rows] if self.kind == "table" else self.X[rows]  # type: ignore
        y = None if self.y is None else self.y[rows]
        names = tuple(self.row_names[i] for i in rows) if self.row_names else ()
        return Dataset(X, y, self.kind, self.source, names)
