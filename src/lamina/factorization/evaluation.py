"""How well a model's lists hold what users turned out to want, for any model that makes lists.

Each user's list is made from what is known of the user, without it, and held against what was held
out; see `lamina.factorization.ranking` for the figures and `lamina.factorization.splits` for ways
to hold out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lamina.errors import InputError, check_number
from lamina.factorization.ranking import catalogue_coverage, figures

if TYPE_CHECKING:
    from jaxtyping import Int

USERS_AT_ONCE = 4096
"""Users whose lists are made in one call, and all that is in memory of them."""


class Recommender(Protocol):
    """Makes lists for known users, by row number, or for new ones, by their interactions.

    Either method returns an integer array (q, n) of items, -1 where a list is shorter, or an object
    that has it as ``codes``, as `lamina.factorization.recommendations.Recommendations` does. One of
    the two is enough.
    """

    def recommend(self, users: Any, n: int) -> Any:
        """Return lists for users of the training, without what they had in it."""

    def recommend_new(self, new_rows: Any, n: int) -> Any:
        """Return lists for a CSR matrix of users by items, without what it holds."""


class Popularity:
    """The most popular items for everyone: the baseline that a model has to beat."""

    def fit(self, X: Any, y: Any = None) -> Popularity:
        """Count the users of each item in a sparse matrix of users by items."""
        self._seen = X.tocsr()
        counts = np.bincount(self._seen.indices, minlength=X.shape[1])
        self._best = np.argsort(-counts, kind="stable")
        return self

    def recommend(self, users: Any, n: int) -> Int[np.ndarray, "q n"]:
        """Return the most popular items that each user had not in training."""
        return self.recommend_new(self._seen[np.asarray(users)], n)

    def recommend_new(self, new_rows: Any, n: int) -> Int[np.ndarray, "q n"]:
        """Return the most popular items that each row has not."""
        new_rows = new_rows.tocsr()
        lists = np.full((new_rows.shape[0], n), -1, np.int64)
        for row, seen in enumerate(np.split(new_rows.indices, new_rows.indptr[1:-1])):
            first = self._best[: n + len(seen)]
            left = first[~np.isin(first, seen)][:n]
            lists[row, : len(left)] = left
        return lists


def evaluate_ranking(
    model: Recommender,
    train: Any,
    held_out: Any,
    at: Sequence[int] = (10, 20, 50),
    *,
    fold_in: bool = False,
) -> dict[str, float]:
    """Return a model's ranking figures, means over the users with something held out.

    Parameters
    ----------
    model : Recommender
        Fitted. Its users and items are the rows and columns of the matrices, as they are for a
        model fitted to a sparse matrix.
    train : sparse matrix of shape (users, items)
        What is known of users: what the model was fitted to or, with ``fold_in``, what it is given
        of new users.
    held_out : sparse matrix of shape (users, items)
        What is to be found; positive entries are relevant, and the grades of NDCG are binary.
    at : sequence of int
        Lengths of lists.
    fold_in : bool
        Whether users are new to the model (strong generalisation): their lists come from
        ``recommend_new`` of their rows of ``train``.

    Returns
    -------
    dict
        ``"ndcg@10"`` and the like; ``"coverage@10"``; ``"users"``, over how many the means are; and
        ``"left_out"``, how many have nothing held out.

    Raises
    ------
    InputError
        If the matrices are no pair, overlap, or nothing is held out.
    """
    for k in at:
        check_number("at", k, at_least=1, whole=True)
    train, held_out = train.tocsr(), held_out.tocsr()
    if train.shape != held_out.shape:
        raise InputError(
            f"held_out expected the users and items of train, {train.shape}, got {held_out.shape}."
        )
    both = (train != 0).multiply(held_out > 0).nnz
    if both:
        raise InputError(
            f"held_out expected pairs that are not in train, got {both:,} that are; no list can "
            "hold them. Leave them out of one of the two."
        )
    wanted = np.unique((held_out > 0).nonzero()[0])
    if not len(wanted):
        raise InputError("held_out expected at least one relevant item, got none.")
    longest = min(max(at), train.shape[1])
    lists = np.full((len(wanted), max(at)), -1, np.int64)
    totals: dict[str, float] = {}
    for start in range(0, len(wanted), USERS_AT_ONCE):
        rows = wanted[start : start + USERS_AT_ONCE]
        answer = (
            model.recommend_new(train[rows], longest) if fold_in else model.recommend(rows, longest)
        )
        found = np.asarray(getattr(answer, "codes", answer))
        part = lists[start : start + len(rows)]
        part[:, : found.shape[1]] = found
        for k in at:
            for name, values in figures(part, held_out[rows], k).items():
                totals[name] = totals.get(name, 0.0) + float(values.sum())
    means = {name: total / len(wanted) for name, total in totals.items()}
    means |= {f"coverage@{k}": catalogue_coverage(lists, train.shape[1], k) for k in at}
    return means | {"users": float(len(wanted)), "left_out": float(train.shape[0] - len(wanted))}
