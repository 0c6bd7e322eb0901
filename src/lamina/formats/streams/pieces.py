"""What every stream is: rows on disk in pieces, each read in one go and in any order.

A piece is what the file gives cheaply: a row group of Parquet, some rows of an array, one image.
Nothing is kept of a piece that has been read, so memory stays bounded whatever the file's size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from lamina.errors import InputError

SAMPLE_BYTES = 16 << 20
"""About how much of the data is looked at before training."""

TARGET_ROWS = 1 << 16
"""About how many targets are read at once where inputs are not."""


class Part(NamedTuple):
    """Some rows.

    Parameters
    ----------
    X : DataFrame of n rows, or array of shape (n, ...)
        Inputs as they are stored.
    y : array of shape (n,) or (n, k), or None
        Targets.
    weight : array of shape (n,), or None
        Sample weights.
    """

    X: Any
    y: np.ndarray | None
    weight: np.ndarray | None


class Stream(ABC):
    """A data set that is read from disk piece by piece; make one with `lamina.formats.stream`.

    Attributes
    ----------
    kind : {"table", "images", "array"}
        What ``X`` is, which decides how it is encoded (`lamina.formats.encoders.encoder_for`).
    source : str
        The file or folder, for messages.
    lengths : array of shape (pieces,), int64
        Rows in each piece.
    target_names : tuple of str, or None
        The target's columns, where they have names.
    has_targets : bool
        Whether rows have targets.
    """

    kind: Literal["table", "images", "array"]
    source: str
    lengths: np.ndarray
    target_names: tuple[str, ...] | None = None
    has_targets: bool = True
    reading: ClassVar[None] = None

    @abstractmethod
    def read(self, piece: int) -> Part:
        """Return a piece, every number in it checked; threads may call this at once."""

    @abstractmethod
    def read_targets(self, piece: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return a piece's targets and sample weights, without its inputs where they lie apart."""

    @abstractmethod
    def place(self, piece: int) -> str:
        """Return file and rows of a piece, for messages."""

    def __len__(self) -> int:
        return int(self.lengths.sum())

    def targets(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield all targets and sample weights, in order, some ten thousand rows at a time."""
        for group in _grouped(self.lengths, TARGET_ROWS):
            found = [self.read_targets(piece) for piece in group]
            y, weight = _concatenated(found)
            if y is not None:
                yield y, weight

    @cached_property
    def sample(self) -> Part:
        """Pieces drawn at random up to `SAMPLE_BYTES`, in the order of the file; all if they fit.

        What encoders and normalisation learn from. The draw is always the same.
        """
        chosen: dict[int, Part] = {}
        size = 0
        for piece in np.random.default_rng(0).permutation(len(self.lengths)):
            chosen[piece] = part = self.read(piece)
            size += _bytes(part.X)
            if size >= SAMPLE_BYTES:
                break
        return join([chosen[piece] for piece in sorted(chosen)])

    def take(self, pieces: np.ndarray) -> Stream:
        """Return the stream of these pieces only."""
        return _Selection(self, pieces)

    def split(self, fraction: float, seed: int) -> tuple[Stream, Stream]:
        """Return two streams: about ``fraction`` of the rows, whole pieces drawn at random, apart.

        Returns
        -------
        rest, drawn : Stream
            Both in the order of the file.

        Raises
        ------
        InputError
            If there are too few pieces to divide.
        """
        order = np.random.default_rng((seed, 2)).permutation(len(self.lengths))
        before = np.cumsum(self.lengths[order]) - self.lengths[order] / 2
        drawn = before < fraction * len(self)
        if drawn.all() or not drawn.any():
            raise InputError(
                f"{self.source} expected enough pieces to hold {fraction:g} of the rows out, got "
                f"{len(self.lengths)}, which are read and held out whole. Give test or validation "
                "data of their own, or write the file with smaller row groups."
            )
        return self.take(np.sort(order[~drawn])), self.take(np.sort(order[drawn]))


class _Selection(Stream):
    """Some pieces of a stream."""

    def __init__(self, whole: Stream, pieces: np.ndarray) -> None:
        self.whole, self.pieces = whole, pieces
        self.kind, self.source = whole.kind, whole.source
        self.target_names, self.has_targets = whole.target_names, whole.has_targets
        self.lengths = whole.lengths[pieces]

    def read(self, piece: int) -> Part:
        return self.whole.read(self.pieces[piece])

    def read_targets(self, piece: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        return self.whole.read_targets(self.pieces[piece])

    def place(self, piece: int) -> str:
        return self.whole.place(self.pieces[piece])


def join(parts: Sequence[Part]) -> Part:
    """Return parts as one, in their order."""
    if len(parts) == 1:
        return parts[0]
    Xs, *others = zip(*parts, strict=True)
    if isinstance(Xs[0], np.ndarray):
        X = np.concatenate(Xs)
    else:
        import pandas as pd

        X = pd.concat(Xs)
    return Part(X, *_concatenated(zip(*others, strict=True)))


@contextmanager
def named(place: Callable[[], str]) -> Iterator[None]:
    """Begin errors about what is in a file with the place in it, unless they name it already."""
    try:
        yield
    except InputError as error:
        where = place()
        if str(error).startswith(where):
            raise
        raise InputError(f"{where}: {error}") from error


def checked_weights(weight: np.ndarray, first_row: int = 0) -> np.ndarray:
    """Return weights (n,), float64, once they are finite numbers of at least 0."""
    if weight.ndim != 1 or weight.dtype.kind not in "buif":
        raise InputError(
            f"Sample weights expected one number for each row, got {weight.dtype} of shape "
            f"{weight.shape}."
        )
    weight = weight.astype(np.float64)
    wrong = ~(weight >= 0) | np.isinf(weight)
    if wrong.any():
        raise InputError(
            f"Sample weights expected finite numbers of at least 0, got {weight[wrong][0]} in row "
            f"{first_row + wrong.argmax():,} (counted from 0). Correct it."
        )
    return weight


def _grouped(lengths: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """Yield consecutive pieces in groups of about so many rows."""
    group = (np.cumsum(lengths) - 1) // rows
    yield from np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(group)) + 1)


def _bytes(X: Any) -> int:
    return X.nbytes if isinstance(X, np.ndarray) else int(X.memory_usage().sum())


def _concatenated(parts: Iterable[tuple]) -> list[Any]:
    """Return each entry of tuples of arrays as one array, None where it is None."""
    return [None if a[0] is None else np.concatenate(a) for a in zip(*parts, strict=True)]
