"""Splits of interactions: who is held out, how many, when; and scikit-learn's use of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import InputError
from lamina.factorization import splits

USERS = np.array(["b", "a", "b", "a", "c", "b", "a", "b", "b"])
TIMES = np.array([5, 2, 9, 1, 0, 9, 3, 4, 1])

users = st.lists(st.integers(0, 4), min_size=1, max_size=30).map(np.array)


def _is_partition(parts, n):
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_the_last_of_every_user_is_left_out():
    train, test = splits.leave_one_out(USERS, TIMES)
    np.testing.assert_array_equal(test, [5, 6])  # b's later 9, a's 3; c has but one
    np.testing.assert_array_equal(train, [0, 1, 2, 3, 4, 7, 8])


def test_any_one_of_every_user_is_left_out():
    drawn = [splits.leave_one_out(USERS, random_state=seed).test for seed in range(40)]
    assert all(sorted(USERS[test]) == ["a", "b"] for test in drawn)
    assert set(np.concatenate(drawn)) == {0, 1, 2, 3, 5, 6, 7, 8}


def test_a_share_of_every_user_is_held_out():
    split = splits.hold_out(USERS, TIMES, fraction=0.4)
    np.testing.assert_array_equal(split.test, [2, 5, 6])  # 2 of b's 5, 1 of a's 3, 0 of c's 1


@given(users, st.floats(0.05, 0.95), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_holding_out_keeps_to_the_fraction(users, fraction, seed):
    split = splits.hold_out(users, fraction=fraction, random_state=seed)
    _is_partition(split, len(users))
    for user in np.unique(users):
        n = int((users == user).sum())
        expected = min(int(np.floor(fraction * n + 0.5)), n - 1)
        assert (users[split.test] == user).sum() == expected
    again = splits.hold_out(users, fraction=fraction, random_state=seed)
    np.testing.assert_array_equal(split.test, again.test)


def test_a_moment_parts_the_times():
    split = splits.split_by_time(TIMES, cutoff=4)
    np.testing.assert_array_equal(split.test, [0, 2, 5])
    split = splits.split_by_time(TIMES, fraction=0.2)  # the last two of nine have one time
    np.testing.assert_array_equal(split.test, [2, 5])
    days = np.datetime64("2020-01-01") + TIMES
    split = splits.split_by_time(days, cutoff=np.datetime64("2020-01-05"))
    np.testing.assert_array_equal(split.test, [0, 2, 5])


@given(users, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_strong_generalization_never_trains_on_held_out_users(users, seed):
    count = len(np.unique(users))
    if count < 2:
        return
    split = splits.strong_generalization(users, held_out=1, fraction=0.5, random_state=seed)
    _is_partition(split, len(users))
    theirs = np.concatenate([split.fold_in, split.test])
    assert len(np.unique(users[theirs])) == 1
    assert not set(users[theirs]) & set(users[split.train])
    assert len(split.test) == min(np.floor(len(theirs) / 2 + 0.5), len(theirs) - 1)


def test_strong_generalization_takes_a_share_of_users_and_the_last_interactions():
    split = splits.strong_generalization(
        np.repeat(np.arange(10), 4), np.tile(np.arange(4), 10), held_out=0.3, random_state=0
    )
    assert len(split.train) == 28
    np.testing.assert_array_equal(split.test % 4, [3, 3, 3])


@given(users, st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_folds_within_users(users, folds):
    X = np.stack([users, users + 7], axis=1)
    found = list(splits.UserKFold(folds, random_state=0).split(X))
    assert len(found) == folds
    several = np.isin(users, np.flatnonzero(np.bincount(users) > 1))
    tested = np.sort(np.concatenate([split.test for split in found]))
    np.testing.assert_array_equal(tested, np.flatnonzero(several))
    for split in found:
        _is_partition(split, len(users))
        assert set(users[split.test]) <= set(users[split.train])
    for user in np.unique(users[several]):
        sizes = [(users[split.test] == user).sum() for split in found]
        assert max(sizes) - min(sizes) <= 1


def test_scikit_learn_takes_them():
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import cross_validate

    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 6, (60, 2)), rng.normal(size=60)
    folds = splits.UserKFold(3, random_state=0)
    assert len(cross_validate(Ridge(), X, y, cv=folds)["test_score"]) == 3
    split = splits.hold_out(X[:, 0], random_state=0)
    score = cross_validate(Ridge(), X, y, cv=[split])["test_score"]
    expected = Ridge().fit(X[split.train], y[split.train]).score(X[split.test], y[split.test])
    np.testing.assert_allclose(score, expected)


REFUSED = {
    "fraction": (lambda: splits.hold_out(USERS, fraction=1.5), "fraction expected a number"),
    "times": (lambda: splits.leave_one_out(USERS, TIMES[1:]), "times expected .* 9 entries"),
    "none": (lambda: splits.hold_out([]), "users expected .* at least one interaction"),
    "both": (lambda: splits.split_by_time(TIMES), "either a cutoff or a fraction"),
    "after": (lambda: splits.split_by_time(TIMES, cutoff=9), "got none after 9"),
    "before": (lambda: splits.split_by_time(TIMES, cutoff=-1), "got none up to -1"),
    "all users": (
        lambda: splits.strong_generalization(USERS, held_out=3), "held_out expected a whole number",
    ),
    "no users": (
        lambda: splits.strong_generalization(USERS, held_out=0.1), "leaves users on both sides",
    ),
    "one fold": (lambda: splits.UserKFold(1), "n_splits expected a whole number at least 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    call, words = REFUSED[case]
    with pytest.raises(InputError, match=words):
        call()
