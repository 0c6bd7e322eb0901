"""Sequences sorted by length: every sample once an epoch, little padding, the same order again."""

import itertools

import numpy as np
import pytest

from lamina.layers import Sequences
from lamina.training import lengths
from lamina.training.lengths import LengthSource, by_length, rounded


@pytest.fixture
def series():
    """Return 50 series of 1 to 40 steps; channel 0 is the row's number, padding is NaN."""
    rng = np.random.default_rng(0)
    steps = rng.integers(1, 41, 50)
    values = np.full((50, 40, 1), np.nan, np.float32)
    for row, t in enumerate(steps):
        values[row, :t] = row
    return Sequences(values, steps.astype(np.int32))


@pytest.fixture
def source(series, monkeypatch):
    monkeypatch.setattr(lengths, "STEPS_FOR_ANOTHER", 200)  # about 1,000 steps: four lengths
    y = np.arange(50, dtype=np.int32)
    return LengthSource.of(series, y, None, batch_size=8, seed=0)


def minibatches(blocks):
    """Return the rows' numbers of each minibatch, as y has them."""
    found = []
    for block in blocks:
        rows = np.arange(block.valid) if block.order is None else block.order.ravel()[: block.valid]
        found += np.split(np.asarray(block.y)[rows], range(8, len(rows), 8))
    return [batch.tolist() for batch in found]


def test_lengths_are_rounded_up_by_less_than_a_quarter():
    for t in range(1, 2000):
        assert t <= rounded(t) <= max(8, 1.25 * t)
    assert len({rounded(t) for t in range(1, 1025)}) < 40  # so that data sets share programs


def test_few_steps_are_kept_together(series):
    ((part, rows),) = by_length(series)
    assert part.shape == series.shape
    np.testing.assert_array_equal(rows, np.arange(50))


def test_parts_hold_each_row_once_cut_to_its_length(series, monkeypatch):
    monkeypatch.setattr(lengths, "STEPS_FOR_ANOTHER", 200)
    parts = list(by_length(series))
    assert len(parts) == 4 == lengths.MOST_LENGTHS
    np.testing.assert_array_equal(np.sort(np.concatenate([rows for _, rows in parts])), range(50))
    shortest = 0
    for part, rows in parts:
        longest = part.lengths.max()
        assert shortest < part.lengths.min() <= longest <= part.shape[1] <= rounded(int(longest))
        np.testing.assert_array_equal(part.values[:, 0, 0], rows)
        shortest = longest


def test_an_epoch_sees_every_sample_once_in_a_new_order(source):
    first, second = (minibatches(source.blocks(epoch)) for epoch in (0, 1))
    for epoch in (first, second):
        assert sorted(itertools.chain(*epoch)) == list(range(50))
        assert len(epoch) == source.steps_per_epoch
        assert max(map(len, epoch)) == source.batch_size == 8
    assert first != second
    assert first == minibatches(source.blocks(0))


@pytest.mark.parametrize("taken", range(9))
def test_an_epoch_goes_on_where_it_stopped(source, taken):
    assert minibatches(source.blocks(2, taken)) == minibatches(source.blocks(2))[taken:]


def test_padding_is_counted_and_least(source, series):
    """The parts are those of the best choice of three limits, found here by trying all."""
    data = int(series.lengths.sum())
    cells = sum(len(rows) * part.shape[1] for part, rows in by_length(series))
    assert source.padding == pytest.approx(1 - data / cells)
    grid = sorted({rounded(int(t)) for t in series.lengths})

    def padded(limits):
        return sum(min(limit for limit in limits if limit >= t) for t in series.lengths)

    choices = itertools.combinations(grid[:-1], len(source.sources) - 1)
    assert cells == min(padded((*limits, grid[-1])) for limits in choices)
