"""Ranking metrics: cases worked by hand, scikit-learn as a witness, and what must always hold."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from lamina.errors import InputError
from lamina.factorization import ranking

# Two users of six items, and one without relevant items. Grades: user 0 likes items 1 (3), 2 (1)
# and 4 (2); user 1 likes item 5.
RELEVANT = sp.csr_array(np.array([[0, 3, 1, 0, 2, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]]))
LISTS = np.array([[2, 0, 4, 3], [0, 1, 2, -1], [0, 1, 2, 3]])
LOG3 = np.log2(3)

BY_HAND = {
    "precision": (ranking.precision, {}, 3, [2 / 3, 0]),
    "precision of a short list": (ranking.precision, {}, 4, [2 / 4, 0]),
    "recall": (ranking.recall, {}, 2, [1 / 3, 0]),
    "recall, capped": (ranking.recall, {"capped": True}, 2, [1 / 2, 0]),
    "hit rate": (ranking.hit_rate, {}, 1, [1, 0]),
    "reciprocal rank": (ranking.reciprocal_rank, {}, 4, [1, 0]),
    "average precision": (ranking.average_precision, {}, 3, [(1 + 2 / 3) / 3, 0]),
    "average precision, capped": (ranking.average_precision, {}, 2, [1 / 2, 0]),
    "average precision, not capped": (
        ranking.average_precision, {"capped": False}, 2, [1 / 3, 0],
    ),
    "NDCG": (ranking.ndcg, {}, 3, [(1 + 1 / 2) / (1 + 1 / LOG3 + 1 / 2), 0]),
    "NDCG, linear": (
        ranking.ndcg, {"gain": "linear"}, 3, [(1 + 2 / 2) / (3 + 2 / LOG3 + 1 / 2), 0],
    ),
    "NDCG, exponential, ideal cut": (
        ranking.ndcg, {"gain": "exponential"}, 2, [1 / (7 + 3 / LOG3), 0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_cases_worked_by_hand(case):
    metric, settings, k, expected = BY_HAND[case]
    found = metric(LISTS, RELEVANT, k, **settings)
    np.testing.assert_allclose(found, [*expected, np.nan], rtol=1e-15)


def test_reciprocal_rank_is_of_the_first_hit():
    found = ranking.reciprocal_rank(np.array([[0, 3, 4, 1]]), RELEVANT[:1], 4)
    np.testing.assert_array_equal(found, [1 / 3])
    np.testing.assert_array_equal(
        ranking.reciprocal_rank(np.array([[0, 3, 4, 1]]), RELEVANT[:1], 2), [0]
    )


def test_coverage_counts_each_item_once_and_never_the_missing():
    assert ranking.catalogue_coverage(LISTS, 6, 2) == 3 / 6
    assert ranking.catalogue_coverage(LISTS[1:2], 10, 4) == 3 / 10


def test_entries_that_are_not_positive_are_not_relevant():
    graded = RELEVANT.astype(float).tolil()
    graded[0, 0], graded[2, 0] = -1, -2
    np.testing.assert_array_equal(
        ranking.precision(LISTS, graded.tocsr(), 3), ranking.precision(LISTS, RELEVANT, 3)
    )
    assert graded[0, 0] == -1


@pytest.mark.parametrize("k", [1, 3, 8])
def test_ndcg_is_scikit_learns(k):
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(12.0), (40, 1)), axis=1)  # no ties
    grades = rng.integers(0, 5, scores.shape) * (rng.random(scores.shape) < 0.4)
    grades[:, 0] = 1
    lists = np.argsort(-scores, axis=1)[:, :8]
    for gain, worth in (("linear", grades), ("binary", grades > 0), ("exponential", 2**grades - 1)):
        ours = ranking.ndcg(lists, sp.csr_array(grades), k, gain=gain)
        np.testing.assert_allclose(ours.mean(), ndcg_score(worth, scores, k=k), rtol=1e-12)


@st.composite
def _rankings(draw):
    users, items = draw(st.integers(1, 4)), draw(st.integers(2, 9))
    grades = draw(
        st.lists(
            st.lists(st.sampled_from([0, 0, 1, 2, 5]), min_size=items, max_size=items),
            min_size=users,
            max_size=users,
        )
    )
    lists = np.array([draw(st.permutations(range(items))) for _ in range(users)])
    short = draw(st.integers(0, items))
    lists[0, short:] = -1
    return np.array(grades), lists, draw(st.integers(1, items))


@given(_rankings())
@settings(max_examples=40, deadline=None)
def test_what_always_holds(case):
    grades, lists, k = case
    relevant = sp.csr_array(grades)
    perfect = np.argsort(-grades, axis=1, kind="stable")
    some = grades.any(axis=1)
    found, best = ranking.figures(lists, relevant, k), ranking.figures(perfect, relevant, k)
    for name, values in found.items():
        assert np.array_equal(np.isnan(values), ~some)
        assert ((values[some] >= 0) & (values[some] <= 1 + 1e-12)).all()
        assert (values[some] <= best[name][some] + 1e-12).all()
    for name in ("ndcg", "map", "mrr", "hit_rate"):
        np.testing.assert_allclose(best[f"{name}@{k}"][some], 1)
    for gain in ranking.GAINS:
        np.testing.assert_allclose(ranking.ndcg(perfect, relevant, k, gain=gain)[some], 1)
    R = (grades > 0).sum(axis=1)
    np.testing.assert_allclose(
        k * found[f"precision@{k}"][some], (R * found[f"recall@{k}"])[some], atol=1e-12
    )


REFUSED = {
    "k beyond the list": ((LISTS, RELEVANT, 5), "k expected at most the 4 columns"),
    "no k": ((LISTS, RELEVANT, 0), "k expected a whole number at least 1"),
    "an item that is not there": ((LISTS + 3, RELEVANT, 2), "item numbers from 0 to 5"),
    "scores": ((LISTS * 0.5, RELEVANT, 2), "expected item numbers, an integer array"),
    "other users": ((LISTS[:2], RELEVANT, 2), "a row for each of the 3 rows"),
    "twice": ((LISTS * 0, RELEVANT, 2), "each item at most once a row"),
    "dense": ((LISTS, RELEVANT.toarray(), 2), "expected a SciPy sparse matrix"),
    "NaN": ((LISTS, RELEVANT * np.nan, 2), "expected finite grades"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    arguments, words = REFUSED[case]
    with pytest.raises(InputError, match=words):
        ranking.precision(*arguments)


def test_an_unknown_gain_is_refused():
    with pytest.raises(InputError, match="Did you mean 'linear'"):
        ranking.ndcg(LISTS, RELEVANT, 2, gain="liner")
