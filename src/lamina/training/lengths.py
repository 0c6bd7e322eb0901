"""Sequences sorted into a few lengths, so that little is padded and few programs are compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from lamina.layers.sequences import Sequences
from lamina.training.batches import ArraySource, Block

MOST_LENGTHS, STEPS_FOR_ANOTHER = 4, 20_000
"""Into how many lengths a data set is sorted at most, and how many steps are worth one more: each
compiles a program of its own."""

BLOCK_STEPS = 8
"""Most minibatches in a block: the blocks of all lengths are shuffled."""


def rounded(length: int) -> int:
    """Return the next larger of 1, 2, … 8, 10, 12, 14, 16, 20, …: at most a quarter longer.

    Examples
    --------
    >>> [rounded(t) for t in (1, 7, 9, 17, 29, 100)]
    [1, 7, 10, 20, 32, 112]
    """
    unit = 1 << max(0, (max(length, 1) - 1).bit_length() - 3)
    return -(-max(length, 1) // unit) * unit


def by_length(X: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield (samples, their rows): for `Sequences` a part for each length, else all at once.

    Where the parts are split leaves the fewest steps of padding.
    """
    if not isinstance(X, Sequences):
        yield X, np.arange(len(X))
        return
    lengths = np.asarray(X.lengths)
    at_least = 0
    for limit in _limits(lengths):
        rows = np.flatnonzero((lengths > at_least) & (lengths <= limit))
        yield X[rows].cut(limit), rows
        at_least = limit


def _limits(lengths: np.ndarray) -> list[int]:
    """Return the lengths to pad to, in order: those with the fewest padded steps in all."""
    of_row = [rounded(int(t)) for t in lengths]
    candidates, rows = np.unique(of_row, return_counts=True)
    count = int(min(MOST_LENGTHS, 1 + lengths.sum() // STEPS_FOR_ANOTHER, len(candidates)))
    up_to = np.cumsum(rows)

    def steps(chosen: tuple[int, ...]) -> int:
        ends = [*chosen, len(candidates) - 1]
        return int(candidates[ends] @ np.diff(up_to[ends], prepend=0))

    best = min(combinations(range(len(candidates) - 1), count - 1), key=steps)
    return [int(limit) for limit in candidates[[*best, len(candidates) - 1]]]


@dataclass(frozen=True)
class LengthSource:
    """Minibatches of sequences of about one length, in random order; made by `of`.

    Parameters
    ----------
    sources : tuple of ArraySource
        One for each length.
    seed : int
        Of the order of blocks; each source shuffles its own rows.
    """

    sources: tuple[ArraySource, ...]
    seed: int

    @classmethod
    def of(
        cls, X: Sequences, y: np.ndarray, weight: np.ndarray | None, *, batch_size: int, seed: int
    ) -> LengthSource:
        """Sort sequences into lengths and put them where the program runs."""
        return cls(
            tuple(
                ArraySource.of(
                    part,
                    y[rows],
                    None if weight is None else weight[rows],
                    batch_size=batch_size,
                    seed=seed + number,
                    block_steps=BLOCK_STEPS,
                )
                for number, (part, rows) in enumerate(by_length(X))
            ),
            seed,
        )

    @property
    def batch_size(self) -> int:
        """Samples a step."""
        return max(source.batch_size for source in self.sources)

    @property
    def steps_per_epoch(self) -> int:
        """Minibatches an epoch."""
        return sum(source.steps_per_epoch for source in self.sources)

    @cached_property
    def padding(self) -> float:
        """The share of steps that are padding."""
        data = sum(int(np.sum(source.X.lengths)) for source in self.sources)
        return 1 - data / sum(source.samples * source.X.shape[1] for source in self.sources)

    def blocks(self, epoch: int, first_step: int = 0) -> Iterator[Block]:
        """Yield the epoch's blocks from minibatch ``first_step`` on."""
        blocks = [block for source in self.sources for block in source.blocks(epoch)]
        for i in np.random.default_rng((self.seed, epoch)).permutation(len(blocks)):
            block = blocks[i]
            if first_step >= block.steps:
                first_step -= block.steps
                continue
            yield block.after(first_step) if first_step else block
            first_step = 0
