"""Minibatches of data that are read piece by piece, shuffled by windows, with bounded memory.

The order of an epoch is a function of the seed and the epoch alone: its pieces are permuted,
consecutive ones make a window, and the rows of each window are permuted. So any step can be gone to
without what comes before it, which is what resuming in the middle of an epoch needs. Pieces are
read, and blocks are made, by threads while the steps before them run: NumPy, Arrow and Pillow let
go of the interpreter while they read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from lamina.training.ahead import ahead
from lamina.training.batches import BLOCK_STEPS, Block, pad_rows

WINDOW_BYTES = 32 << 20
"""A window holds about so many bytes; two or three are in memory at once."""

BLOCK_BYTES = 16 << 20
"""A block of several minibatches holds at most so many; about four are in memory at once."""

READERS = min(8, os.cpu_count() or 1)
"""Threads that read pieces."""


class Rows(NamedTuple):
    """Some rows: inputs (n, ...), targets (n, ...) or None, weights (n,) or None."""

    X: np.ndarray
    y: np.ndarray | None
    weight: np.ndarray | None

    def take(self, order: np.ndarray) -> Rows:
        """Return these rows in this order."""
        return _each(lambda a: a[order], self)

    def padded(self, rows: int) -> Rows:
        """Return rows of zeros behind them, up to so many."""
        return _each(lambda a: pad_rows(a, rows), self)


class Pieces(Protocol):
    """Rows that are read piece by piece; threads may do so at once."""

    @property
    def lengths(self) -> np.ndarray:
        """Rows in each piece."""
        ...

    def read(self, piece: int) -> Rows:
        """Return a piece as it is kept in a window: as small as it can be."""
        ...

    def finish(self, rows: Rows) -> Rows:
        """Return rows out of a window as the network takes them."""
        ...


class Window(NamedTuple):
    """Consecutive pieces of an epoch: their numbers, and which row of the epoch is the first."""

    pieces: np.ndarray
    start: int
    rows: int


@dataclass(frozen=True)
class StreamSource:
    """Minibatches of pieces on disk.

    Parameters
    ----------
    pieces : Pieces
        The data.
    batch_size : int
        Samples a step.
    block_steps : int
        Most minibatches in a block; see `steps_in`.
    window_rows : int
        About how many rows are shuffled together.
    shuffle : bool
        Whether to draw a new order for each epoch.
    seed : int
        Seed of the orders.
    """

    pieces: Pieces
    batch_size: int
    block_steps: int = 1
    window_rows: int = 1
    shuffle: bool = True
    seed: int = 0

    @property
    def samples(self) -> int:
        """Rows in all pieces."""
        return int(self.pieces.lengths.sum())

    @property
    def steps_per_epoch(self) -> int:
        """Return ⌈n / batch⌉."""
        return -(-self.samples // self.batch_size)

    def blocks(self, epoch: int, first_step: int = 0) -> Iterator[Block]:
        """Yield the epoch's blocks from minibatch ``first_step`` on, made ahead by a thread."""
        yield from ahead(self._blocks(epoch, first_step))

    def _blocks(self, epoch: int, first_step: int) -> Iterator[Block]:
        rows = self.block_steps * self.batch_size
        order = np.arange(rows, dtype=np.int32).reshape(self.block_steps, self.batch_size)
        for taken in _in_lots(self._windows(epoch, first_step * self.batch_size), rows):
            finished = self.pieces.finish(taken)
            valid = len(finished.X)
            whole = None if self.block_steps == 1 else order
            yield Block(*finished.padded(rows), whole, valid)

    def _windows(self, epoch: int, first_row: int) -> Iterator[tuple[Rows, np.ndarray]]:
        """Yield each window's rows, and in which order they come, from a row of the epoch on."""
        plan = self._plan(epoch)
        readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")

        def asked(window: Window) -> list:
            shares = np.array_split(window.pieces, min(len(window.pieces), 4 * READERS))
            return [readers.submit(self._read, share) for share in shares]

        try:
            numbers = [i for i, w in enumerate(plan) if w.start + w.rows > first_row]
            coming = [asked(plan[numbers[0]])] if numbers else []
            for number in numbers:
                if number + 1 < len(plan):
                    coming.append(asked(plan[number + 1]))
                window, shares = plan[number], coming.pop(0)
                rows = _joined(shares, window.rows)
                order = np.arange(window.rows)
                if self.shuffle:
                    order = np.random.default_rng((self.seed, epoch, number)).permutation(order)
                yield rows, order[max(0, first_row - window.start) :]
                del rows
        finally:
            readers.shutdown(cancel_futures=True)

    def _plan(self, epoch: int) -> list[Window]:
        """Return the windows of an epoch."""
        lengths = self.pieces.lengths
        order = np.arange(len(lengths))
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        starts = np.cumsum(lengths[order]) - lengths[order]
        cuts = np.flatnonzero(np.diff(starts // self.window_rows)) + 1
        firsts = starts[np.concatenate([[0], cuts])]
        rows = np.diff(np.append(firsts, lengths.sum()))
        windows = zip(np.split(order, cuts), firsts.tolist(), rows.tolist(), strict=True)
        return [Window(*window) for window in windows]

    def _read(self, pieces: np.ndarray) -> Rows:
        read = [self.pieces.read(int(piece)) for piece in pieces]
        return read[0] if len(read) == 1 else concatenated(read)


def steps_in(block_bytes: int, step_bytes: int) -> int:
    """Return how many minibatches of so many bytes make a block."""
    return int(np.clip(block_bytes // max(step_bytes, 1), 1, BLOCK_STEPS))


def concatenated(parts: Sequence[Rows]) -> Rows:
    """Return parts as one, in their order."""
    return _each(lambda *arrays: np.concatenate(arrays), *parts)


def _joined(shares: list, rows: int) -> Rows:
    """Return what threads read as one, letting go of each share once it is copied."""
    shares.reverse()
    share: Rows = shares.pop().result()
    if not shares:
        return share
    whole = _each(lambda a: np.empty((rows, *a.shape[1:]), a.dtype), share)
    at = 0
    while True:
        for into, part in zip(whole, share, strict=True):
            if into is not None and part is not None:
                into[at : at + len(part)] = part
        at += len(share.X)
        if not shares:
            return whole
        share = shares.pop().result()


def _each(function: Callable[..., Any], *rows: Rows) -> Rows:
    """Return what a function makes of each of the arrays of rows, None where there is none."""
    made: list[Any] = [None if a[0] is None else function(*a) for a in zip(*rows, strict=True)]
    return Rows(*made)


def _in_lots(windows: Iterator[tuple[Rows, np.ndarray]], rows: int) -> Iterator[Rows]:
    """Yield the rows of windows in their orders, so many at a time; the last lot may be shorter."""
    lot: list[Rows] = []
    missing = rows
    for window, order in windows:
        while len(order):
            taken, order = order[:missing], order[missing:]
            lot.append(window.take(taken))
            missing -= len(taken)
            if not missing:
                yield lot[0] if len(lot) == 1 else concatenated(lot)
                lot, missing = [], rows
        del window
    if lot:
        yield concatenated(lot)
