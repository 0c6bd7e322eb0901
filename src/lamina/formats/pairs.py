"""Files of interactions: a user, an item and perhaps a value in each row.

Tables are read as `lamina.formats.tables` reads them. Other text files, such as MovieLens'
``u.data``, may lack a header: the first line is one if it holds the names that are looked for.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import FileFormatError, InputError, did_you_mean
from lamina.formats.files import reading
from lamina.formats.tables import SUFFIXES, read_table

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = ("\t", "::", ";", ",", "|", " ")
NAMES = ("user", "item", "value")
"""What columns are called where neither the file nor the user names them."""


def read_all_pairs(
    paths: Sequence[str | os.PathLike[str]], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read files of the same columns as one table, in their order; see `read_pairs`."""
    import pandas as pd

    frames = [read_pairs(path, columns) for path in paths]
    first = list(frames[0].columns)
    for path, frame in zip(paths, frames, strict=True):
        if list(frame.columns) != first:
            raise InputError(
                f"{path} expected the columns of {paths[0]}, {', '.join(map(str, first))}, got "
                f"{', '.join(map(str, frame.columns))}. Name those to take: --columns USER,ITEM."
            )
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def read_pairs(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the columns user, item and perhaps value of a file.

    Parameters
    ----------
    path : path
        A table (``.csv``, ``.tsv``, ``.parquet``), or any other UTF-8 text whose cells are
        separated by tabs, ``::``, ``;``, ``,``, ``|`` or spaces.
    columns : sequence of str, optional
        Two or three names: of a table's columns, or to give to the first columns of a file without
        a header.

    Returns
    -------
    DataFrame
        Those columns, or all where none are named and there is a header.
    """
    path = Path(path)
    names = None if columns is None else _names(columns)
    if not path.is_file():
        with reading(path), path.open("rb"):
            pass  # tells what is wrong
    if path.name.lower().endswith(SUFFIXES):
        frame = read_table(path).X
        if names is None:
            return frame  # type: ignore
        _check_present(path, list(frame.columns), names)  # type: ignore
        return frame[names]  # type: ignore
    return _read_text(path, names)


def _names(columns: Sequence[str]) -> list[str]:
    names = list(columns)
    if len(names) not in (2, 3) or len(set(names)) != len(names):
        raise InputError(
            "columns expected two or three different names, user, item and perhaps value, got "
            f"{', '.join(names) or 'none'}."
        )
    return names


def _read_text(path: Path, names: list[str] | None) -> pd.DataFrame:
    import pandas as pd

    first, following = _first_lines(path)
    delimiter = next((mark for mark in DELIMITERS if mark in first), None)
    cells = [] if delimiter is None else first.split(delimiter)
    if len(cells) < 2:
        raise FileFormatError(
            f"{path} expected at least a user and an item in each line, got {first[:60]!r}. "
            "Separate cells by tabs or commas."
        )
    header = names is not None and all(name in cells for name in names)
    given = names or list(NAMES[: len(cells)])
    if not header and len(cells) < len(given):
        raise FileFormatError(
            f"{path} expected {len(given)} columns, {', '.join(given)}, got {len(cells)} in its "
            "first line. Name as many as there are."
        )
    if header and not following:
        raise FileFormatError(f"{path} expected rows below its header, got none.")
    unnamed = [f"column {place + 1}" for place in range(len(given), len(cells))]
    every = cells if header else [*given, *unnamed]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=delimiter,
                header=0 if header else None,
                names=every,
                index_col=False,
                encoding="utf-8-sig",
                engine="python" if delimiter == "::" else "c",
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        raise FileFormatError(
            f"{path} expected {len(cells)} cells in each line, got: {str(error).strip()}. "
            "Mend the file."
        ) from error
    made: Any = frame
    if len(given) == 3:
        _check_numbers(path, made[given[2]], header)
    return made[given]


def _first_lines(path: Path) -> tuple[str, bool]:
    """Return the first line, and whether another follows."""
    with reading(path), path.open(encoding="utf-8-sig", errors="replace") as text:
        lines = (line.rstrip("\r\n") for line in text if line.strip())
        first = next(lines, None)
        if first is None:
            raise FileFormatError(
                f"{path} expected interactions, got an empty file. Export or download it again."
            )
        return first, next(lines, None) is not None


def _check_numbers(path: Path, column: pd.Series, header: bool) -> None:
    import pandas as pd

    if column.dtype.kind in "iufb":
        return
    numbers: Any = pd.to_numeric(column, errors="coerce")
    row = int(np.isnan(np.asarray(numbers, np.float64)).argmax())
    hint = "" if header else " Has it a header? Name its columns: --columns USER,ITEM,VALUE."
    cell = str(column.iloc[row])[:40]
    raise FileFormatError(
        f"{path} expected numbers in the column {column.name!r}, got {cell!r} in row {row + 1}."
        f"{hint}"
    )


def _check_present(path: Path, present: list[Any], names: list[str]) -> None:
    for name in names:
        if name not in present:
            raise InputError(
                f"{path} expected a column {name!r}, got the columns "
                f"{', '.join(map(repr, present[:20]))}.{did_you_mean(name, map(str, present))}"
            )
