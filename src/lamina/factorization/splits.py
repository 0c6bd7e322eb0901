"""Interactions into those to train on and those to be predicted.

Interactions are parallel arrays, one entry each: ``users``, and ``times`` where they matter. Splits
are index arrays into them, so that they pick from users, items, values and whatever else there is,
and go to scikit-learn as they are: ``cross_validate(model, X, y, cv=[split])``.

- `leave_one_out`: one interaction of every user, the last or any.
- `hold_out`: a share of every user's interactions, at random or the last.
- `split_by_time`: whatever came after a moment, as a system in use would see it.
- `strong_generalization`: users that training never sees; some of their interactions are folded in,
  the others are to be predicted.
- `UserKFold`: every interaction is predicted once, from the other folds of its user.

Sources: Marlin 2004, Collaborative filtering: a machine learning perspective (weak and strong
generalisation); Liang et al. 2018, Variational autoencoders for collaborative filtering (held-out
users); Meng et al. 2020, Exploring data splitting strategies for the evaluation of recommendation
models.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.errors import InputError, check_number

if TYPE_CHECKING:
    from jaxtyping import Int


class Split(NamedTuple):
    """Index arrays into the interactions, ascending."""

    train: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " n"]


class StrongSplit(NamedTuple):
    """Index arrays into the interactions: of training users, and two parts of the others'."""

    train: Int[np.ndarray, " n"]
    fold_in: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " n"]


def leave_one_out(users: Any, times: Any = None, *, random_state: Any = None) -> Split:
    """Hold out one interaction of every user that has at least two.

    Parameters
    ----------
    users : array of shape (N,)
        Who; any labels.
    times : array of shape (N,), optional
        When: the last is held out, of several at that time the last in the array. Without times it
        is any.
    random_state : int, NumPy generator or None
        Which, without times.
    """
    code, sizes = _users(users)
    late = _from_late(code, sizes, times, random_state)
    return _split((late < 1) & (sizes[code] > 1))


def hold_out(
    users: Any, times: Any = None, *, fraction: float = 0.2, random_state: Any = None
) -> Split:
    """Hold out a share of every user's interactions.

    Parameters
    ----------
    users : array of shape (N,)
        Who; any labels.
    times : array of shape (N,), optional
        When: the last ones are held out. Without times they are drawn.
    fraction : float in (0, 1)
        Of n interactions ``⌊fraction · n + ½⌋`` are held out, but never all.
    random_state : int, NumPy generator or None
        Which, without times.
    """
    check_number("fraction", fraction, above=0, below=1)
    code, sizes = _users(users)
    late = _from_late(code, sizes, times, random_state)
    return _split(late < _share(sizes, fraction)[code])


def split_by_time(times: Any, *, cutoff: Any = None, fraction: float | None = None) -> Split:
    """Train on what came up to a moment, test on what came after it.

    Parameters
    ----------
    times : array of shape (N,)
        When.
    cutoff : a time, optional
        The last moment of training.
    fraction : float in (0, 1), optional
        In place of a cutoff: the share of interactions to test on. Interactions of one time stay
        together, in training.
    """
    times = _same_length("times", times)
    if (cutoff is None) == (fraction is None):
        raise InputError("split_by_time expected either a cutoff or a fraction, got both or none.")
    if fraction is not None:
        check_number("fraction", fraction, above=0, below=1)
        kept = len(times) - int(np.floor(fraction * len(times) + 0.5))
        cutoff = np.sort(times)[max(kept, 1) - 1]
    split = _split(times > cutoff)
    if not len(split.train) or not len(split.test):
        side = "after" if len(split.train) else "up to"
        raise InputError(
            f"split_by_time expected interactions on both sides of the cutoff, got none {side} "
            f"{cutoff}; times go from {times.min()} to {times.max()}."
        )
    return split


