"""Parquet files as a stream: a row group is a piece."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import FileFormatError, InputError
from lamina.formats.files import reading
from lamina.formats.streams.pieces import Part, Stream, checked_weights, named
from lamina.formats.tables import check_column, check_header

if TYPE_CHECKING:
    import pandas as pd

MOST_GROUP_BYTES = 1 << 29
"""A row group is read whole, so it may hold so much; pandas and Arrow write a million rows."""

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")


class ParquetStream(Stream):
    """Rows of one or more Parquet files with the same columns.

    Parameters
    ----------
    paths : sequence of Path
        The files, in order.
    target : str, list of str or None
        The column to predict; a list for several outputs.
    drop : sequence of str
        Columns to leave out of ``X``.
    weight : str, optional
        The column of sample weights.
    source : str
        The file or folder, for messages.
    """

    kind = "table"

    def __init__(
        self,
        paths: Sequence[Path],
        target: str | Sequence[str] | None,
        drop: Sequence[str],
        weight: str | None,
        source: str,
    ) -> None:
        self.source, self._target, self._weight = source, target, weight
        self._targets = [] if target is None else [target] if isinstance(target, str) else [*target]
        self.has_targets = bool(self._targets)
        self.target_names = tuple(self._targets) or None
        self._metadata = {path: _metadata(path) for path in paths}
        names = [_names(path, found) for path, found in self._metadata.items()]
        for path, others in zip(paths, names, strict=True):
            if others != names[0]:
                raise FileFormatError(
                    f"{path} expected the columns of {paths[0].name}, got others: "
                    f"{', '.join(sorted(set(others) ^ set(names[0]))) or 'in another order'}. "
                    "Write all files with the same columns."
                )
        taken = [*self._targets, *drop, *([weight] if weight else [])]
        for name in taken:
            check_column(paths[0], names[0], name)
        self._inputs = [name for name in names[0] if name not in taken]
        if not self._inputs:
            raise InputError(
                f"{source} expected at least one input column, got none once the target and the "
                "dropped columns are taken out. Keep a column to predict from."
            )
        self._groups = [
            (path, group)
            for path, found in self._metadata.items()
            for group in range(found.num_row_groups)
            if found.row_group(group).num_rows
        ]
        if not self._groups:
            raise FileFormatError(f"{source} expected at least one row, got none. Add rows.")
        lengths = [self._metadata[path].row_group(group).num_rows for path, group in self._groups]
        self.lengths = np.array(lengths, np.int64)
        self._check_groups()

    def read(self, piece: int) -> Part:
        """Return a row group; the frame's index counts the rows of all files."""
        frame = self._frame(piece, [*self._inputs, *self._beside])
        return Part(frame[self._inputs], *self._targets_of(piece, frame))

    def read_targets(self, piece: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the columns that hold them."""
        return self._targets_of(piece, self._frame(piece, self._beside))

    def place(self, piece: int) -> str:
        """Return file, row group and rows, counted from 0."""
        path, group = self._groups[piece]
        start = self._start(piece)
        return f"{path}, row group {group} (rows {start:,} to {start + self.lengths[piece] - 1:,})"

    @property
    def _beside(self) -> list[str]:
        return [*self._targets, *([self._weight] if self._weight else [])]

    def _start(self, piece: int) -> int:
        return int(self.lengths[:piece].sum())

    def _frame(self, piece: int, columns: list[str]) -> pd.DataFrame:
        import pandas as pd
        import pyarrow
        import pyarrow.parquet

        path, group = self._groups[piece]
        try:
            with reading(path), path.open("rb") as opened:
                file = pyarrow.parquet.ParquetFile(opened, metadata=self._metadata[path])
                table = file.read_row_group(group, columns=columns, use_threads=False)
        except (pyarrow.ArrowException, InputError, ValueError) as error:  # a damaged page
            raise FileFormatError(
                f"{self.place(piece)} expected a row group of Parquet, got: {error} Write or "
                "download the file again."
            ) from error
        frame = table.to_pandas(ignore_metadata=True, use_threads=False)
        start = self._start(piece)
        return frame.set_axis(pd.RangeIndex(start, start + len(frame)), axis=0)

    def _targets_of(self, piece: int, frame: pd.DataFrame) -> Any:
        y = weight = None
        if self._target is not None:
            for name in self._targets:
                missing = frame[name].isna().to_numpy()
                if missing.any():
                    raise InputError(
                        f"{self.place(piece)} expected a target in every row, got {missing.sum()} "
                        f"missing in column {name!r}, the first in row "
                        f"{frame.index[missing.argmax()]:,} (counted from 0). Fill them in or "
                        "leave those rows out."
                    )
            of_them = self._target if isinstance(self._target, str) else self._targets
            y = frame[of_them].to_numpy(copy=True)
        if self._weight is not None:
            with named(lambda: str(self._groups[piece][0])):
                weight = checked_weights(frame[self._weight].to_numpy(copy=True), frame.index[0])
        return y, weight

    def _check_groups(self) -> None:
        """Raise if a row group is too large to be read whole."""
        for path, group in self._groups:
            found = self._metadata[path].row_group(group)
            if found.total_byte_size > MOST_GROUP_BYTES:
                rows = max(1, found.num_rows * MOST_GROUP_BYTES // found.total_byte_size // 4)
                raise InputError(
                    f"{path} expected row groups of at most {MOST_GROUP_BYTES >> 20} MiB, which "
                    f"are read whole, got {found.total_byte_size >> 20} MiB in group {group}. "
                    f"Write it with row_group_size={rows:,} (pandas, pyarrow)."
                )


def _metadata(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        with reading(path), path.open("rb") as opened:
            return pyarrow.parquet.read_metadata(opened)
    except pyarrow.ArrowException as error:
        raise FileFormatError(
            f"{path} expected a Parquet file, got: {error} Write or download it again."
        ) from error


def _names(path: Path, metadata: Any) -> list[str]:
    """Return the columns' names, without an index that had no name."""
    names = list(metadata.schema.to_arrow_schema().names)
    check_header(path, names)
    return [name for name in names if not _UNNAMED_INDEX.fullmatch(name)]
