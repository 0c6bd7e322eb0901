"""Minibatches of pieces on disk: each row once, orders by seed and epoch, resuming, read-ahead."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lamina.errors import InputError
from lamina.training.ahead import ahead
from lamina.training.iterables import IterableSource
from lamina.training.streams import Rows, StreamSource, steps_in

LENGTHS = np.array([5, 1, 7, 3, 7, 7, 2, 4])
N, BATCH = int(LENGTHS.sum()), 4


@dataclass
class Numbered:
    """Pieces whose rows are their own numbers; notes which were read."""

    lengths: np.ndarray = field(default_factory=lambda: LENGTHS)
    weighted: bool = False
    asked: list = field(default_factory=list)
    bad: int = -1

    def read(self, piece):
        self.asked.append(piece)
        if piece == self.bad:
            raise InputError(f"piece {piece}")
        start = int(self.lengths[:piece].sum())
        rows = np.arange(start, start + self.lengths[piece])
        weight = rows + 1.0 if self.weighted else None
        return Rows(rows[:, None].astype(np.int16), rows.astype(np.int32), weight)

    def finish(self, rows):
        return rows._replace(X=rows.X.astype(np.float32))


def source(pieces=None, **options):
    return StreamSource(pieces or Numbered(), BATCH, **{"window_rows": 8, "seed": 3} | options)


def rows_of(blocks):
    """Return the rows in the order in which steps take them, and the number of steps."""
    found, steps = [np.empty(0, np.int32)], 0
    for block in blocks:
        rows = np.arange(len(block.X)) if block.order is None else block.order.reshape(-1)
        X, y = block.X[rows[: block.valid]], block.y[rows[: block.valid]]
        assert_array_equal(X[:, 0], y)
        assert X.dtype == np.float32
        found.append(y)
        steps += block.steps
    return np.concatenate(found), steps


@pytest.mark.parametrize("block_steps", [1, 3])
@pytest.mark.parametrize("window_rows", [1, 8, 1000])
def test_every_row_comes_once_an_epoch(block_steps, window_rows):
    data = source(block_steps=block_steps, window_rows=window_rows)
    rows, steps = rows_of(data.blocks(epoch=3))
    assert_array_equal(np.sort(rows), np.arange(N))
    assert steps == data.steps_per_epoch == -(-N // BATCH)


def test_orders_differ_by_epoch_and_by_seed_only():
    orders = [rows_of(source(seed=s).blocks(e))[0] for s, e in [(0, 0), (0, 1), (1, 0)]]
    assert len({tuple(order) for order in orders}) == 3
    again = source(seed=0)
    next(again.blocks(5))  # what was asked for before does not matter
    assert_array_equal(rows_of(again.blocks(1))[0], orders[1])


def test_rows_of_a_window_are_mixed_and_windows_are_apart():
    pieces = Numbered(np.full(40, 5))
    order, _ = rows_of(source(pieces, window_rows=20).blocks(0))
    of_piece = order.reshape(10, 20) // 5
    assert all(len(set(window)) == 4 for window in of_piece)  # whole pieces, four a window
    assert (np.diff(of_piece) != 0).mean() > 0.5  # not one after the other
    assert len({tuple(sorted(set(window))) for window in of_piece}) == 10
    assert not np.array_equal(np.sort(of_piece[:, 0]), of_piece[:, 0])


def test_without_shuffle_rows_come_as_they_stand():
    assert_array_equal(rows_of(source(shuffle=False).blocks(2))[0], np.arange(N))


@pytest.mark.parametrize("block_steps", [1, 3])
@pytest.mark.parametrize("first_step", [0, 1, 4, 8, 9])
def test_starting_in_the_middle_gives_what_remains(block_steps, first_step):
    pieces = Numbered()
    data = source(pieces, block_steps=block_steps)
    whole, _ = rows_of(data.blocks(2))
    pieces.asked.clear()
    rest, steps = rows_of(data.blocks(2, first_step))
    assert_array_equal(rest, whole[first_step * BATCH :])
    assert steps == data.steps_per_epoch - first_step
    if first_step >= 4:
        assert len(pieces.asked) < len(LENGTHS)  # windows before it are not read


def test_blocks_have_one_shape_and_their_weights():
    blocks = list(source(Numbered(weighted=True), block_steps=3).blocks(0))
    assert {block.X.shape for block in blocks} == {(3 * BATCH, 1)}
    assert [block.valid for block in blocks] == [12, 12, 12]
    for block in blocks:
        assert_array_equal(block.weight, block.y + 1.0)


def test_a_bad_piece_raises_after_what_comes_before_it():
    data = source(Numbered(bad=5), shuffle=False, window_rows=1)
    taken = []

    def take_all():
        for block in data.blocks(0):
            taken.extend(block.y[: block.valid])

    with pytest.raises(InputError, match="piece 5"):
        take_all()
    assert taken == list(range(20))  # pieces 0 to 4 are 23 rows, five whole minibatches


def test_threads_end_with_the_one_who_asks():
    before = threading.active_count()
    blocks = source().blocks(0)
    next(blocks)
    assert threading.active_count() > before
    blocks.close()
    assert threading.active_count() == before


def test_work_ahead_is_bounded_and_errors_keep_their_place():
    made = []

    def numbers():
        for i in range(10):
            made.append(i)
            if i == 7:
                raise KeyError("seven")
            yield i

    items = ahead(numbers(), depth=2)
    assert next(items) == 0
    assert len(made) <= 4
    with pytest.raises(KeyError, match="seven"):
        assert [*items] == []
    assert made == list(range(8))


def test_steps_in_a_block_are_bounded_by_bytes():
    assert [steps_in(1000, size) for size in (1, 100, 999, 5000)] == [128, 10, 1, 1]


def test_batches_of_an_iterable_are_steps():
    batches = [np.arange(4), np.arange(3), np.arange(9)]
    data = IterableSource(batches, lambda a: Rows(a[:, None], a, None), 4, None)
    for epoch in range(2):
        blocks = list(data.blocks(epoch))
        assert [(len(b.X), b.valid, b.steps) for b in blocks] == [(4, 4, 1), (4, 3, 1), (16, 9, 1)]
    assert data.steps_per_epoch == 3
    assert [b.valid for b in data.blocks(0, first_step=2)] == [9]


def test_an_iterator_gives_its_last_batches_again_and_no_second_epoch():
    data = IterableSource(iter([np.arange(4)] * 5), lambda a: Rows(a[:, None], a, None), 4, None)
    blocks = data.blocks(0)
    third = [next(blocks) for _ in range(3)][2]
    assert next(data.blocks(0, first_step=2)) is third
    assert len(list(blocks)) == 2
    with pytest.raises(InputError, match=r"none in epoch 2.*max_epochs=1"):
        next(data.blocks(1))