def strong_generalization(
    users: Any,
    times: Any = None,
    *,
    held_out: float = 0.2,
    fraction: float = 0.2,
    random_state: Any = None,
) -> StrongSplit:
    """Hold out whole users, and a share of their interactions to be predicted from the others.

    Parameters
    ----------
    users : array of shape (N,)
        Who; any labels.
    times : array of shape (N,), optional
        When: a user's last interactions are to be predicted. Without times they are drawn.
    held_out : float in (0, 1), or int
        The share of users that training never sees, or their number.
    fraction : float in (0, 1)
        The share of a held-out user's interactions to be predicted, rounded as in `hold_out`.
    random_state : int, NumPy generator or None
        Which users, and without times which interactions.
    """
    check_number("fraction", fraction, above=0, below=1)
    code, sizes = _users(users)
    if isinstance(held_out, int | np.integer):
        check_number("held_out", held_out, at_least=1, below=len(sizes), whole=True)
        count = int(held_out)
    else:
        check_number("held_out", held_out, above=0, below=1)
        count = int(np.floor(held_out * len(sizes) + 0.5))
        if not 0 < count < len(sizes):
            raise InputError(
                f"held_out expected a share that leaves users on both sides, got {held_out} of "
                f"{len(sizes)} users. Pass their number."
            )
    rng = np.random.default_rng(random_state)
    chosen = np.zeros(len(sizes), bool)
    chosen[rng.permutation(len(sizes))[:count]] = True
    late = _from_late(code, sizes, times, rng)
    theirs, tested = chosen[code], late < _share(sizes, fraction)[code]
    parts = ~theirs, theirs & ~tested, theirs & tested
    return StrongSplit(*map(np.flatnonzero, parts))


class UserKFold:
    """Folds within every user, for `sklearn.model_selection.cross_validate` and its like.

    Every interaction is in one test fold; a user's n interactions are spread over the folds so that
    no two folds differ by more than one of them. With fewer than two interactions a user is in
    training always.

    Parameters
    ----------
    n_splits : int
        Folds, at least 2.
    random_state : int, NumPy generator or None
        Which interactions go together.
    """

    def __init__(self, n_splits: int = 5, *, random_state: Any = None):
        check_number("n_splits", n_splits, at_least=2, whole=True)
        self.n_splits, self.random_state = n_splits, random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield train and test indices.

        Parameters
        ----------
        X : array of shape (N, 2) or wider
            The first column holds the users, unless ``groups`` does.
        y : ignored
        groups : array of shape (N,), optional
            The users.
        """
        columns = X.iloc[:, 0] if hasattr(X, "iloc") else np.asarray(X)[:, 0]
        code, sizes = _users(columns if groups is None else groups)
        rng = np.random.default_rng(self.random_state)
        first = rng.integers(self.n_splits, size=len(sizes))  # so that folds are of one size
        fold = (_from_late(code, sizes, None, rng) + first[code]) % self.n_splits
        for number in range(self.n_splits):
            yield _split((fold == number) & (sizes[code] > 1))


def _same_length(name: str, values: Any, length: int | None = None) -> np.ndarray:
    """Return one value an interaction, as many as there are users."""
    values = np.asarray(values)
    fits = values.ndim == 1 and values.size and length in (None, len(values))
    if not fits:
        wanted = "at least one interaction" if length is None else f"{length} entries, as users"
        raise InputError(
            f"{name} expected a one-dimensional array of {wanted}, got shape {values.shape}."
        )
    return values


def _users(users: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return each interaction's user as a number from 0, and how many each user has."""
    _, code, sizes = np.unique(
        _same_length("users", users), return_inverse=True, return_counts=True
    )
    return code, sizes


def _from_late(
    code: np.ndarray, sizes: np.ndarray, times: Any, random_state: Any
) -> Int[np.ndarray, " n"]:
    """Return each interaction's place among its user's: 0 is the last, or without times any."""
    if times is None:
        when: np.ndarray = np.random.default_rng(random_state).permutation(len(code))
    else:
        when = _same_length("times", times, len(code))
    order = np.lexsort((np.arange(len(code)), when, code))
    late = np.empty(len(code), np.int64)
    late[order] = np.cumsum(sizes)[code[order]] - 1 - np.arange(len(code))
    return late


def _share(sizes: np.ndarray, fraction: float) -> np.ndarray:
    """Return how many of so many interactions are held out; at least one stays."""
    return np.minimum(np.floor(fraction * sizes + 0.5).astype(np.int64), sizes - 1)


def _split(tested: np.ndarray) -> Split:
    return Split(np.flatnonzero(~tested), np.flatnonzero(tested))
