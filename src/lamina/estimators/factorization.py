"""What models of users and items share: interactions in, lists out, new users, and one file.

Labels are users' and items' own names; inside, they are row numbers of ``user_factors_`` and
``item_factors_``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice, check_number, did_you_mean
from lamina.estimators import validation
from lamina.estimators.contract import Estimator
from lamina.factorization.factors import Factors, Side, pair_scores
from lamina.factorization.features import named_by
from lamina.factorization.interactions import Interactions, is_sparse, new_rows, triples
from lamina.factorization.labels import UNKNOWN, Labels
from lamina.factorization.ranking import catalogue_coverage, figures
from lamina.factorization.recommendations import Recommendations
from lamina.kernels.top_n import top_n
from lamina.placement import Devices, over

USERS_AT_ONCE = 4096
"""Users whose lists are made in one call where all are."""


@dataclass(kw_only=True, eq=False, repr=False)
class Factorization(Estimator):
    """Users times items as a product of two thin matrices.

    Parameters
    ----------
    rank : int
        k, the length of the vectors.
    iterations : int
        Of the alternating solvers: each solves for all items, then for all users.
    columns : sequence of str, optional
        A DataFrame's columns: user, item and perhaps value. None looks for usual names.
    duplicates : {"error", "sum", "mean", "last"}
        What to do with a pair of user and item that comes more than once.
    unknown : {"popular", "error"}
        What users get of whom nothing is known: the most popular items, flagged, or an error.
    devices : "all", int or (int, int), optional
        Over how many devices to fit, each with its rows of users and of items: the result is that
        of one device but for rounding. None is one device.
    random_state : int, NumPy generator or None
        Seeds the first factors; the same seed gives the same result.
    verbose : int
        0 is silent; otherwise a progress bar, if standard error is a terminal.

    Attributes
    ----------
    user_factors_, item_factors_ : arrays of shape (users, k) and (items, k)
        float32; row by row as ``users_`` and ``items_`` name them.
    user_bias_, item_bias_ : arrays of shape (users,) and (items,)
        Zeros in models without biases.
    users_, items_ : arrays
        Labels of the rows.
    history_ : dict of list
        Per iteration (or epoch): loss and other figures, seconds.
    """

    rank: int = 16
    iterations: int = 15
    columns: Sequence[str] | None = None
    duplicates: str = "error"
    unknown: str = "popular"
    devices: Devices = None
    random_state: Any = None
    verbose: int = 1

    # What a subclass says

    def _check_values(self, interactions: Interactions) -> Interactions:
        """Return the interactions to fit, or raise for values that the model cannot take."""
        raise NotImplementedError

    def _learn(self, interactions: Interactions, seed: int, features: tuple[Any, Any]) -> None:
        """Set ``_model`` and ``history_``; ``features`` as `_fit` is given them."""
        raise NotImplementedError

    def _fold(self, rows: Any) -> Side:
        """Return the side of new users, given as a CSR array."""
        raise NotImplementedError

    def _learned(self) -> dict[str, Any]:
        """Return what was learned beside the arrays, as plain JSON values."""
        return {"mean": self._model.mean}

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned as arrays."""
        users, items, _ = self._model
        found = {"users/P": users.factors, "users/b": users.bias}
        found |= {"items/Q": items.factors, "items/c": items.bias}
        found |= {f"labels/users/{k}": v for k, v in self._users.arrays().items()}
        found |= {f"labels/items/{k}": v for k, v in self._items.arrays().items()}
        found |= {"described/users": self._described[0], "described/items": self._described[1]}
        return found | {"seen/indptr": self._seen[0], "seen/indices": self._seen[1]}

    # Fitting

    def fit(self, X, y=None):
        """Fit to interactions.

        Parameters
        ----------
        X : sparse matrix, DataFrame, tuple of arrays, or array of shape (n, 2 or 3)
            As `lamina.factorization.interactions.Interactions.of` takes them: a SciPy matrix of
            users by items, or a user, an item and perhaps a value in each row.
        y : array of shape (n,), optional
            Values, where X has none.

        Returns
        -------
        self

        Raises
        ------
        InputError
            For interactions, values or parameters that cannot be used.
        """
        return self._fit(X, y, (None, None))

    def _fit(self, X: Any, y: Any, features: tuple[Any, Any]):
        """Fit; ``features`` are what is known of users and of items."""
        check_number("rank", self.rank, at_least=1, whole=True)
        check_number("iterations", self.iterations, at_least=1, whole=True)
        check_choice("unknown", self.unknown, ("popular", "error"))
        interactions = Interactions.of(X, y, columns=self.columns, duplicates=self.duplicates)
        interactions = self._check_values(interactions)
        users, items = interactions.shape
        most = max(users, items)
        if self.rank > most and self.rank != type(self).rank:
            raise InputError(
                f"rank expected at most {most}, the larger of {users:,} users and {items:,} items, "
                f"got {self.rank}. A product of thinner matrices already is exact."
            )
        self._rank = min(self.rank, most)
        seed = validation.seed_from(self.random_state)
        sides = zip(features, ("user", "item"), strict=True)
        named = [named_by(given, what) for given, what in sides]
        if any(named):
            interactions = interactions.with_rows_for(*named)
        with over(self.devices):
            self._learn(interactions, seed, features)
        self._keep(interactions, named)
        return self

    def _warn_of_empty(self, interactions: Interactions) -> None:
        """Say which rows and columns of a matrix hold nothing."""
        for matrix, what in ((interactions.by_user, "user"), (interactions.by_item, "item")):
            empty = int(np.sum(np.diff(matrix.indptr) == 0))
            if empty:
                fate = "get the most popular items" if what == "user" else "are never recommended"
                warnings.warn(
                    f"{empty:,} of {matrix.shape[0]:,} {what}s have no interaction; they {fate}.",
                    UserWarning,
                    stacklevel=4,
                )

    def _keep(self, interactions: Interactions, named: list[list[Any]]) -> None:
        """Remember who has what, and who is known by features."""
        matrix = interactions.by_user
        self._users, self._items = interactions.users, interactions.items
        self._seen = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
        described = []
        for labels, names in zip((self._users, self._items), named, strict=True):
            described.append(np.zeros(len(labels), bool))
            described[-1][labels.codes(names)] = True
        self._described = described[0], described[1]
        self._count()

    def _count(self) -> None:
        self._activity = np.diff(self._seen[0])
        self._popularity = np.bincount(self._seen[1], minlength=len(self._items))
        self._known_user = (self._activity > 0) | self._described[0]
        self._known_item = (self._popularity > 0) | self._described[1]

    # What was found

    def _check_fitted(self) -> None:
        if not hasattr(self, "_model"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet. Call fit before using it."
            )

    @property
    def user_factors_(self) -> np.ndarray:
        """Return P (users, k)."""
        return self._model.users.factors

    @property
    def item_factors_(self) -> np.ndarray:
        """Return Q (items, k)."""
        return self._model.items.factors

    @property
    def user_bias_(self) -> np.ndarray:
        """Return b (users,)."""
        return self._model.users.bias

    @property
    def item_bias_(self) -> np.ndarray:
        """Return c (items,)."""
        return self._model.items.bias

    @property
    def users_(self) -> np.ndarray:
        """Return the users' labels, row by row."""
        return self._users.values

    @property
    def items_(self) -> np.ndarray:
        """Return the items' labels, row by row."""
        return self._items.values

    @property
    def weights_(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the matrices by name, as other models have them."""
        users, items, _ = self._model
        return {
            "users": {"P": users.factors, "b": users.bias},
            "items": {"Q": items.factors, "c": items.bias},
        }

    # Using

    def predict(self, X) -> np.ndarray:
        """Return the score of each pair of user and item.

        Parameters
        ----------
        X : DataFrame, tuple of two arrays, or array of shape (n, 2)
            Pairs; a user or item that is not known counts as one of average bias without factors.

        Raises
        ------
        InputError
            With ``unknown="error"`` for labels that were not there in fit.
        """
        self._check_fitted()
        rows, cols = self._pair_codes(X)
        return pair_scores(self._model, rows, cols)

    def _pair_codes(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        columns = None if self.columns is None else list(self.columns)[:2]
        given = triples(X, None, columns)
        rows, cols = (
            self._users.codes(given.users, "user"),
            self._items.codes(given.items, "item"),
        )
        if self.unknown == "error":
            for codes, labels, what in ((rows, given.users, "user"), (cols, given.items, "item")):
                self._check_known(codes, labels, what)
        return rows, cols

    def _check_known(self, codes: np.ndarray, labels: Any, what: str) -> None:
        if (codes != UNKNOWN).all():
            return
        label = list(labels)[int((codes == UNKNOWN).argmax())]
        label = label.item() if isinstance(label, np.generic) else label
        known = self._users if what == "user" else self._items
        near = ""
        if isinstance(label, str):
            near = did_you_mean(label, map(str, known.values[:10_000].tolist()))
        remedy = ' unknown="popular" answers for any user.' if what == "user" else ""
        raise InputError(
            f"{what} expected one of the {len(known):,} that the model was fitted with, got "
            f"{label!r}.{near}{remedy}"
        )

    def recommend(self, users, n: int = 10, exclude_seen: bool = True) -> Recommendations:
        """Return the n items with the best scores for each user.

        Parameters
        ----------
        users : label or sequence of labels
            Whom for.
        n : int
            How many items.
        exclude_seen : bool
            Leave out what the user had in training.

        Returns
        -------
        Recommendations
            ``items`` (labels) and ``scores``, (q, n) each; ``popular`` says for which users
            nothing was known, so that the most popular items stand there.

        Raises
        ------
        InputError
            With ``unknown="error"`` for users that were not there in fit, or had no items.
        """
        self._check_fitted()
        check_number("n", n, at_least=1, whole=True)
        queries = _listed(users)
        codes = self._users.codes(queries, "user")
        return self._lists(queries, codes, n, exclude_seen)

    def recommend_all(
        self, n: int = 10, exclude_seen: bool = True, at_once: int = USERS_AT_ONCE
    ) -> Iterator[Recommendations]:
        """Yield recommendations for all users of the training, some at a time."""
        self._check_fitted()
        check_number("n", n, at_least=1, whole=True)
        for start in range(0, len(self._users), at_once):
            codes = np.arange(start, min(start + at_once, len(self._users)))
            yield self._lists(self._users.values[codes], codes, n, exclude_seen)

    def _lists(
        self, queries: np.ndarray, codes: np.ndarray, n: int, exclude_seen: bool
    ) -> Recommendations:
        popular = (codes == UNKNOWN) | ~self._known_user[codes]
        if self.unknown == "error":
            self._check_known(np.where(popular, UNKNOWN, codes), queries, "user")
        rows = np.maximum(codes, 0)
        exclude = self._seen_by(rows) if exclude_seen else None
        users = self._model.users
        found = self._best(Side(users.factors[rows], users.bias[rows]), n, exclude)
        if popular.any():
            found[0][popular], found[1][popular] = self._most_popular(found[0].shape[1])
        return Recommendations(queries, *found, popular, self._items)

    def _best(self, users: Side, n: int, exclude: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the items (q, n) with the best scores, -1 where there is none left, and scores."""
        items, mean = self._model.items, self._model.mean
        bias = np.where(self._known_item, items.bias + np.float32(mean), -np.inf)
        n = min(n, len(self._items))
        best: Any = top_n  # of NumPy's arrays
        codes, scores = best(users.factors, items.factors, n, exclude, np.float32(bias))
        scores = np.asarray(scores) + users.bias[:, None]
        return np.array(codes), self._presented(scores)

    def _presented(self, scores: np.ndarray) -> np.ndarray:
        """Return scores as `recommend` shows them."""
        return scores

    def _most_popular(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(-self._popularity, kind="stable")[:n]
        counts = self._popularity[order]
        return np.where(counts > 0, order, -1), np.where(counts > 0, counts, -np.inf)

    def _seen_by(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what these users had, as ``indptr`` and ``indices``."""
        indptr, indices = self._seen
        counts = self._activity[rows]
        ends = np.concatenate([[0], np.cumsum(counts)])
        places = np.repeat(indptr[rows] - ends[:-1], counts) + np.arange(ends[-1])
        return ends, indices[places]

    def similar_items(self, items, n: int = 10) -> Recommendations:
        """Return the n items whose factors point most nearly the same way (cosine).

        Parameters
        ----------
        items : label or sequence of labels
            What to find the like of.
        n : int
            How many.

        Raises
        ------
        InputError
            For items that are not known, or that nobody had in training.
        """
        self._check_fitted()
        check_number("n", n, at_least=1, whole=True)
        queries = _listed(items)
        codes = self._items.codes(queries, "item")
        never = np.where(codes >= 0, ~self._known_item[codes], True)
        self._check_known(np.where(never, UNKNOWN, codes), queries, "item")
        Q = self._model.items.factors
        lengths = np.linalg.norm(Q, axis=1)
        Q = Q / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
        bias = np.float32(np.where(self._known_item, 0, -np.inf))
        itself = np.arange(len(codes) + 1), codes
        best: Any = top_n
        found, scores = best(Q[codes], Q, min(n, len(Q)), itself, bias)
        none = np.zeros(len(codes), bool)
        return Recommendations(
            queries, np.asarray(found), np.asarray(scores), none, self._items, "item"
        )

    def fold_in(self, new_rows):
        """Return factors of new users, found with the items' as they are, without fitting again.

        Parameters
        ----------
        new_rows : sparse matrix (q, items), DataFrame, tuple of arrays, or array
            Interactions of users that the model need not know; of a sparse matrix, columns are
            items in the order of ``items_``. Triples come back sorted by user.

        Returns
        -------
        array of shape (q, k), or Side
            A model with biases returns ``(factors, bias)``.
        """
        return self._folded(new_rows)[1].factors

    def recommend_new(self, new_rows, n: int = 10, exclude_seen: bool = True) -> Recommendations:
        """Return recommendations for users that `fold_in` finds factors for."""
        check_number("n", n, at_least=1, whole=True)
        rows, side = self._folded(new_rows)
        matrix = rows.by_user
        exclude = (matrix.indptr, matrix.indices) if exclude_seen else None
        found = self._best(side, n, exclude)
        popular = np.diff(matrix.indptr) == 0
        if popular.any():
            found[0][popular], found[1][popular] = self._most_popular(found[0].shape[1])
        return Recommendations(rows.users.values, *found, popular, self._items)

    def _folded(self, X: Any) -> tuple[Interactions, Side]:
        self._check_fitted()
        if not is_sparse(X) and len(X) == 0:
            raise InputError("fold_in expected at least one interaction, got none.")
        rows = new_rows(X, self._items, self.columns, self.duplicates)
        rows = self._check_rows(rows)
        return rows, self._fold(rows.by_user)

    def _check_rows(self, rows: Interactions) -> Interactions:
        """Return new users' interactions as the model takes them."""
        return rows

    # Measuring

    def rank_figures(self, X, y=None, at: Sequence[int] = (10,)) -> dict[str, float]:
        """Return how well lists hold what users turned out to have: means over users.

        Parameters
        ----------
        X, y
            Held-out interactions, as `fit` takes them; what counts as relevant is `_grades`'s.
        at : sequence of int
            Lengths of lists.

        Returns
        -------
        dict
            ``"ndcg@10"`` and the like, see `lamina.factorization.ranking`; ``"coverage@10"``;
            ``"users"``, how many had something relevant; ``"unknown_users"`` of them, who got the
            most popular items; ``"seen"``, how many relevant items they had in training already.

        Notes
        -----
        What a user had in training is not recommended again. Items that training did not know count
        among the relevant ones, and are missed.
        """
        self._check_fitted()
        for k in at:
            check_number("at", k, at_least=1, whole=True)
        held_out = Interactions.of(X, y, columns=self.columns, duplicates=self.duplicates)
        relevant = self._grades(held_out)
        wanted = np.flatnonzero(np.diff(relevant.indptr))
        if not len(wanted):
            raise InputError("The held-out data expected at least one relevant item, got none.")
        longest = max(at)
        sums: dict[str, float] = {}
        lists = np.full((len(wanted), longest), -1, np.int32)
        unknown = seen = 0
        for start in range(0, len(wanted), USERS_AT_ONCE):
            rows = wanted[start : start + USERS_AT_ONCE]
            queries = held_out.users.values[rows]
            codes = self._users.codes(queries, "user")
            found = self._lists(queries, codes, longest, True)
            lists[start : start + len(rows), : found.codes.shape[1]] = found.codes
            unknown += int(found.popular.sum())
            seen += self._seen_among(codes, relevant[rows])
            part = lists[start : start + len(rows)]
            for k in at:
                for name, values in figures(part, relevant[rows], k).items():
                    sums[name] = sums.get(name, 0.0) + float(values.sum())
        means = {name: total / len(wanted) for name, total in sums.items()}
        means |= {f"coverage@{k}": catalogue_coverage(lists, len(self._items), k) for k in at}
        counts = {"users": len(wanted), "unknown_users": unknown, "seen": seen}
        return means | {name: float(count) for name, count in counts.items()}

    def _seen_among(self, codes: np.ndarray, relevant: Any) -> int:
        """Count the relevant items that these users had in training."""
        known = np.flatnonzero(codes >= 0)
        width = relevant.shape[1]
        indptr, indices = self._seen_by(codes[known])
        had = np.repeat(known, np.diff(indptr)) * width + indices
        wanted = np.repeat(np.arange(len(codes)), np.diff(relevant.indptr)) * width
        return int(np.isin(wanted + relevant.indices, had).sum())

    def _trained_on(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Tell which pairs of codes (n,) were there in training."""
        width = len(self._items)
        had = np.repeat(np.arange(len(self._activity)), self._activity) * width + self._seen[1]
        return (rows >= 0) & (cols >= 0) & np.isin(rows * width + cols, had)

    def _grades(self, held_out: Interactions) -> Any:
        """Return the relevant items of each user, in the columns of the model and beyond."""
        from scipy.sparse import csr_array

        matrix = held_out.by_user
        known = self._items.codes(held_out.items.values, "item")
        known[known == UNKNOWN] = len(self._items) + np.arange((known == UNKNOWN).sum())
        width = len(self._items) + len(held_out.items)
        grades = self._worth(matrix.data)
        made = csr_array((grades, known[matrix.indices], matrix.indptr), (matrix.shape[0], width))
        made.eliminate_zeros()
        return made

    def _worth(self, values: np.ndarray) -> np.ndarray:
        """Return 1 for relevant values, 0 for others."""
        return (values > 0).astype(np.float64)

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one ``.safetensors`` file; read it with `lamina.load`.

        Labels must be text or whole numbers. Which items users had goes with it, but not how much.
        """
        from lamina.estimators.persistence import save

        save(self, path)

    def _adopt(self, learned: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take what `_learned` and `_arrays` returned, every entry checked."""
        groups: dict[str, dict[str, np.ndarray]] = {}
        for path, array in arrays.items():
            folder, _, name = path.rpartition("/")
            groups.setdefault(folder, {})[name] = array
        try:
            self._users = Labels.from_arrays(groups["labels/users"])
            self._items = Labels.from_arrays(groups["labels/items"])
            users = Side(groups["users"]["P"], groups["users"]["b"])
            items = Side(groups["items"]["Q"], groups["items"]["c"])
            indptr, indices = groups["seen"]["indptr"], groups["seen"]["indices"]
            described = groups["described"]["users"], groups["described"]["items"]
        except KeyError as error:
            raise FileFormatError(f"the arrays expected {error}, got none") from None
        n, m, k = len(self._users), len(self._items), users.factors.shape[-1]
        _check_array("users/P", users.factors, (n, k), np.float32)
        _check_array("users/b", users.bias, (n,), np.float32)
        _check_array("items/Q", items.factors, (m, k), np.float32)
        _check_array("items/c", items.bias, (m,), np.float32)
        _check_array("described/users", described[0], (n,), np.bool_)
        _check_array("described/items", described[1], (m,), np.bool_)
        _check_array("seen/indptr", indptr, (n + 1,), np.int64)
        rising = indptr[0] == 0 and (np.diff(indptr) >= 0).all()
        _check_array("seen/indices", indices, (int(indptr[-1]) if rising else -1,), np.int32)
        if len(indices) and not 0 <= indices.min() <= indices.max() < m:
            raise FileFormatError("seen items expected rows of items/Q, got others")
        mean = float(learned["mean"])
        parts = (*users, *items, np.array(mean))
        if not all(np.isfinite(part).all() for part in parts):
            raise FileFormatError("factors expected finite numbers, got others")
        self._seen, self._described = (indptr, indices), described
        self._model = Factors(users, items, mean)
        self._count()


def _check_array(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: Any) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise FileFormatError(
            f"{name} expected shape {shape} and {np.dtype(dtype)}, got {array.shape} and "
            f"{array.dtype}"
        )


def _listed(labels: Any) -> np.ndarray:
    """Return one label or several as an array (q,)."""
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        return labels
    if isinstance(labels, str | bytes) or not hasattr(labels, "__iter__"):
        labels = [labels]
    labels = list(labels)
    array = np.empty(len(labels), object)
    array[:] = labels
    return array
