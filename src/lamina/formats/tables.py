"""Tables on disk: CSV, TSV and Parquet, read into a `Dataset` and written from columns."""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from lamina.errors import FileFormatError, InputError, did_you_mean
from lamina.formats.dataset import Dataset
from lamina.formats.files import check_expansion, reading, unpacked, written_whole

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_MOST_COLUMNS = 100_000  # each costs pandas 2.5 kB and some 50 µs
_LONGEST_LINE = 1 << 26  # characters
# From a quote that opens a cell to the one that closes it, doubled quotes between them.
_QUOTED = re.compile(r'(?<![^,;\t\r\n])"(?:[^"]|"")*"?')


def read_table(
    path: str | os.PathLike[str],
    target: str | Iterable[str] | None = None,
    drop: str | Iterable[str] = (),
) -> Dataset:
    """Read a CSV, TSV or Parquet file into inputs and targets.

    Parameters
    ----------
    path : path
        A ``.csv`` or ``.tsv`` file (``.gz`` may follow; UTF-8, one header line) or ``.parquet``.
        What separates the cells of a ``.csv`` is what its header has most of: ``,`` ``;`` or tab.
    target : str, list of str or None
        The column to predict; a list for several outputs; None where every column is an input.
    drop : str or list of str
        Columns to leave out of ``X``.

    Returns
    -------
    Dataset
        ``X`` is a DataFrame of n rows; ``y`` keeps the column's type, with shape (n,) for one name,
        (n, k) for a list of k names, None without a target.

    Notes
    -----
    Cells are kept as they stand, spaces included; what counts as missing is pandas' default (an
    empty cell, NA, NaN, None, null, ...).
    """
    path = Path(path)
    suffix = table_suffix(path)
    frame = _read_parquet(path) if suffix == ".parquet" else _read_text(path, suffix)
    if len(frame) == 0:
        raise FileFormatError(
            f"{path} expected at least one row, got none below its columns. Add rows of data."
        )
    dropped = [drop] if isinstance(drop, str) else list(drop)
    targets = [] if target is None else [target] if isinstance(target, str) else list(target)
    for name in (*targets, *dropped):
        check_column(path, frame.columns, name)
    X = frame.drop(columns=[*targets, *dropped, *_row_numbers(path, frame, targets)])
    if X.shape[1] == 0:
        raise InputError(
            f"{path} expected at least one input column, got none once the target and the dropped "
            f"columns are taken out. Keep a column to predict from."
        )
    for name in targets:
        _check_complete(path, name, frame[name].isna().to_numpy())
    if target is None:
        y = None
    else:
        y = frame[target if isinstance(target, str) else targets].to_numpy(copy=True)
    return Dataset(X, y, "table", str(path))


def _row_numbers(path: Path, frame: pd.DataFrame, targets: list[str]) -> list[str]:
    """Return the nameless column of row numbers that pandas writes, which tells nothing of a row.

    Where rows are sorted by their classes it would tell those.
    """
    name = frame.columns[0]
    column = frame[name]
    if (
        name != "Unnamed: 0"
        or name in targets
        or not (column.dtype.kind in "iu" and column.is_unique)
    ):
        return []
    warnings.warn(
        f"{path}: the first column has no name and numbers the rows. It is left out.", stacklevel=3
    )
    return [name]


