"""Texts in a table: one in each row of a column."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError
from lamina.formats.dataset import Dataset
from lamina.formats.readings import TextColumn
from lamina.formats.tables import check_column, read_table


def read_text_column(
    path: str | os.PathLike[str], column: str, target: str | Iterable[str] | None = None
) -> Dataset:
    """Read a column of texts, and their targets.

    Parameters
    ----------
    path : path
        A table that `read_table` reads.
    column : str
        The column of texts. All others but the target are passed over.
    target : str or list of str, optional
        The column, or columns, to predict.

    Returns
    -------
    Dataset
        Of kind "text": ``X`` a list of n texts, ``y`` as `read_table` returns it.

    Raises
    ------
    InputError
        For a column that is not there or is the target, and for a row without a text.
    """
    targets = [target] if isinstance(target, str) else list(target or ())
    if column in targets:
        raise InputError(
            f"{path} expected texts and targets in different columns, got {column!r} for both. "
            "Name another target."
        )
    table = read_table(path, target)
    frame: Any = table.X
    check_column(path, frame.columns, column)  # type: ignore
    texts = frame[column].tolist()
    wrong = np.flatnonzero([not (isinstance(text, str) and text.strip()) for text in texts])
    if len(wrong):
        cell = texts[wrong[0]]
        got = "none" if cell != cell or cell is None or isinstance(cell, str) else repr(cell)
        raise FileFormatError(
            f"{path} expected a text in every row of column {column!r}, got {got} in row "
            f"{wrong[0] + 1} below the header. Fill it in or delete that row."
        )
    return Dataset(texts, table.y, "text", str(path), reading=TextColumn(column))
