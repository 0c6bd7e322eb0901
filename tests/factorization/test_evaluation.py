"""Evaluation of lists: by hand, in chunks, of known and of new users; and popularity."""

import numpy as np
import pytest
import scipy.sparse as sp

from lamina import ImplicitFactorization
from lamina.errors import InputError
from lamina.factorization import evaluation
from lamina.factorization.evaluation import Popularity, evaluate_ranking
from lamina.factorization.splits import hold_out, strong_generalization

TRAIN = sp.csr_array(np.array([[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 1]]))
HELD_OUT = sp.csr_array(
    np.array([[0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
)


def test_popularity_by_hand():
    model = Popularity().fit(TRAIN)  # items in the order 0, 1, then 2 and 4, then 3
    lists = model.recommend([0, 1, 3], 4)
    np.testing.assert_array_equal(lists, [[2, 4, 3, -1], [1, 4, 3, -1], [0, 1, 2, 3]])
    found = evaluate_ranking(model, TRAIN, HELD_OUT, at=(2,))
    assert found["users"] == 3
    assert found["left_out"] == 1
    assert found["precision@2"] == pytest.approx((1 + 1 + 1) / 6)
    assert found["recall@2"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["mrr@2"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert found["coverage@2"] == 4 / 5
    np.testing.assert_array_equal(
        model.recommend_new(sp.csr_array(([1], ([0], [0])), shape=(1, 5)), 2), [[1, 2]]
    )


def test_lists_longer_than_the_catalogue():
    found = evaluate_ranking(Popularity().fit(TRAIN), TRAIN, HELD_OUT, at=(20,))
    assert found["recall@20"] == 1


def test_chunks_change_nothing(monkeypatch):
    whole = evaluate_ranking(Popularity().fit(TRAIN), TRAIN, HELD_OUT, at=(1, 3))
    monkeypatch.setattr(evaluation, "USERS_AT_ONCE", 1)
    assert evaluate_ranking(Popularity().fit(TRAIN), TRAIN, HELD_OUT, at=(1, 3)) == pytest.approx(
        whole
    )


@pytest.fixture(scope="module")
def groups():
    """Return users and items of two groups that keep to themselves, three quarters of all pairs."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(np.add.outer(np.arange(40), np.arange(30)) % 2 == 0)
    kept = rng.random(len(users)) < 0.75
    return users[kept], items[kept]


def _matrix(users, items, rows):
    return sp.csr_array((np.ones(len(rows)), (users[rows], items[rows])), shape=(40, 30))


def test_a_factorisation_is_measured_and_beats_popularity(groups):
    users, items = groups
    split = hold_out(users, random_state=0)
    train, test = (_matrix(users, items, rows) for rows in split)
    model = ImplicitFactorization(rank=2, random_state=0, verbose=0).fit(train)
    ours = evaluate_ranking(model, train, test, at=(10,))
    assert (
        ours["recall@10"]
        > 0.9
        > 0.7
        > evaluate_ranking(Popularity().fit(train), train, test, at=(10,))["recall@10"]
    )
    own = model.evaluate(test, at=(10,))
    for name in ("ndcg@10", "recall@10", "map@10", "coverage@10", "users"):
        assert ours[name] == pytest.approx(own[name])


def test_users_that_training_never_saw(groups):
    users, items = groups
    train, known, wanted = (
        _matrix(users, items, rows)
        for rows in strong_generalization(users, held_out=10, random_state=0)
    )
    some = np.flatnonzero(np.diff(train.indptr))
    model = ImplicitFactorization(rank=2, random_state=0, verbose=0).fit(train[some])
    found = evaluate_ranking(model, known, wanted, at=(10,), fold_in=True)
    assert found["users"] == 10
    assert found["recall@10"] > 0.9


def test_what_is_refused():
    model = Popularity().fit(TRAIN)
    one = sp.csr_array(([1], ([3], [4])), shape=TRAIN.shape)
    with pytest.raises(InputError, match="got 1 that are; no list can"):
        evaluate_ranking(model, TRAIN, HELD_OUT + one)
    with pytest.raises(InputError, match="users and items of train"):
        evaluate_ranking(model, TRAIN, HELD_OUT[:2])
    with pytest.raises(InputError, match="at least one relevant item"):
        evaluate_ranking(model, TRAIN, HELD_OUT * 0)