def write_predictions(path: str | os.PathLike[str], columns: Mapping[str, np.ndarray]) -> None:
    """Write named columns as a table; the file appears whole or not at all.

    Parameters
    ----------
    path : path
        A ``.csv`` or ``.tsv`` file (``.gz`` may follow) or ``.parquet``; replaced if it exists.
    columns : dict of arrays of shape (n,)
        One array for each column, in the order of writing.
    """
    import pandas as pd

    path = Path(path)
    suffix = table_suffix(path)
    shapes = {name: np.shape(column) for name, column in columns.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "no column"
        raise InputError(
            f"{path} expected columns of one length, shape (n,) each, got {got}. "
            f"Split a matrix into a column for each output."
        )
    frame = pd.DataFrame(dict(columns))
    with written_whole(path) as draft:
        if suffix == ".parquet":
            frame.to_parquet(draft, engine="pyarrow", index=False)
        else:
            delimiter = "\t" if suffix.startswith(".tsv") else ","
            frame.to_csv(draft, sep=delimiter, index=False, compression=_compression(suffix))


def table_suffix(path: Path) -> str:
    """Return which of `SUFFIXES` the path ends in, else raise an error that lists them."""
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise InputError(
            f"{path} expected a table ending in {', '.join(SUFFIXES)}, got {path.suffix!r}. "
            f"Rename the file or convert it."
        )
    return suffix


def _read_text(path: Path, suffix: str) -> pd.DataFrame:
    import pandas as pd

    try:
        with reading(path):
            delimiter = _check_rows(path, suffix)
            return pd.read_csv(
                path,
                sep=delimiter,
                compression=_compression(suffix),
                encoding="utf-8-sig",
                low_memory=False,  # one type for a whole column
            )
    except pd.errors.ParserError as error:
        raise FileFormatError(
            f"{path} expected a table, got: {error}. Check the quotes around that row's cells."
        ) from error


def _check_rows(path: Path, suffix: str) -> str:
    """Return what separates the cells, once every row is found as wide as the header.

    pandas would pad or shift a row of another width in silence.
    """
    opened = unpacked(path) if _compression(suffix) else path.open("rb")
    # A byte that is not UTF-8 passes as a surrogate, so that its line can be counted.
    told: Any = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
    with opened as content, io.TextIOWrapper(content, **told) as text:
        delimiter = "\t" if suffix.startswith(".tsv") else _delimiter(text.read(1 << 16))
        text.seek(0)
        rows = csv.reader(_utf8_lines(path, text), delimiter=delimiter)
        header: list[str] | None = None
        try:
            for row in rows:
                if not row or (len(row) == 1 and not row[0].strip()):
                    continue  # a blank line
                if header is None:
                    header = row
                    check_header(path, header)
                elif len(row) != len(header):
                    raise FileFormatError(
                        f"{path} expected {len(header)} cells in every row, as in its header, got "
                        f"{len(row)} in line {rows.line_num}. Mend the line, or quote cells that "
                        f"contain {delimiter!r}."
                    )
        except csv.Error as error:
            raise FileFormatError(
                f"{path} expected a table, got in line {rows.line_num}: {error}. "
                f"Look there for a quote that is never closed."
            ) from error
    if header is None:
        raise FileFormatError(
            f"{path} expected a header and rows, got an empty file. Export or download it again."
        )
    return delimiter


def _delimiter(start: str) -> str:
    """Return the one of comma, semicolon and tab that a table's header has most of, unquoted."""
    header = _QUOTED.sub("", start.lstrip("\r\n ")).splitlines()[:1]
    return max(",;\t", key="".join(header).count)


def _utf8_lines(path: Path, text: IO[str]) -> Iterator[str]:
    """Yield lines, decoded with surrogateescape, as long as each was UTF-8 and no novel."""
    for number, line in enumerate(iter(lambda: text.readline(_LONGEST_LINE), ""), start=1):
        if len(line) == _LONGEST_LINE:
            raise FileFormatError(
                f"{path} expected lines of less than {_LONGEST_LINE:,} characters, got a longer "
                f"one in line {number}. Is it a table at all?"
            )
        if not line.isascii() and (wrong := re.search("[\udc80-\udcff]", line)):
            raise FileFormatError(
                f"{path} expected text in UTF-8, got the byte 0x{ord(wrong[0]) - 0xDC00:02x} in "
                f"line {number}. Save it as UTF-8 (in a spreadsheet, 'CSV UTF-8')."
            )
        yield line


def _compression(suffix: str) -> Literal["gzip"] | None:
    return "gzip" if suffix.endswith(".gz") else None


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    with reading(path):
        content = path.read_bytes()
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        check_header(path, file.schema_arrow.names)
        cells = 8 * file.metadata.num_rows * file.metadata.num_columns
        check_expansion(path, cells, len(content), "If its data are yours, write them as CSV.")
        frame = file.read().to_pandas()
    except FileFormatError:
        raise
    except Exception as error:  # Arrow, and pandas' metadata within the file, raise their own
        raise FileFormatError(
            f"{path} expected a Parquet file, got: {error} Write or download it again."
        ) from error
    named = any(name is not None for name in frame.index.names)  # an index that was a column
    return frame.reset_index(drop=not named).rename(columns=str)


def check_header(path: Path, names: list[str]) -> None:
    """Raise unless a table's columns have names of their own, and are not too many."""
    if len(names) > _MOST_COLUMNS:
        raise FileFormatError(
            f"{path} expected at most {_MOST_COLUMNS:,} columns, got {len(names):,}. So wide a "
            "matrix reads in no time from a .npz: np.savez(path, X=X, y=y)."
        )
    if any("\0" in name for name in names):
        raise FileFormatError(
            f"{path} expected a header of column names, got binary data. Is it a table at all?"
        )
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise FileFormatError(
            f"{path} expected every column to have its own name, got {_listed(repeated)} more than "
            f"once. Rename the columns in its header."
        )


def check_column(path: Path, names: Collection[str], name: str) -> None:
    """Raise unless a table has a column of this name."""
    if name not in names:
        raise InputError(
            f"{path} expected a column {name!r}, got the columns {_listed(names)}."
            f"{did_you_mean(name, names)}"
        )


def _check_complete(path: Path, name: str, missing: np.ndarray) -> None:
    if missing.any():
        raise InputError(
            f"{path} expected a target in every row, got {missing.sum()} missing in column "
            f"{name!r}, the first in row {missing.argmax() + 1} below the header. Fill them in or "
            f"delete those rows (an empty cell, NA, None and null all count as missing)."
        )


def _listed(names: Iterable[str], most: int = 20) -> str:
    """Return ``"'a', 'b'"``, cut short after ``most`` names."""
    quoted = [repr(name) for name in names]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more
