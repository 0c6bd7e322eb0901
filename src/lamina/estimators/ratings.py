"""Ratings that users give items: biases and factors, and the error of predicted ratings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice, check_number
from lamina.estimators import validation
from lamina.estimators.factorization import Factorization
from lamina.estimators.iterations import iterated
from lamina.estimators.pair_descent import Pace, descend_ratings
from lamina.factorization import bayes, ratings
from lamina.factorization.factors import Side
from lamina.factorization.features import feature_matrix
from lamina.factorization.interactions import Interactions, triples
from lamina.factorization.ratings import Fixed, Ridge

SOLVERS = ("bayes", "als", "sgd")


@dataclass(kw_only=True, eq=False, repr=False)
class RatingFactorization(Factorization):
    """``r̂_ui = μ + b_u + c_i + p_u · q_i``: ratings from biases and factors.

    Parameters
    ----------
    solver : {"bayes", "als", "sgd"}
        Alternating least squares with the posterior covariance of each row, which finds its own
        penalties (Lim and Teh 2007; see `lamina.factorization.bayes`); the same with one solution
        for each row and the penalty ``alpha`` (see `lamina.factorization.ratings`); or that
        objective by stochastic gradients (Adam).
    alpha : float > 0
        The L2 penalty's strength with ``"als"`` and ``"sgd"``: a row's is ``alpha · n **
        exponent``, n being its ratings.
    exponent : float >= 0
        0 is the same penalty for all rows, 1 one in proportion to their ratings.
    scale : (lowest, highest), optional
        The ratings that there are; None takes them from the data.
    clip : bool
        Whether predictions stay within the scale.
    learning_rate, batch_size, max_epochs
        For ``"sgd"``: the base rate, pairs a step and passes over the ratings.
    **others
        See `Factorization`.

    Attributes
    ----------
    mean_ : float
        μ.
    scale_ : (lowest, highest)
        As given or seen in training.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import RatingFactorization
    >>> users, items = np.divmod(np.arange(60), 10)
    >>> ratings = 3 + np.sin(users) * np.cos(items)
    >>> model = RatingFactorization(rank=2, random_state=0)
    >>> model = model.fit((users[:-1], items[:-1], ratings[:-1]))
    >>> model.recommend(0, n=2, exclude_seen=False).items.shape
    (1, 2)
    """

    solver: str = "bayes"
    alpha: float = 5.0
    exponent: float = 0.3
    scale: tuple[float, float] | None = None
    clip: bool = True
    learning_rate: float = 0.01
    batch_size: int = 1024
    max_epochs: int = 40

    def _check_values(self, interactions: Interactions) -> Interactions:
        check_choice("solver", self.solver, SOLVERS)
        if self.solver == "bayes" and self.devices is not None:
            raise InputError(
                f'devices expected solver="als" or "sgd", got {self.devices!r} with "bayes", which '
                "computes in NumPy on one processor. Choose another solver, or leave devices out."
            )
        check_number("alpha", self.alpha, above=0)
        check_number("exponent", self.exponent, at_least=0)
        self._pace.check()
        values = interactions.by_user.data
        lowest, highest = float(values.min()), float(values.max())
        if self.scale is not None:
            lowest, highest = self._given_scale()
            self._check_scale(values, lowest, highest)
        if values.min() == values.max():
            raise InputError(
                f"RatingFactorization expected ratings that differ, got {len(values):,} that are "
                f"all {values[0]:g}. For clicks or purchases without ratings use "
                "ImplicitFactorization."
            )
        self._warn_of_empty(interactions)
        self.scale_ = lowest, highest
        return interactions

    def _given_scale(self) -> tuple[float, float]:
        try:
            lowest, highest = self.scale  # type: ignore
            lowest, highest = float(lowest), float(highest)
        except (TypeError, ValueError):
            lowest, highest = 0.0, 0.0
        if not lowest < highest:
            raise InputError(
                f"scale expected the lowest and the highest rating, such as (1, 5), got "
                f"{self.scale!r}."
            )
        return lowest, highest

    def _check_scale(self, values: np.ndarray, lowest: float, highest: float) -> None:
        outside = (values < lowest) | (values > highest)
        if outside.any():
            raise InputError(
                f"Ratings expected to lie on the scale from {lowest:g} to {highest:g}, got "
                f"{int(outside.sum()):,} outside, such as {values[outside][0]:g}. Correct them, or "
                "give another scale."
            )

    def fit(self, X, y=None, user_features=None, item_features=None):
        """Fit to ratings.

        Parameters
        ----------
        X, y
            Ratings, as `Factorization.fit` takes interactions.
        user_features, item_features : DataFrame, or tuple (labels, array), optional
            What else is known of users and items, numbers by label; with ``solver="sgd"``. A row's
            factors and bias are then its own and a linear map of its features, so that users and
            items without ratings have some too.

        Returns
        -------
        self

        Raises
        ------
        InputError
            For ratings, features or parameters that cannot be used.
        """
        if self.solver != "sgd" and not (user_features is None and item_features is None):
            raise InputError(
                f'Features of users and items expected solver="sgd", got {self.solver!r}. '
                "Leave them out, or choose that solver."
            )
        return self._fit(X, y, (user_features, item_features))

    def _learn(self, interactions: Interactions, seed: int, features: tuple[Any, Any]) -> None:
        history: dict[str, list] = {}
        memory = None
        if self.solver == "bayes":
            solver: Any = bayes.alternate(interactions, self._rank, seed)
            found = iterated(solver, self.iterations, history, self.verbose)
            memory = found[2]
        elif self.solver == "sgd":
            ridges = ratings.ridges_of(interactions, self._ridge)
            matrix = interactions.by_user
            labels = ((interactions.users, "user"), (interactions.items, "item"))
            known = [
                None if given is None else feature_matrix(given, *of)
                for given, of in zip(features, labels, strict=True)
            ]
            both = known[0], known[1]
            found = descend_ratings(matrix, ridges, self._rank, self._pace, seed, both, self.alpha)
            history = found[1]
        else:
            solver = ratings.alternate(interactions, self._rank, self._ridge, seed)
            found = iterated(solver, self.iterations, history, self.verbose)
        self._model, self._memory, self.history_ = found[0], memory, history

    @property
    def _pace(self) -> Pace:
        return Pace(self.learning_rate, self.batch_size, self.max_epochs, self.verbose)

    @property
    def _ridge(self) -> Ridge:
        return Ridge(self.alpha, self.exponent)

    @property
    def mean_(self) -> float:
        """Return μ, the mean rating in training."""
        return self._model.mean

    def fold_in(self, new_rows):
        """Return new users' ``(factors, bias)``, (q, k) and (q,); see `Factorization.fold_in`."""
        return self._folded(new_rows)[1]

    def _check_rows(self, rows: Interactions) -> Interactions:
        self._check_scale(rows.by_user.data, *self.scale_)
        return rows

    def _fold(self, rows: Any) -> Side:
        if self._memory is not None:
            return bayes.fold_in(rows, self._model, self._memory)
        return ratings.solve_side(rows, Fixed(self._model.items, self._model.mean, self._ridge))

    def predict(self, X) -> np.ndarray:
        """Return the expected rating of each pair of user and item.

        Parameters
        ----------
        X : DataFrame, tuple of two arrays, or array of shape (n, 2)
            Pairs; a user or item that is not known counts as an average one.

        Raises
        ------
        InputError
            With ``unknown="error"`` for labels that were not there in fit.
        """
        found = super().predict(X)
        return np.clip(found, *self.scale_) if self.clip else found

    def _presented(self, scores: np.ndarray) -> np.ndarray:
        if not self.clip:
            return scores
        return np.where(scores == -np.inf, scores, np.clip(scores, *self.scale_))

    def _worth(self, values: np.ndarray) -> np.ndarray:
        """Return 1 for ratings above the mean of the training."""
        return (values > self.mean_).astype(np.float64)

    def evaluate(self, X, y=None) -> dict[str, float]:
        """Return the error of predicted ratings.

        Parameters
        ----------
        X, y
            Held-out ratings, as `fit` takes them.

        Returns
        -------
        dict
            ``"rmse"`` and ``"mae"``; ``"ratings"``, how many; ``"unknown"``, how many of them have
            a user or an item that was not there in training; ``"seen"``, how many are of pairs that
            were.

        Warns
        -----
        UserWarning
            For ratings outside the scale.
        """
        self._check_fitted()
        pairs, values = self._measured(X, y)
        outside = int(np.sum((values < self.scale_[0]) | (values > self.scale_[1])))
        if outside and self.clip:
            lowest, highest = self.scale_
            warnings.warn(
                f"{outside:,} of {len(values):,} ratings lie outside the scale from {lowest:g} to "
                f"{highest:g} that was trained on; predictions lie within. Are they of one kind?",
                UserWarning,
                stacklevel=2,
            )
        error = values - self.predict(pairs)
        rows, cols = self._pair_codes(pairs)
        return {
            "rmse": float(np.sqrt(np.mean(error**2))),
            "mae": float(np.mean(np.abs(error))),
            "ratings": float(len(error)),
            "unknown": float(np.sum((rows < 0) | (cols < 0))),
            "seen": float(self._trained_on(rows, cols).sum()),
        }

    def _measured(self, X: Any, y: Any) -> tuple[tuple[Any, Any], np.ndarray]:
        """Return pairs and their ratings."""
        if hasattr(X, "tocoo"):
            coo = X.tocoo()
            X, y = (coo.row, coo.col), coo.data
        given = triples(X, y, self.columns)
        if given.values is None or len(given.values) == 0:
            raise InputError("evaluate expected ratings, in y or as a third column, got none.")
        values = np.asarray(given.values)
        strange = ~np.isfinite(values.astype(float)) if values.dtype.kind in "biuf" else [False]
        if np.any(strange):
            raise InputError(
                f"evaluate expected finite ratings, got {np.sum(strange):,} that are not, the "
                f"first in row {int(np.argmax(strange))}, counting from 0. Leave those rows out."
            )
        return (given.users, given.items), validation.check_values(values)

    def score(self, X, y=None) -> float:
        """Return R² of predicted ratings; 1 is perfect, 0 is as good as their mean."""
        from sklearn.metrics import r2_score

        pairs, values = self._measured(X, y)
        return float(r2_score(values, self.predict(pairs)))

    def _learned(self) -> dict[str, Any]:
        learned = super()._learned() | {"scale": list(self.scale_)}
        if self._memory is not None:
            learned["noise"] = self._memory.noise
            learned["user_variance"] = self._memory.user_variance.tolist()
        return learned

    def _arrays(self) -> dict[str, np.ndarray]:
        if self._memory is None:
            return super()._arrays()
        return super()._arrays() | {"posterior/items": self._memory.item_moments}

    def _adopt(self, learned: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        super()._adopt(learned, arrays)
        lowest, highest = map(float, learned["scale"])
        self.scale_ = lowest, highest
        moments = arrays.get("posterior/items")
        if (moments is None) != ("noise" not in learned):
            raise FileFormatError("the posterior expected its covariances and its noise")
        self._memory = None
        if moments is not None:
            items, k = self._model.items.factors.shape
            variance = np.array(learned["user_variance"], np.float64)
            noise = float(learned["noise"])
            fine = moments.shape == (items, (k + 2) * (k + 3) // 2) and variance.shape == (k + 2,)
            if not (fine and moments.dtype == np.float32 and np.isfinite(moments).all()):
                raise FileFormatError("the posterior expected covariances of every item")
            if not (noise > 0 and (variance > 0).all()):
                raise FileFormatError("variances expected numbers above 0")
            self._memory = bayes.Memory(moments, variance, noise)

    def __sklearn_tags__(self):
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags()
        tags.target_tags.required = False
        tags.target_tags.multi_output = False
        tags.input_tags.string = True
        return tags
