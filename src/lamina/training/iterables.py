"""Minibatches as somebody else makes them: any iterable of them is a source."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from lamina.errors import InputError
from lamina.training.batches import Block, bucket
from lamina.training.streams import Rows

KEPT = 3
"""Blocks that can be asked for again: the loop has one under way and one to come."""


class IterableSource:
    """Batches of an iterable, a step each.

    They are made in the thread that trains, one ahead of the step under way.

    Parameters
    ----------
    batches : iterable
        Walked anew for each epoch.
    rows_of : callable
        From what it yields to rows as the network takes them.
    batch_size : int
        Rows of the first batch; others are padded to it.
    steps : int, optional
        Batches an epoch; None where that is not known.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        rows_of: Callable[[Any], Rows],
        batch_size: int,
        steps: int | None,
    ) -> None:
        self.batches, self.rows_of, self.batch_size = batches, rows_of, batch_size
        self._steps = steps
        self._kept: deque[tuple[int, int, Block]] = deque(maxlen=KEPT)

    @property
    def steps_per_epoch(self) -> int:
        """Return the batches an epoch; 1 where that is not known before the first has ended."""
        return self._steps or 1

    def blocks(self, epoch: int, first_step: int = 0) -> Iterator[Block]:
        """Yield the epoch's batches from ``first_step`` on; the last few can be had again."""
        step = first_step
        for of_epoch, number, block in list(self._kept):
            if (of_epoch, number) == (epoch, step):
                yield block
                step += 1
        for raw in islice(self.batches, step, None):
            rows = self.rows_of(raw)
            n = len(rows.X)
            room = self.batch_size if n <= self.batch_size else bucket(n)
            block = Block(*rows.padded(room), None, n)
            self._kept.append((epoch, step, block))
            yield block
            step += 1
        if not step:
            raise InputError(
                f"X expected batches in every epoch, got none in epoch {epoch + 1}: it can be "
                "walked only once. Use max_epochs=1, or an object whose __iter__ begins anew."
            )
        self._steps = self._steps or step
