"""The n best against a stable sort of all scores."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.kernels import native
from lamina.kernels.top_n import _top_n as reference
from lamina.kernels.top_n import top_n


@pytest.fixture(params=["native", "xla"])
def kernels(request, monkeypatch):
    monkeypatch.setenv("LAMINA_KERNELS", request.param)


def operands(q, k, d, seed=0):
    """Return small whole numbers, so that scores are exact and many are equal."""
    rng = np.random.default_rng(seed)
    U, Y, bias = (rng.integers(-3, 4, shape) for shape in ((q, d), (k, d), (k,)))
    excluded = rng.random((q, k)) < 0.4
    indptr = np.append(0, excluded.sum(axis=1).cumsum())
    return *(a.astype(np.float32) for a in (U, Y, bias)), (indptr, excluded.nonzero()[1]), excluded


def by_sorting(U, Y, n, excluded=None, bias=0.0):
    scores = U @ Y.T + bias
    if excluded is not None:
        scores[excluded] = -np.inf
    scores = np.pad(scores, ((0, 0), (0, n)), constant_values=-np.inf)
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    best = np.take_along_axis(scores, ids, axis=1)
    return np.where(best == -np.inf, -1, ids), best


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n", [1, 5, 60])
def test_is_a_stable_sort_of_all_scores(kernels, n):
    U, Y, bias, exclude, excluded = operands(19, 50, 3)
    found = top_n(U, Y, n, exclude, bias)
    assert [array.dtype for array in found] == [np.int32, np.float32]
    assert_same(found, by_sorting(U, Y, n, excluded, bias))
    assert_same(top_n(U, Y, n), by_sorting(U, Y, n))


@pytest.mark.skipif(not native.is_active(), reason=f"no native kernels: {native.explanation()}")
@settings(max_examples=12, deadline=None)
@given(
    q=st.sampled_from([1, 7, 8, 97, 200]),
    k=st.sampled_from([1, 31, 32, 33, 100]),
    d=st.integers(1, 33),
    n=st.integers(1, 40),
)
def test_native_for_any_shape(q, k, d, n):
    U, Y, bias, exclude, excluded = operands(q, k, d)
    assert_same(native.top_n(U, Y, n, exclude, bias), by_sorting(U, Y, n, excluded, bias))


def test_chunks_are_as_the_whole(monkeypatch):
    U, Y, bias, exclude, excluded = operands(19, 50, 3)
    monkeypatch.setattr("lamina.kernels.top_n.CHUNK_SCORES", 200)
    assert_same(reference(U, Y, 5, exclude, bias), by_sorting(U, Y, 5, excluded, bias))


def test_a_row_that_excludes_all_finds_none(kernels):
    ids, scores = top_n(np.ones((1, 2)), np.ones((3, 2)), 2, (np.array([0, 3]), np.arange(3)))
    assert_array_equal(ids, [[-1, -1]])
    assert_array_equal(scores, [[-np.inf, -np.inf]])


def test_excluded_in_any_order(kernels):
    Y = np.arange(6.0)[:, None]
    ids, _ = top_n(np.ones((1, 1)), Y, 3, (np.array([0, 3]), np.array([4, 0, 3])))
    assert_array_equal(ids, [[5, 2, 1]])


def test_what_is_not_a_number_is_never_found(kernels):
    Y = np.array([[1.0], [np.nan], [3.0]])
    ids, scores = top_n(np.array([[1.0], [np.nan]]), Y, 3)
    assert_array_equal(ids, [[2, 0, -1], [-1, -1, -1]])
    assert_array_equal(scores, [[3, 1, -np.inf], [-np.inf] * 3])


@pytest.mark.parametrize(("q", "k", "d"), [(0, 3, 2), (2, 0, 2)])
def test_empty(kernels, q, k, d):
    ids, scores = top_n(np.ones((q, d)), np.ones((k, d)), 2)
    assert ids.shape == scores.shape == (q, 2)
    expected = np.tile([0, 1], (q, 1)) if k else np.full((q, 2), -1)
    assert_array_equal(ids, expected)


def test_scores_are_products(kernels):
    rng = np.random.default_rng(0)
    U, Y = rng.normal(size=(5, 40)), rng.normal(size=(30, 40))
    ids, scores = top_n(U, Y, 4)
    expected = by_sorting(U, Y, 4)
    assert_array_equal(ids, expected[0])
    assert_allclose(scores, expected[1], rtol=1e-5)


def test_two_threads_at_once(kernels):
    problems = [operands(40, 50, 3, seed)[:2] for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            found = pool.map(lambda given: top_n(*given, 4), problems)
            for ours, given_ in zip(found, problems, strict=True):
                assert_same(ours, by_sorting(*given_, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n expected a whole number at least 1"),
        ({"Y": np.ones((3, 4))}, "Y expected 2 columns as U has, got 4"),
        ({"exclude": (np.array([0]), np.array([]))}, "indptr of 2 numbers"),
        ({"exclude": (np.array([0, 3]), np.array([1]))}, "expected ascending numbers"),
    ],
)
def test_says_what_is_wrong(change, message):
    with pytest.raises(InputError, match=message):
        top_n(**{"U": np.ones((1, 2)), "Y": np.ones((3, 2)), "n": 1} | change)
