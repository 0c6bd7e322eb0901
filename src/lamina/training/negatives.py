"""Pairs that were seen, each beside an item that the user has not seen, drawn anew each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lamina.training.batches import ArraySource, Block

DRAWS = 8
"""How often an item is drawn again if the user has seen it; then it is taken as it is."""


@dataclass(frozen=True)
class TripleSource:
    """Minibatches of (user, seen item, unseen item).

    Parameters
    ----------
    users, items : int arrays of shape (n,)
        Seen pairs, sorted by user and then item.
    catalogue : int
        How many items there are.
    batch_size : int
        Triples a step.
    seed : int
        Of the orders and of the draws.
    """

    users: np.ndarray
    items: np.ndarray
    catalogue: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Return ⌈n / batch⌉."""
        return -(-len(self.users) // self.batch_size)

    def triples(self, epoch: int) -> np.ndarray:
        """Return the epoch's triples (n, 3); unseen items are drawn evenly from all."""
        rng = np.random.default_rng((self.seed, 7, epoch))
        seen = self.users * np.int64(self.catalogue) + self.items
        others = rng.integers(self.catalogue, size=len(self.users))
        for _ in range(DRAWS):
            wanted = self.users * np.int64(self.catalogue) + others
            place = np.minimum(np.searchsorted(seen, wanted), len(seen) - 1)
            again = np.flatnonzero(seen[place] == wanted)
            if not len(again):
                break
            others[again] = rng.integers(self.catalogue, size=len(again))
        return np.stack([self.users, self.items, others], axis=1).astype(np.int32)

    def blocks(self, epoch: int, first_step: int = 0) -> Iterator[Block]:
        """Yield the epoch's blocks from minibatch ``first_step`` on."""
        X = self.triples(epoch)
        y = np.zeros((len(X), 1), np.float32)
        made = ArraySource.of(X, y, batch_size=self.batch_size, seed=self.seed)
        yield from made.blocks(epoch, first_step)
