"""Minibatches: each row once an epoch, orders by seed and epoch, resuming, padding."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lamina.training.batches import PADDED_BYTES, ArraySource, bucket, laid_out, pad_rows

N, BATCH = 23, 4


def source(n=N, *, batch_size=BATCH, **options):
    X = np.arange(n, dtype=np.float32)[:, None]
    return ArraySource.of(X, np.arange(n, dtype=np.int32), batch_size=batch_size, **options)


def rows_of(blocks):
    """Return the rows in the order in which steps take them, and the number of steps."""
    found, steps = [], 0
    for block in blocks:
        batches = block.order.reshape(-1)
        found.append(batches[: block.valid])
        steps += block.steps
    return np.concatenate(found), steps


@pytest.mark.parametrize("block_steps", [1, 2, 100])
@pytest.mark.parametrize("n", [1 + BATCH, 3 * BATCH, 23])
def test_every_row_comes_once_an_epoch(n, block_steps):
    data = source(n, block_steps=block_steps)
    rows, steps = rows_of(data.blocks(epoch=3))
    assert_array_equal(np.sort(rows), np.arange(n))
    assert steps == data.steps_per_epoch == -(-n // BATCH)


def test_orders_differ_by_epoch_and_by_seed_only():
    orders = [
        rows_of(source(seed=seed).blocks(epoch))[0] for seed, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    assert len({tuple(order) for order in orders}) == 3
    again = source(seed=0)
    list(again.blocks(5))  # what was asked for before does not matter
    assert_array_equal(rows_of(again.blocks(1))[0], orders[1])
    assert not np.array_equal(orders[0], np.arange(N))


def test_without_shuffle_rows_come_as_they_stand():
    assert_array_equal(rows_of(source(shuffle=False).blocks(2))[0], np.arange(N))


@pytest.mark.parametrize("block_steps", [1, 2, 5])
@pytest.mark.parametrize("first_step", [0, 1, 4, 5])
def test_starting_in_the_middle_gives_what_remains(block_steps, first_step):
    data = source(seed=9, block_steps=block_steps)
    whole, _ = rows_of(data.blocks(2))
    rest, steps = rows_of(data.blocks(2, first_step))
    assert_array_equal(rest, whole[first_step * BATCH :])
    assert steps == data.steps_per_epoch - first_step


def test_nothing_remains_after_the_last_step():
    assert list(source().blocks(0, first_step=6)) == []
    assert list(source(batch_size=None).blocks(0, first_step=1)) == []


@pytest.mark.parametrize("batch_size", [None, N, 1000])
def test_a_whole_batch_is_one_step_of_all_rows_in_order(batch_size):
    data = source(batch_size=batch_size)
    (block,) = data.blocks(0)
    assert block.order is None
    assert block.steps == data.steps_per_epoch == 1
    assert_array_equal(np.asarray(block.y)[: block.valid], np.arange(N))


def test_padding_is_beyond_the_valid_rows():
    data = ArraySource.of(
        np.ones((N, 2), np.float32), np.ones(N), np.full(N, 2.0), batch_size=BATCH, block_steps=100
    )
    (block,) = data.blocks(0)
    assert block.X.shape == (32, 2)
    assert block.order.shape == (100, BATCH)
    assert block.valid == N
    for array in (block.X, block.y, block.weight):
        assert not np.asarray(array)[N:].any()
        assert np.asarray(array)[:N].all()


def test_buckets():
    assert [bucket(rows) for rows in (1, 8, 9, 16, 17, 1000)] == [8, 8, 16, 16, 32, 1024]
    just = PADDED_BYTES // 1024
    assert bucket(just - 1, row_bytes=1024) == just
    assert bucket(just + 1, row_bytes=1024) == just + 1  # large data are not doubled


def test_pad_rows():
    array = np.ones((3, 2), np.int32)
    assert pad_rows(array, 3) is array
    padded = pad_rows(array, 5)
    assert_array_equal(padded, [[1, 1]] * 3 + [[0, 0]] * 2)
    assert padded.dtype == np.int32


@pytest.mark.parametrize("shape", [(5, 3), (40, 7, 2)])
def test_what_is_converted_is_not_copied_again_by_the_device(shape):
    X = np.random.default_rng(0).normal(size=shape)
    for given in (X, np.asfortranarray(X.astype(np.float32)), X[::-1]):
        matrix = laid_out(given, np.float32)
        assert_array_equal(matrix, given.astype(np.float32))
        assert matrix.flags.c_contiguous
        assert jax.device_put(matrix).unsafe_buffer_pointer() == matrix.ctypes.data
    assert laid_out(matrix, np.float32) is matrix
