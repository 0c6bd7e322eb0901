"""Factors of users and items by the common gradient loop: ratings (SGD) and rankings (BPR)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.errors import check_number
from lamina.factorization.factors import Factors, Side, rows_of
from lamina.functions.losses import Loss
from lamina.functions.pair_losses import RankedPair, RatedPair
from lamina.functions.penalties import Penalty
from lamina.layers.pairs import PairScore
from lamina.placement import to_numpy
from lamina.training.batches import ArraySource, Source
from lamina.training.callbacks import Callback
from lamina.training.loop import NO_PENALTY, Descent, Objective, Run
from lamina.training.metrics import Metric
from lamina.training.optimizers import optimizer
from lamina.training.progress import ProgressBar, on_a_terminal
from lamina.training.schedules import schedule
from lamina.training.state import fresh_state


def _squared_error(scores, y):
    return jnp.square(scores[:, 0] - y[:, 0])


def _right_order(scores, y):
    return (scores[:, 0] > 0).astype(scores.dtype)


RMSE = Metric("rmse", _squared_error, math.sqrt)
AUC = Metric("auc", _right_order)
"""The share of triples in the right order."""


@dataclass(frozen=True)
class Pace:
    """How fast and how long to descend.

    Parameters
    ----------
    learning_rate : float
        Adam's.
    batch_size : int
        Pairs a step.
    max_epochs : int
        Passes over the pairs.
    verbose : int
        Whether to draw a bar on a terminal.
    """

    learning_rate: float
    batch_size: int
    max_epochs: int
    verbose: int

    def check(self) -> None:
        """Raise for numbers that cannot be used."""
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("batch_size", self.batch_size, at_least=1, whole=True)
        check_number("max_epochs", self.max_epochs, at_least=1, whole=True)


def descend_ratings(
    ratings: Any,
    ridges: tuple[np.ndarray, np.ndarray],
    rank: int,
    pace: Pace,
    seed: int,
    features: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    alpha: float = 0.0,
) -> tuple[Factors, dict[str, list]]:
    """Return the model that gradient descent finds, and its history.

    Parameters
    ----------
    ratings : sparse array of shape (n, m)
        CSR.
    ridges : arrays of shapes (n,) and (m,)
        Each row's ridge in the objective of `lamina.factorization.ratings`.
    rank : int
        k.
    pace : Pace
        How fast and how long.
    seed : int
        Of first factors and orders.
    features : arrays of shapes (n, f) and (m, g), or None
        What is known of users and of items; their rows of the model come with what it maps to.
    alpha : float
        The L2 penalty of those maps.
    """
    mean = float(ratings.data.mean(dtype=np.float64))
    rows = rows_of(ratings.indptr)
    X = np.stack([rows, ratings.indices], axis=1).astype(np.int32)
    y = ratings.data.astype(np.float32)[:, None]
    source = ArraySource.of(X, y, batch_size=pace.batch_size, seed=seed)
    users, items = ratings.shape
    widths = [0 if side is None else side.shape[1] for side in features]
    network = PairScore(users, items, rank, False, *widths)
    sides = zip(X.T, ratings.shape, strict=True)
    counts = [np.bincount(codes, minlength=size) for codes, size in sides]
    each = [
        (ridge / np.maximum(count, 1)).astype(np.float32)
        for ridge, count in zip(ridges, counts, strict=True)
    ]
    fixed = {"mean": np.float32(mean), "user_ridge": each[0], "item_ridge": each[1]}
    names = ("user_features", "item_features")
    fixed |= {k: v for k, v in zip(names, features, strict=True) if v is not None}
    of_maps = Penalty(l2=alpha / len(y))
    weights, history = _descended(network, fixed, RatedPair(), RMSE, source, pace, seed, of_maps)
    sides = []
    parts = zip(("users", "items"), ("Pb", "Qc"), features, counts, strict=True)
    for which, (F, bias), known, count in parts:
        columns = np.concatenate([weights[bias][:, None], weights[F]], axis=1)
        columns[count == 0] = 0  # no gradient reached their first, random factors
        sides.append(Side.of(columns if known is None else columns + known @ weights[f"W_{which}"]))
    return Factors(sides[0], sides[1], mean), history


def descend_rankings(
    source: Any,
    shape: tuple[int, int],
    regularization: float,
    rank: int,
    pace: Pace,
    seed: int,
    items: Side | None = None,
) -> tuple[Factors, dict[str, list]]:
    """Return the model that ranks seen items above others, and its history.

    Parameters
    ----------
    source : TripleSource
        Users, seen and unseen items.
    shape : (users, items)
        How many there are.
    regularization : float
        The L2 penalty of a triple's rows.
    rank : int
        k.
    pace : Pace
        How fast and how long.
    seed : int
        Of first factors.
    items : Side, optional
        Items to leave as they are, so that only users are found.
    """
    network = PairScore(shape[0], shape[1], rank, frozen_items=items is not None)
    ridges = (np.full(size, regularization, np.float32) for size in shape)
    fixed: dict[str, Any] = dict(zip(("user_ridge", "item_ridge"), ridges, strict=True))
    fixed["mean"] = np.float32(0)
    if items is not None:
        fixed |= {"Q": items.factors, "c": items.bias}
    weights, history = _descended(network, fixed, RankedPair(), AUC, source, pace, seed)
    # A user's own bias changes no order, and no gradient reaches it.
    users = Side(weights["P"], np.zeros(shape[0], np.float32))
    return Factors(users, items or Side(weights["Q"], weights["c"])), history


def _descended(
    network: PairScore,
    fixed: dict[str, Any],
    loss: Loss,
    metric: Metric,
    source: Source,
    pace: Pace,
    seed: int,
    of_maps: Penalty = NO_PENALTY,
) -> tuple[dict[str, np.ndarray], dict[str, list]]:
    weights, _ = network.initialize(np.random.default_rng(seed), (2,))
    method = optimizer("adam")
    state = fresh_state(weights, fixed, method, seed)
    descent = Descent(method, pace.learning_rate, schedule("cosine"))
    watchers: list[Callback] = [ProgressBar()] if pace.verbose and on_a_terminal() else []
    objective = Objective(network, loss, metric, of_maps)
    run = Run(objective, descent, state, source, pace.max_epochs, None, watchers)
    run.train()
    return {name: to_numpy(W) for name, W in run.state.weights.items()}, run.history
