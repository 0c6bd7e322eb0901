"""Clicks on MovieLens 100K: lists by Lamina's iALS, by the implicit library's, and by popularity.

A rating of 4 or 5 is a click. A fifth of every user's clicks is the test, a fifth of the others is
for validation. Both models get a grid of 36 settings, 15 iterations each; the best NDCG@10 on
the validation part is fitted to all but the test, from five seeds. Run it: ``python
docs/clicks.py``, with ml-100k/u.data in the folder that LAMINA_DATA_DIR names; without the library
(``pip install implicit``) our side alone is measured.
"""

from __future__ import annotations

import itertools
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from lamina import ImplicitFactorization
from lamina.factorization.evaluation import Popularity, evaluate_ranking
from lamina.factorization.ranking import recall
from lamina.factorization.splits import hold_out

ITERATIONS, SEEDS = 15, range(5)
OURS = {
    "rank": (16, 32, 64),
    "unobserved_weight": (0.1, 0.2, 0.4),
    "regularization": (0.01, 0.02, 0.04, 0.08),
}
THEIRS = {
    "factors": (64, 128, 256),
    "alpha": (2.0, 5.0, 15.0),
    "regularization": (15.0, 40.0, 80.0, 150.0),
}


def clicks() -> tuple[np.ndarray, np.ndarray]:
    """Return who clicked on what, as numbers from 0."""
    path = Path(os.environ["LAMINA_DATA_DIR"]) / "ml-100k" / "u.data"
    users, items, ratings, _ = np.loadtxt(path, dtype=np.int64).T
    liked = ratings >= 4
    return np.unique(users[liked], return_inverse=True)[1], items[liked] - 1


def ours(train: Any, seed: int, **settings: float) -> Any:
    """Return a fitted model of ours."""
    return ImplicitFactorization(
        iterations=ITERATIONS, random_state=seed, verbose=0, **settings
    ).fit(train)


class Theirs:
    """A fitted model of the implicit library, as `evaluate_ranking` asks it for lists."""

    def __init__(self, train: Any, seed: int, **settings: float):
        from implicit.cpu.als import AlternatingLeastSquares

        self.train = sp.csr_matrix(train)
        self.model = AlternatingLeastSquares(iterations=ITERATIONS, random_state=seed, **settings)
        self.model.fit(self.train, show_progress=False)

    def recommend(self, users: Any, n: int) -> np.ndarray:
        """Return lists for users."""
        return self.model.recommend(users, self.train[users], n)[0]


def measured(model: Any, train: Any, test: Any) -> np.ndarray:
    """Return NDCG@10, recall@20 over min(20, relevant), and recall@20 over all relevant."""
    found = evaluate_ranking(model, train, test, at=(10, 20))
    answer = model.recommend(np.arange(train.shape[0]), 20)
    lists = np.asarray(getattr(answer, "codes", answer))
    capped = np.nanmean(recall(lists, test, 20, capped=True))
    return np.array([found["ndcg@10"], capped, found["recall@20"]])


def tuned(make: Callable, grid: dict, parts: tuple[Any, Any]) -> tuple[dict[str, float], float]:
    """Return the settings with the best NDCG@10 on the validation part, and that."""
    settings = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    scores = [
        evaluate_ranking(make(parts[0], 0, **choice), *parts, at=(10,))["ndcg@10"]
        for choice in settings
    ]
    best = int(np.argmax(scores))
    return settings[best], scores[best]


def main() -> None:
    """Tune both, and print the figures of the test part."""
    warnings.filterwarnings("ignore", ".* items have no interaction")
    users, items = clicks()
    shape = users.max() + 1, 1682

    def matrix(rows: np.ndarray) -> Any:
        ones = np.ones(len(rows), np.float32)
        return sp.csr_array((ones, (users[rows], items[rows])), shape=shape)

    split = hold_out(users, fraction=0.2, random_state=0)
    inner = hold_out(users[split.train], fraction=0.2, random_state=1)
    train, test = map(matrix, split)
    parts = matrix(split.train[inner.train]), matrix(split.train[inner.test])
    print(
        f"{len(users):,} clicks of {shape[0]} users on {shape[1]} films, {len(split.test):,} test"
    )
    print("                      NDCG@10  recall@20 of min(20, R)  of R")
    row = measured(Popularity().fit(train), train, test)
    print("popularity            {:.3f}    {:.3f}                    {:.3f}".format(*row))
    sides = [("Lamina", ours, OURS)]
    try:
        import implicit  # noqa: F401

        sides.append(("implicit", Theirs, THEIRS))
    except ImportError:
        print("implicit is not installed")
    for name, make, grid in sides:
        settings, best = tuned(make, grid, parts)
        began = time.perf_counter()
        models = [make(train, seed, **settings) for seed in SEEDS]
        seconds = (time.perf_counter() - began) / len(models)
        rows = np.array([measured(model, train, test) for model in models])
        means = "{:.3f}    {:.3f}                    {:.3f}".format(*rows.mean(axis=0))
        print(f"{name:<21} {means}", flush=True)
        spread = " ".join(f"{value:.4f}" for value in rows.std(axis=0))
        print(f"  deviation over {len(models)} seeds: {spread}; {seconds:.2f} s a fit")
        print(f"  {settings}, validation NDCG@10 {best:.3f}", flush=True)


if __name__ == "__main__":
    main()
