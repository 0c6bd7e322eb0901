"""Data on its way to the compiled step: blocks of whole minibatches, from any source.

The loop asks a source for the blocks of an epoch and never sees the data set. A block names the
rows of each of its minibatches, so that data that fit in memory stay where they are and are
gathered inside the program; a source that streams hands out small blocks of rows in file order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

BLOCK_STEPS = 128
"""Most minibatches in a block: between two blocks the loop may report, stop or save."""

ALIGNMENT = 64
"""Where XLA's CPU arrays begin: at a multiple of so many bytes."""

PADDED_BYTES = 32 << 20
"""Inputs up to this size are padded to a power of two rows, so that row counts share programs."""


class Block(NamedTuple):
    """Some minibatches.

    Parameters
    ----------
    X : array of shape (rows, ...), or `Sequences`
        Inputs; rows beyond the data are padding.
    y : array of shape (rows,) or (rows, K)
        Targets.
    weight : array of shape (rows,), or None
        Sample weights; None is 1 for each.
    order : array of shape (steps, batch), int32, or None
        Row ``order[i, j]`` is sample j of minibatch i. None: one batch, all rows as they stand.
    valid : int
        How many samples in reading order are data; the rest of ``order`` is padding.
    """

    X: Any
    y: Any
    weight: Any
    order: np.ndarray | None
    valid: int

    @property
    def steps(self) -> int:
        """Return the number of minibatches that hold data."""
        return 1 if self.order is None else -(-self.valid // self.order.shape[1])

    def after(self, steps: int) -> Block:
        """Return the block without its first minibatches, in the same shapes."""
        assert self.order is not None, "a block of one step is taken whole"
        rest = np.zeros_like(self.order)
        rest[: len(rest) - steps] = self.order[steps:]
        return self._replace(order=rest, valid=self.valid - steps * rest.shape[1])


class Source(Protocol):
    """Where blocks come from."""

    @property
    def batch_size(self) -> int:
        """Samples a step."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Minibatches an epoch."""
        ...

    def blocks(self, epoch: int, first_step: int = 0) -> Iterator[Block]:
        """Yield the blocks of one epoch, from a step of it on; the same ones whenever asked."""
        ...


def bucket(rows: int, row_bytes: int = 0) -> int:
    """Return how many rows to pad to: a power of two if the data are small, else ``rows``."""
    padded = 1 << max(3, (rows - 1).bit_length())
    return padded if padded * row_bytes <= PADDED_BYTES else rows


def laid_out(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return an array by rows in ``dtype``; itself if it is that.

    What has to be copied is laid out so that a CPU's programs read it where it is, uncopied.
    """
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    size = array.size * np.dtype(dtype).itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    copy = raw[start : start + size].view(dtype).reshape(array.shape)
    np.copyto(copy, array, casting="unsafe")
    return copy


def pad_rows(array: Any, rows: int) -> Any:
    """Return an array or `Sequences` with zero rows up to ``rows``; itself if it has as many."""
    if len(array) == rows:
        return array

    def padded(part: np.ndarray) -> np.ndarray:
        whole = np.zeros((rows, *part.shape[1:]), part.dtype)
        whole[: len(part)] = part
        return whole

    import jax

    return jax.tree.map(padded, array)


@dataclass(frozen=True)
class ArraySource:
    """Minibatches of arrays in memory, shuffled anew in each epoch.

    Make one with `of`. The order of epoch e is a function of the seed and e alone, so a run that
    resumes in the middle sees what it would have seen.
    """

    X: Any
    y: Any
    weight: Any
    samples: int
    batch_size: int
    shuffle: bool
    seed: int
    block_steps: int

    @classmethod
    def of(
        cls,
        X: Any,
        y: np.ndarray,
        weight: np.ndarray | None = None,
        *,
        batch_size: int | None,
        shuffle: bool = True,
        seed: int = 0,
        block_steps: int = BLOCK_STEPS,
    ) -> ArraySource:
        """Put the arrays where the program runs.

        Parameters
        ----------
        X : array of shape (n, ...), or `Sequences`
            Inputs.
        y : array of shape (n,) or (n, K)
            Targets.
        weight : array of shape (n,), optional
            Sample weights.
        batch_size : int or None
            Samples a step; None is all of them in one step, in order.
        shuffle : bool
            Whether to draw a new order for each epoch.
        seed : int
            Seed of the orders.
        block_steps : int
            Most minibatches in a block.
        """
        import jax

        from lamina.placement import on_every_device

        n = len(X)
        rows = bucket(n, sum(part[:1].nbytes for part in jax.tree.leaves(X)))
        padded = [None if array is None else pad_rows(array, rows) for array in (X, y, weight)]
        X, y, weight = on_every_device(padded)
        batch = n if batch_size is None else min(batch_size, n)
        whole = batch == n
        return cls(X, y, weight, n, batch, shuffle and not whole, seed, block_steps)

    @property
    def steps_per_epoch(self) -> int:
        """Return ⌈n / batch⌉."""
        return -(-self.samples // self.batch_size)

    def blocks(self, epoch: int, first_step: int = 0) -> Iterator[Block]:
        """Yield the epoch's blocks from minibatch ``first_step`` on."""
        if self.batch_size == self.samples:
            if first_step == 0:
                yield Block(self.X, self.y, self.weight, None, self.samples)
            return
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.samples)
        else:
            order = np.arange(self.samples)
        per_block = self.block_steps * self.batch_size
        for start in range(first_step * self.batch_size, self.samples, per_block):
            rows = order[start : start + per_block].astype(np.int32)
            padded = pad_rows(rows, per_block).reshape(self.block_steps, self.batch_size)
            yield Block(self.X, self.y, self.weight, padded, len(rows))
