"""Arrays on disk as a stream: ``.npy`` files, memory maps, whatever has a shape and is sliced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError
from lamina.formats.arrays import array_header, as_inputs
from lamina.formats.files import reading
from lamina.formats.streams.pieces import Part, Stream, checked_weights, named

PIECE_BYTES = 1 << 18
"""A piece holds about so many bytes: enough to read at full speed, small enough to mix well."""

FEWEST_PIECES = 64
"""Small data are cut into at least so many pieces, so that a share of them can be held out."""


class NpyFile:
    """An array in a ``.npy`` file, whose rows are read when they are sliced.

    Not a memory map: what is read of one counts as the process's memory for as long as the system
    likes to keep it.

    Parameters
    ----------
    path : Path
        The file; nothing is unpickled.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path), path.open("rb") as file:
            try:
                shape, in_columns, dtype = array_header(file, path.stat().st_size, str(path))
            except InputError:
                raise
            except Exception as error:  # NumPy's parser of headers raises what it trips on
                raise FileFormatError(
                    f"{path} expected a whole .npy file as NumPy writes it, got: "
                    f"{error or type(error).__name__}. Save or download it again."
                ) from error
            self._offset = file.tell()
        if in_columns and len(shape) > 1:
            raise InputError(
                f"{path} expected rows one after the other (C order), got columns (Fortran order). "
                "Save it with np.save(path, np.ascontiguousarray(X))."
            )
        self.shape: tuple[int, ...] = shape
        self.dtype = dtype
        self._row = int(np.prod(shape[1:], dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        count, offset = (stop - start) * self._row, start * self._row * self.dtype.itemsize
        with reading(self.path):
            found = np.fromfile(self.path, self.dtype, count, offset=self._offset + offset)
        if len(found) != count:
            raise FileFormatError(
                f"{self.path} expected rows {start:,} to {stop - 1:,}, got a file that ends before "
                "them: it has changed since it was opened. Save or download it again."
            )
        return found.reshape(stop - start, *self.shape[1:])


class ArrayStream(Stream):
    """Rows of an array.

    Parameters
    ----------
    X : array-like of shape (n, m), (n, h, w) or (n, h, w, c)
        As `lamina.formats.read` takes arrays; anything with ``shape``, ``dtype`` and slices.
    y : array-like of shape (n,) or (n, k), optional
        Targets.
    weight : array-like of shape (n,), optional
        Sample weights.
    source : str
        The file, for messages.
    """

    def __init__(self, X: Any, y: Any, weight: Any, source: str) -> None:
        self.source = source
        self.X, self.y, self.weight = X, y, weight
        n = len(X)
        for name, other in (("y", y), ("sample_weight", weight)):
            if other is not None and len(other) != n:
                raise InputError(
                    f"{source} expected one entry of {name} for each of its {n:,} rows, got "
                    f"{len(other):,}. Save them with the same rows."
                )
        first, self.kind = as_inputs(np.asarray(X[:1]), Path(source))
        self.has_targets = y is not None
        rows = max(1, min(PIECE_BYTES // max(first.nbytes, 1), -(-n // FEWEST_PIECES)))
        self._borders = np.append(np.arange(0, n, rows), n)
        self.lengths = np.diff(self._borders)

    def read(self, piece: int) -> Part:
        """Return a piece's rows, all finite."""
        rows = self._rows(piece)
        X, _ = as_inputs(np.array(self.X[rows]), Path(self.source))
        if X.dtype.kind == "f" and not np.isfinite(X.sum(dtype=np.float64)):
            wrong = ~np.isfinite(X.reshape(len(X), -1)).all(axis=1)
            if wrong.any():
                raise InputError(
                    f"{self.source} expected finite numbers, got NaN or infinity in row "
                    f"{rows.start + wrong.argmax():,} (counted from 0). Repair that row."
                )
        return Part(X, *self.read_targets(piece))

    def read_targets(self, piece: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return a slice of the arrays that hold them."""
        rows = self._rows(piece)
        y = None if self.y is None else np.array(self.y[rows])
        if y is not None and y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if self.weight is None:
            return y, None
        with named(lambda: self.source):
            return y, checked_weights(np.array(self.weight[rows]), rows.start)

    def place(self, piece: int) -> str:
        """Return the file and its rows, counted from 0."""
        rows = self._rows(piece)
        return f"{self.source}, rows {rows.start:,} to {rows.stop - 1:,}"

    def _rows(self, piece: int) -> slice:
        return slice(int(self._borders[piece]), int(self._borders[piece + 1]))
