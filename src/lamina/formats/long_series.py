"""Series in a table of long form: a row a step, with the series it belongs to and its time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import FileFormatError, InputError
from lamina.formats.dataset import Dataset
from lamina.formats.readings import LongTable
from lamina.formats.standardization import fits_float32
from lamina.formats.tables import check_column, read_table

if TYPE_CHECKING:
    import pandas as pd


def read_long_series(
    path: str | os.PathLike[str],
    id: str | None,
    time: str,
    target: str | None = None,
    drop: str | Iterable[str] = (),
    channels: Sequence[str] = (),
) -> Dataset:
    """Read series from a table with a row a step.

    Parameters
    ----------
    path : path
        A table that `read_table` reads.
    id : str or None
        The column that says which series a row belongs to; None where all rows are one series. The
        rows of a series need not stand together; the series come in order of their first rows.
    time : str
        The column with each row's time, numbers or dates and times as ISO 8601 writes them. It must
        rise within a series; how far from step to step is not looked at.
    target : str, optional
        The column with a series' label or value, the same in all of its rows.
    drop : str or list of str
        Columns to leave out.
    channels : sequence of str
        The columns of values, in order; empty for all that are left.

    Returns
    -------
    Dataset
        Of kind "series": ``X`` a list of n float32 arrays of shape (t_i, m), ``y`` the targets (n,)
        in their column's type, or None, ``row_names`` the ids as text, ``reading`` the columns'
        names.

    Raises
    ------
    InputError
        For columns that are not there or named twice, a cell that is missing or no number, a time
        that does not rise within a series, and targets that differ within one.
    """
    table: pd.DataFrame = read_table(path).X  # type: ignore
    named = [name for name in (id, time, target) if name is not None]
    dropped = [drop] if isinstance(drop, str) else list(drop)
    for name in (*named, *dropped, *channels):
        check_column(Path(path), table.columns, name)
    for name in named:
        _check_complete(path, table, name)
    if len(set(named)) != len(named):
        raise InputError(
            f"{path} expected id, time and target to be different columns, got "
            f"{', '.join(map(repr, named))}. Name each column once."
        )
    left = table.drop(columns=[*named, *dropped])
    channels = tuple(channels) or tuple(map(str, left.columns))
    values = _values(path, table[list(channels)])  # type: ignore
    codes, ids = _grouped(table, id)
    order = np.argsort(codes, kind="stable")  # rows by series, each in the order of the file
    _check_times(path, table, time, order, codes, ids)
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    y = None if target is None else _targets(path, table, target, codes, ids, order[starts])
    X = np.split(values[order], starts[1:])
    names = tuple(str(name) for name in ids) if id else ()
    return Dataset(X, y, "series", str(path), names, LongTable(id, time, channels))


def _grouped(table: pd.DataFrame, id: str | None) -> tuple[np.ndarray, list[object]]:
    """Return each row's series as a number from 0, and the series' ids."""
    if id is None:
        return np.zeros(len(table), np.intp), ["of all rows"]
    codes, ids = table[id].factorize()
    return np.asarray(codes), list(ids)


def _values(path: str | os.PathLike[str], channels: pd.DataFrame) -> np.ndarray:
    """Return the channels (rows, m) as float32."""
    import pandas as pd

    if channels.shape[1] == 0:
        raise InputError(
            f"{path} expected at least one column of values besides id, time and target, got none. "
            "Add one, or drop fewer."
        )
    for name, column in channels.items():
        _check_complete(path, channels, name)
        if column.dtype.kind not in "buif":
            row = int(np.isnan(pd.to_numeric(column, errors="coerce").astype(float)).argmax())  # type: ignore
            cell = str(column.iloc[row])[:40]
            raise FileFormatError(
                f"{path} expected numbers in the column {name!r}, got {cell!r} in row {row + 1} "
                f"below the header. Mend it, or take the column out of the table."
            )
    values = channels.to_numpy(np.float64)
    wrong = ~fits_float32(values)
    if wrong.any():
        row, j = np.argwhere(wrong)[0]
        raise FileFormatError(
            f"{path} expected numbers within float32's range, got {values[row, j]} in row "
            f"{row + 1} below the header, column {channels.columns[j]!r}. Rescale the column."
        )
    return values.astype(np.float32)


def _check_times(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    time: str,
    order: np.ndarray,
    codes: np.ndarray,
    ids: list[object],
) -> None:
    """Raise unless time rises from each row of a series to its next."""
    times = _instants(path, table[time])[order]  # type: ignore
    within = codes[order][1:] == codes[order][:-1]
    wrong = np.flatnonzero(within & ~(times[1:] > times[:-1]))
    if not len(wrong):
        return
    first, second = order[wrong[0]], order[wrong[0] + 1]
    what = "the same time" if times[wrong[0]] == times[wrong[0] + 1] else "an earlier time"
    raise FileFormatError(
        f"{path} expected {time!r} to rise within a series, got {what} in the series "
        f"{ids[codes[first]]}: {table[time].iloc[first]}, then {table[time].iloc[second]} in row "
        f"{second + 1} below the header. Sort the rows by time and keep one a time."
    )


def _instants(path: str | os.PathLike[str], column: pd.Series) -> np.ndarray:
    """Return times as numbers that compare."""
    import pandas as pd

    if column.dtype.kind in "iufM":
        return column.to_numpy()
    try:
        return pd.to_datetime(column, format="ISO8601", utc=True).to_numpy()
    except (ValueError, TypeError) as error:
        raise FileFormatError(
            f"{path} expected numbers or ISO 8601 dates (2024-12-31) in the column "
            f"{column.name!r}, got: {error}. Write the times so."
        ) from error


def _targets(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    target: str,
    codes: np.ndarray,
    ids: list[object],
    first_rows: np.ndarray,
) -> np.ndarray:
    """Return the target of each series."""
    column = table[target].to_numpy()
    y = column[first_rows]
    wrong = np.flatnonzero(column != y[codes])
    if len(wrong):
        row = wrong[0]
        raise FileFormatError(
            f"{path} expected one {target!r} for all rows of a series, got {y[codes[row]]} and "
            f"{column[row]} in the series {ids[codes[row]]} (row {row + 1} below the header). "
            f"Make them agree, or leave target out to read the column as a channel."
        )
    return y


def _check_complete(path: str | os.PathLike[str], table: pd.DataFrame, name: object) -> None:
    missing = table[name].isna().to_numpy()
    if missing.any():
        raise FileFormatError(
            f"{path} expected a value in every row, got {missing.sum()} missing in column "
            f"{name!r}, the first in row {missing.argmax() + 1} below the header. Fill them in or "
            f"delete those rows."
        )
