"""Clicks, purchases and plays: what users had, without a rating; and how well lists find more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.estimators.factorization import Factorization
from lamina.estimators.iterations import iterated
from lamina.estimators.pair_descent import Pace, descend_rankings
from lamina.factorization import implicit
from lamina.factorization.factors import Factors, Side, rows_of
from lamina.factorization.implicit import Weighting
from lamina.factorization.interactions import Interactions
from lamina.training.negatives import TripleSource

SOLVERS = ("cg", "exact", "bpr")
STEPS = 3
"""Conjugate gradient steps in an iteration."""


@dataclass(kw_only=True, eq=False, repr=False)
class ImplicitFactorization(Factorization):
    """``score_ui = p_u · q_i``: towards 1 for what was seen, a little towards 0 for all pairs.

    Parameters
    ----------
    solver : {"cg", "exact", "bpr"}
        Weighted alternating least squares (iALS; see `lamina.factorization.implicit`), its
        equations solved by conjugate gradients from the last iteration's solution, or exactly.
        ``"als"`` is another word for ``"cg"``. Or Bayesian personalised ranking by stochastic
        gradients (Rendle et al. 2009): a seen item before one drawn from all that were not.
    alpha : float > 0
        A seen pair's weight is ``alpha · value``; values are 1 where there are none, or counts.
    unobserved_weight : float > 0
        α₀, the weight of "0" in every pair.
    regularization : float >= 0
        λ: a row's L2 penalty is ``λ (n + α₀ · others) ** exponent``, n being its interactions and
        ``others`` the number of rows of the other side; with ``"bpr"`` λ for each triple.
    exponent : float >= 0
        0 is the same penalty for all rows, 1 one in proportion to their weight.
    learning_rate, batch_size, max_epochs
        For ``"bpr"``: the base rate, triples a step and passes over the interactions. It looks at
        no values, ``alpha`` or ``unobserved_weight``.
    **others
        See `Factorization`.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import ImplicitFactorization
    >>> users, items = np.nonzero(np.add.outer(np.arange(12), np.arange(12)) % 2)
    >>> model = ImplicitFactorization(rank=2, random_state=0).fit((users[1:], items[1:]))
    >>> (int(users[0]), int(items[0])), model.recommend(0, n=1).items.tolist()
    ((0, 1), [[1]])
    """

    rank: int = 64
    solver: str = "cg"
    alpha: float = 1.0
    unobserved_weight: float = 0.1
    regularization: float = 0.005
    exponent: float = 1.0
    learning_rate: float = 0.01
    batch_size: int = 1024
    max_epochs: int = 40

    def _check_values(self, interactions: Interactions) -> Interactions:
        check_choice("solver", self.solver, (*SOLVERS, "als"))
        check_number("alpha", self.alpha, above=0)
        check_number("unobserved_weight", self.unobserved_weight, above=0)
        check_number("regularization", self.regularization, at_least=0)
        check_number("exponent", self.exponent, at_least=0)
        self._pace.check()
        interactions = self._weighted(interactions)
        if len(interactions) == 0:
            raise InputError(
                "ImplicitFactorization expected at least one value above 0, got only zeros. "
                "Give what was seen a positive value."
            )
        self._warn_of_empty(interactions)
        return interactions

    def _weighted(self, interactions: Interactions) -> Interactions:
        """Return the interactions with their weights as values; what is 0 was not seen."""
        matrix = interactions.by_user.copy()
        if (matrix.data < 0).any():
            raise InputError(
                f"ImplicitFactorization expected values of at least 0, as they say how sure it is "
                f"that an item was wanted, got {int((matrix.data < 0).sum()):,} below. For ratings "
                "use RatingFactorization; else leave such pairs out."
            )
        matrix.eliminate_zeros()
        matrix.data *= np.float32(self.alpha)
        return replace(interactions, by_user=matrix)

    def _learn(self, interactions: Interactions, seed: int, features: tuple[Any, Any]) -> None:
        if self.solver == "bpr":
            self._model, self.history_ = self._ranked(interactions.by_user, seed)
            return
        history: dict[str, list] = {}
        solver = implicit.alternate(interactions, self._rank, self._weighting, seed)
        found = iterated(solver, self.iterations, history, self.verbose)
        self._model, self.history_ = found[0], history

    def _ranked(
        self, seen: Any, seed: int, items: Side | None = None
    ) -> tuple[Factors, dict[str, list]]:
        """Return the model of BPR, with these items if there are some."""
        rows = rows_of(seen.indptr)
        batch = min(self.batch_size, len(rows))
        source = TripleSource(rows, seen.indices, seen.shape[1], batch, seed)
        rank = self._rank if items is None else items.factors.shape[1]
        return descend_rankings(
            source, seen.shape, self.regularization, rank, self._pace, seed, items
        )

    @property
    def _pace(self) -> Pace:
        return Pace(self.learning_rate, self.batch_size, self.max_epochs, self.verbose)

    @property
    def _weighting(self) -> Weighting:
        steps = 0 if self.solver == "exact" else STEPS
        return Weighting(self.unobserved_weight, self.regularization, self.exponent, steps)

    def _check_rows(self, rows: Interactions) -> Interactions:
        return self._weighted(rows)

    def _fold(self, rows: Any) -> Side:
        if self.solver == "bpr":
            if rows.nnz == 0:
                shape = rows.shape[0], self._model.items.factors.shape[1]
                return Side(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32))
            return self._ranked(rows, 0, self._model.items)[0].users
        return implicit.solve_side(rows, self._model.items, replace(self._weighting, steps=0))

    def evaluate(self, X, y=None, at: Sequence[int] = (10,)) -> dict[str, float]:
        """Return how well lists hold what users turned out to want; see `rank_figures`."""
        return self.rank_figures(X, y, at)

    def score(self, X, y=None) -> float:
        """Return the mean NDCG@10 of lists for held-out interactions."""
        return self.rank_figures(X, y, (10,))["ndcg@10"]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.input_tags.string = True
        return tags
