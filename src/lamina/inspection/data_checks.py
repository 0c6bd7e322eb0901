"""Faults that data show: input of strange scale, labels that say nothing, predictions all alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lamina.inspection.evidence import Evidence, rows_of
from lamina.inspection.signals import signals
from lamina.inspection.training_checks import NOTHING, explained
from lamina.inspection.verdicts import Verdict
from lamina.layers.sequences import Sequences, parts

LARGEST_INPUT = 20.0
"""Root mean square of a number that enters a matrix; initial weights are made for about 1
(LeCun et al. 1998, section 4.3)."""
TIMES_THE_OTHERS = 10.0
"""How many times the size of the usual column one column may be."""
MOST_LABELLED, FEWEST_LABELLED = 1000, 60
"""Rows that labels are looked at on."""
MOST_COLUMNS = 1024
SHUFFLES = 60
UNRELATED = 3.5
"""How many deviations of chance apart neighbours with like labels are at least."""
NEVER = 0.005
"""A class predicted for fewer rows than this share of its own is never predicted."""
FEWEST_OF_A_CLASS = 10
LEAST_SPREAD = 0.05
"""Deviation of predicted values as a share of that of the true ones."""


def scale(evidence: Evidence) -> Iterator[Verdict]:
    """Columns far larger than the others, or all of them large, as they enter the first matrix."""
    if evidence.data is None:
        return
    first = next((s for s in signals(evidence.data.trace) if s.trace.weights), None)
    if first is None or first.reads_codes:
        return
    sizes = np.sqrt((rows_of(first.trace.X) ** 2).mean(axis=0))
    used = sizes[sizes > 0]
    if not len(used) or sizes.max() <= LARGEST_INPUT:
        return
    usual = float(np.median(used))
    single = sizes.max() > TIMES_THE_OTHERS * usual
    column = int(sizes.argmax())
    named = len(evidence.names) == len(sizes)
    where = f"input column {evidence.names[column]!r}" if named else f"input column {column}"
    yield Verdict(
        "input not scaled",
        where if single else "input",
        float(sizes.max()) if single else usual,
        "root mean square of its numbers as they enter the network",
        f"below {LARGEST_INPUT:g}",
        "Standardise it: encoder=TableEncoder(), scikit-learn's StandardScaler, or Standardize() "
        "as the first layer.",
    )


def shuffled(evidence: Evidence) -> Iterator[Verdict]:
    """Labels that have nothing to do with the input: alike rows have them no more alike."""
    data = evidence.data
    remedy = "Check that rows of X and y stand in the same order, and that y is the right column."
    shares = explained(evidence)
    if shares is not None and shares.learned_by_heart:
        yield Verdict(
            "shuffled labels",
            "labels",
            shares.held_out,
            "share explained of held-out labels, while those of training were learned,",
            f"above {NOTHING:g}",
            remedy,
        )
        return
    if data is None or len(data.y) < FEWEST_LABELLED or evidence.loss.target == "codes":
        return
    features = _features(data.X)
    if features is None:
        return
    apart = relation(features, _as_columns(data.y, evidence.outputs))
    if apart < UNRELATED:
        yield Verdict(
            "shuffled labels",
            "labels",
            apart,
            "how much more alike the labels of alike rows are, in deviations of chance,",
            f"above {UNRELATED:g}",
            remedy,
        )


def collapse(evidence: Evidence) -> Iterator[Verdict]:
    """Classes that are never predicted, or values that are all the same."""
    data = evidence.data
    if data is None:
        return
    remedy = "Mend what stands above; else set class_weight='balanced' and a lower learning_rate."
    if evidence.loss.target == "classes":
        found = np.bincount(data.scores.argmax(axis=1), minlength=evidence.outputs)
        true = np.bincount(data.y, minlength=evidence.outputs)
        looked_at = true >= np.maximum(FEWEST_OF_A_CLASS, 0.3 * len(data.y) / evidence.outputs)
        never = looked_at & (found <= NEVER * true)
        if never.any():
            named = ", ".join(str(evidence.classes[k]) for k in np.flatnonzero(never)[:5])
            yield Verdict(
                "class collapse",
                f"class {named}" if never.sum() == 1 else f"classes {named}",
                float(never.sum()),
                "classes in the data that are never predicted:",
                "0",
                remedy,
            )
    elif evidence.loss.target == "values":
        true = float(data.y.std(axis=0).max())
        spread = float(data.scores.std(axis=0).max()) / true if true else 1.0
        if spread < LEAST_SPREAD:
            yield Verdict(
                "class collapse",
                "predictions",
                spread,
                "deviation of predicted values as a share of the true ones'",
                f"above {LEAST_SPREAD:g}",
                "Mend what stands above; else train longer, or with a smaller alpha.",
            )


def relation(X: np.ndarray, Y: np.ndarray, seed: int = 0) -> float:
    """Return by how many deviations labels follow the input more than shuffled labels do.

    The greater of two answers. Nearest neighbours: ``Σ y_i · y_nn(i)``. A linear map, each row left
    out of its own fit: ``Σ y_i · ŷ_i`` with ``ŷ_i = ((H y)_i - H_ii y_i) / (1 - H_ii)`` and
    ``H = G (G + I)⁻¹``, ``G = X Xᵀ / m``. Each is compared with itself for shuffled rows of Y.

    Parameters
    ----------
    X : array of shape (n, m)
        Standardised here, column by column.
    Y : array of shape (n, k)
        Labels as numbers, one-hot for classes; centred here.
    seed : int
        Of the shuffles.
    """
    X = X - X.mean(axis=0)
    spread = X.std(axis=0)
    X = X[:, spread > 0] / spread[spread > 0]
    Y = Y - Y.mean(axis=0)
    if not X.shape[1] or not Y.any():
        return np.inf
    G = X @ X.T / X.shape[1]
    squares = np.diag(G)
    distance = squares[:, None] + squares[None, :] - 2 * G
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    H = np.linalg.solve(G + np.eye(len(G)), G)
    left_out = (H - np.diag(np.diag(H))) / (1 - np.diag(H))[:, None]
    rng = np.random.default_rng(seed)
    orders = [np.arange(len(Y)), *(rng.permutation(len(Y)) for _ in range(SHUFFLES))]
    answers = np.array(
        [[np.sum(Z * Z[nearest]), np.sum(Z * (left_out @ Z))] for Z in (Y[o] for o in orders)]
    )
    chance = answers[1:]
    return float(
        np.max((answers[0] - chance.mean(axis=0)) / np.maximum(chance.std(axis=0), 1e-300))
    )


def _features(X: Any) -> np.ndarray | None:
    """Return rows of numbers for samples of any kind; None for codes."""
    values, lengths = parts(X)
    values = np.asarray(values)
    if values.dtype.kind != "f":
        return None
    values = values[:MOST_LABELLED].astype(np.float64)
    if lengths is not None:
        lengths = np.asarray(lengths)[:MOST_LABELLED]
        valid = np.asarray(Sequences(values, lengths).valid())[:, :, None]
        count = np.maximum(lengths, 1)[:, None]
        mean = (values * valid).sum(axis=1) / count
        square = ((values * valid) ** 2).sum(axis=1) / count
        return np.concatenate([mean, np.sqrt(square)], axis=1)
    rows = values.reshape(len(values), -1)
    if rows.shape[1] > MOST_COLUMNS:
        draw = np.random.default_rng(0).standard_normal((rows.shape[1], MOST_COLUMNS))
        rows = rows @ draw  # distances are kept (Johnson and Lindenstrauss 1984)
    return rows


def _as_columns(y: np.ndarray, outputs: int) -> np.ndarray:
    y = np.asarray(y)[:MOST_LABELLED]
    return np.eye(outputs)[y] if y.ndim == 1 else y.astype(np.float64)
