"""Figures of weight matrices against NumPy's decompositions and cases worked by hand."""

import numpy as np
import pytest

from lamina import MLPClassifier
from lamina.inspection import matrix_figures


def figures(W):
    (found,) = matrix_figures({"W": W})
    return found


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 6), (6, 1)])
def test_figures_against_the_singular_values(shape):
    W = np.random.default_rng(0).normal(0.3, 2, shape)
    W[0, 0] = 0
    s = np.linalg.svd(W, compute_uv=False)
    found = figures(W)
    assert found.shape == shape
    assert found.spectral == pytest.approx(s[0], rel=1e-12)
    assert found.frobenius == pytest.approx(np.sqrt((s**2).sum()), rel=1e-12)
    assert found.stable_rank == pytest.approx((s**2).sum() / s[0] ** 2, rel=1e-12)
    assert found.mean == pytest.approx(W.sum() / W.size, rel=1e-12)
    deviation = np.sqrt(((W - W.mean()) ** 2).sum() / W.size)
    assert found.deviation == pytest.approx(deviation, rel=1e-12)
    assert found.zeros == pytest.approx(1 / W.size)


def test_a_case_by_hand():
    found = figures(np.array([[3.0, 0.0], [0.0, -4.0]]))
    assert (found.spectral, found.frobenius) == (pytest.approx(4), pytest.approx(5))
    assert found.stable_rank == pytest.approx(25 / 16)
    assert (found.mean, found.zeros) == (-0.25, 0.5)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_equal_singular_values_count_the_rank(rank):
    Q, _ = np.linalg.qr(np.random.default_rng(rank).normal(size=(9, rank)))
    assert figures(3.0 * Q @ Q.T).stable_rank == pytest.approx(rank, rel=1e-9)


def test_vectors_have_no_spectrum():
    found = figures(np.array([3.0, -4.0, 0.0, 0.0]))
    assert found.spectral is None
    assert found.stable_rank is None
    assert found.frobenius == 5
    assert found.zeros == 0.5


def test_a_matrix_of_zeros_has_rank_zero():
    found = figures(np.zeros((3, 2)))
    assert (found.spectral, found.stable_rank, found.zeros) == (0, 0, 1)


def test_filters_are_their_patch_matrix():
    filters = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    found, flat = figures(filters), figures(filters.reshape(24, 5))
    assert found.shape == (3, 2, 4, 5)
    assert found.spectral == flat.spectral
    assert found.stable_rank == flat.stable_rank


def test_numbers_that_are_not_finite_are_shown_not_raised():
    W = np.ones((3, 2))
    W[1, 1] = np.nan
    assert np.isnan(figures(W).spectral)
    W[1, 1] = np.inf
    assert not np.isfinite(figures(W).frobenius)


def test_paths_follow_the_networks_order():
    weights = {"b": {"W": np.eye(2), "b": np.ones(2)}, "a": {"inner": {"W": np.eye(3)}}}
    assert [row.path for row in matrix_figures(weights)] == ["b/W", "b/b", "a/inner/W"]
    X = np.random.default_rng(0).normal(size=(20, 3))
    model = MLPClassifier(hidden=(4,), max_epochs=1).fit(X, np.arange(20) % 2)
    paths = [row.path for row in matrix_figures(model.weights_)]
    assert paths == ["dense_0/W", "dense_0/b", "dense_1/W", "dense_1/b"]
