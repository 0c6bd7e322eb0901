"""Augmentation: each change against its definition in training, and none in prediction."""

from collections import Counter

import jax
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_array_equal

from lamina.errors import InputError
from lamina.layers import (
    PREDICTING,
    Context,
    Cutout,
    Dense,
    Flatten,
    RandomFlip,
    RandomShift,
    Sequential,
)

ALL = (RandomFlip(), RandomShift(2), Cutout(3))


def images(n=400, h=5, w=6, c=2):
    """Return images without a zero, in which no two numbers are the same."""
    return (1 + np.arange(n * h * w * c, dtype=np.float32)).reshape(n, h, w, c)


def trained(layer, X, seed=0):
    """Return what the layer makes of X in a training step."""
    A, statistics = layer.apply({}, {}, X, Context(train=True, key=jax.random.key(seed)))
    assert statistics == {}
    return np.asarray(A)


def test_a_flip_is_the_mirror_image_of_about_every_second_one():
    X = images()
    A = trained(RandomFlip(), X)
    flipped = (X[:, :, ::-1] == A).all(axis=(1, 2, 3))
    kept = (A == X).all(axis=(1, 2, 3))
    assert (flipped ^ kept).all()
    assert abs(flipped.mean() - 0.5) < 4 * np.sqrt(0.25 / len(X))  # four standard deviations


@pytest.mark.parametrize("most", [1, 2])
def test_a_shift_is_a_window_of_the_image_among_zeros(most):
    X = images(n=300)
    around = (most, most)
    padded = np.pad(X, ((0, 0), around, around, (0, 0)))
    A = trained(RandomShift(most), X)
    windows = sliding_window_view(padded, X.shape[1:], axis=(1, 2, 3))[:, :, :, 0]
    found = (windows == A[:, None, None]).all(axis=(3, 4, 5))  # (n, corner down, corner right)
    assert_array_equal(found.sum(axis=(1, 2)), 1)
    count = 2 * most + 1
    corners = found.sum(axis=0)
    assert corners.shape == (count, count)
    spread = np.sqrt(len(X) / count**2)
    assert np.abs(corners - len(X) / count**2).max() < 4 * spread  # each place is as likely


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_cutout_is_a_square_of_zeros_around_any_cell(size):
    X = images(n=600)
    n, h, w, c = X.shape
    A = trained(Cutout(size), X)
    assert_array_equal(A[A != 0], X[A != 0])
    cut = A == 0
    assert_array_equal(cut, cut[..., :1].repeat(c, axis=-1))  # in every channel
    before, after = size // 2, (size - 1) // 2
    likely = {}  # each mask, and how many centres make it
    for down, right in np.ndindex(h, w):
        mask = np.zeros((h, w), int)
        rows = slice(max(0, down - before), down + after + 1)
        mask[rows, max(0, right - before) : right + after + 1] = 1
        key = tuple(mask.ravel().tolist())
        likely[key] = likely.get(key, 0) + 1
    found = Counter(tuple(row) for row in cut[..., 0].reshape(n, -1).astype(int).tolist())
    assert set(found) <= set(likely)
    for key, centres in likely.items():
        mean = n * centres / (h * w)
        assert abs(found[key] - mean) <= 4.5 * np.sqrt(mean)


def test_a_cutout_larger_than_the_image_leaves_what_its_centre_allows():
    A = trained(Cutout(4), images(n=200, h=2, w=2, c=1))
    assert (A == 0).all()
    A = trained(Cutout(4), images(n=200, h=1, w=9, c=1))
    widths = (A == 0).sum(axis=(1, 2, 3))
    assert set(widths.tolist()) == {2, 3, 4}  # centres at 0 and 8, at 1, and between


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.kind)
def test_prediction_changes_nothing(layer):
    X = images(n=8)
    A, statistics = layer.apply({}, {}, X, PREDICTING)
    assert A is X
    assert statistics == {}


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.kind)
def test_the_key_decides(layer):
    X = images(n=64)
    assert layer.random
    assert_array_equal(trained(layer, X, 1), trained(layer, X, 1))
    assert (trained(layer, X, 1) != trained(layer, X, 2)).any()
    assert layer.output_shape((5, 6, 2), "network") == (5, 6, 2)


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.kind)
def test_two_in_one_network_draw_apart(layer):
    X = images(n=64)
    context = Context(train=True, key=jax.random.key(0))
    twice, _ = Sequential([layer, layer]).apply({}, {}, X, context)
    same = trained(layer, trained(layer, X, 0), 0)
    assert (np.asarray(twice) != same).any()


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.kind)
def test_what_is_no_image_is_refused(layer):
    with pytest.raises(InputError, match=r"net expected samples that are images \(h, w, c\), got"):
        layer.output_shape((12,), "net")
    with pytest.raises(InputError, match=r"_0 expected .* shape \(60,\)\. Put it before layers th"):
        Sequential([Flatten(), layer, Dense(2)]).output_shape((5, 6, 2))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", None])
def test_sizes_are_whole_numbers(wrong):
    with pytest.raises(InputError, match="RandomShift most expected a whole number at least 1"):
        RandomShift(wrong)
    with pytest.raises(InputError, match="Cutout size expected a whole number at least 1"):
        Cutout(wrong)
