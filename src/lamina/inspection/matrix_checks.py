"""Faults that stand in the matrices themselves: no data are needed to see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lamina.inspection.backprop import leaves
from lamina.inspection.evidence import Evidence, at
from lamina.inspection.verdicts import NOTICE, PROBLEM, Verdict
from lamina.layers.frozen import HELD, Frozen
from lamina.layers.layer import Weights
from lamina.layers.recurrent import DIRECTIONS, Recurrent

SAME_UNIT = 1e-5
"""Two units are one when their weights differ by less than this share of their length: what
rounding makes of copies. Units that merely come near one another are another matter."""
MOST_DUPLICATES = 0.1
"""Random units differ by about √2 of their length, so a tenth that does not is no chance."""
FEWEST_UNITS = 4
"""Layers of fewer units may well have two alike."""
UNMOVED = 1e-6
"""‖W - W₀‖ / ‖W₀‖ below which nothing but rounding has changed a matrix."""


def numbers(evidence: Evidence) -> Iterator[Verdict]:
    """Matrices that hold something else than finite numbers."""
    for path, W in matrices(evidence.weights):
        bad = float(np.mean(~np.isfinite(W)))
        if bad:
            yield Verdict(
                "not finite",
                path,
                bad,
                "share of entries that are NaN or infinite",
                "0",
                "Train again with a lower learning_rate, or clip_norm=1.0.",
            )


def duplicates(evidence: Evidence) -> Iterator[Verdict]:
    """Hidden units with the same weights: they say the same, and get the same gradient for ever."""
    hidden = [
        (path, layer) for path, layer in leaves(evidence.network) if at(evidence.weights, path)
    ]
    for path, layer in hidden[:-1]:
        for where, U in units(layer, at(evidence.weights, path), path):
            if U.shape[1] < FEWEST_UNITS or not np.isfinite(U).all():
                continue
            share = duplicated(U)
            if share > MOST_DUPLICATES:
                yield Verdict(
                    "duplicate units",
                    where,
                    share,
                    "share of units whose weights another unit has too",
                    f"below {MOST_DUPLICATES:g}",
                    "Begin with random weights, init='auto', so that units part; or take fewer "
                    "units.",
                )


def units(layer: Any, weights: Weights, path: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a layer's units as columns of a matrix, with its path; a unit's gates are joined."""
    if isinstance(layer, Recurrent):
        runs = [(f"{path}/{d}", weights[d]) for d in DIRECTIONS] if layer.bidirectional else None
        for where, own in runs or [(path, weights)]:
            gates = np.concatenate([own["W_x"], own["W_h"], own["b"][None]])
            yield f"{where}/W_x", gates.reshape(-1, layer.units)
    elif "W" in weights and np.ndim(weights["W"]) >= 2 and layer.kind != "embedding":
        W = np.asarray(weights["W"])
        b = weights.get("b")
        U = W.reshape(-1, W.shape[-1])
        yield f"{path}/W", U if b is None else np.concatenate([U, np.asarray(b)[None]])


def duplicated(U: np.ndarray) -> float:
    """Return the share of columns that equal an earlier one; zeros count if there is nothing else.

    Examples
    --------
    >>> duplicated(np.array([[1.0, 1.0, 2.0, 0.0]]))
    0.25
    """
    U = np.asarray(U, np.float64)
    squares = (U**2).sum(axis=0)
    if not squares.any():
        return 1 - 1 / U.shape[1]
    distance = squares[:, None] + squares[None, :] - 2 * U.T @ U
    alike = distance <= SAME_UNIT**2 * np.minimum.outer(squares, squares)
    alike &= (squares > 0)[:, None]
    return float(np.mean(np.triu(alike, 1).any(axis=0)))


def unmoved(evidence: Evidence) -> Iterator[Verdict]:
    """Layers that are frozen, and layers that still hold the numbers they were drawn with."""
    for path, layer in leaves(evidence.network):
        frozen = isinstance(layer, Frozen)
        own = at(evidence.statistics, path).get(HELD, {}) if frozen else at(evidence.weights, path)
        if not any(W.ndim > 1 for _, W in matrices(own)):
            continue
        moved = _moved(evidence, path, own, frozen)
        random = moved is not None and moved < UNMOVED
        if not frozen and not random:
            continue
        if frozen:
            yield Verdict(
                "frozen layer",
                path,
                0.0,
                "its matrices' change since the random start"
                if random
                else "share of its matrices that train",
                "above 0.01" if random else "1",
                "Take Frozen off this layer and fit again, or give it weights that were trained.",
                PROBLEM if random else NOTICE,
            )
        else:
            yield Verdict(
                "unmoved layer",
                path,
                moved or 0.0,
                "change since the random start, ‖W - W₀‖ / ‖W₀‖,",
                "above 0.01",
                "Look at what stands between it and the scores: no gradient reaches it.",
            )


def _moved(evidence: Evidence, path: str, own: Weights, frozen: bool) -> float | None:
    if evidence.initial is None:
        return None
    weights, statistics = evidence.initial
    before = at(statistics, path).get(HELD, {}) if frozen else at(weights, path)
    return change(own, before)


def change(weights: Weights, before: Weights) -> float | None:
    """Return ``‖W - W₀‖ / ‖W₀‖`` over a layer's matrices; None where they began at zero."""
    pairs = [
        (W, W0)
        for (_, W), (_, W0) in zip(matrices(weights), matrices(before), strict=True)
        if W.ndim > 1 and W.shape == W0.shape
    ]
    start = np.sqrt(sum(np.sum(W0.astype(float) ** 2) for _, W0 in pairs))
    if not start:
        return None
    return float(
        np.sqrt(sum(float(np.sum((W - W0).astype(float) ** 2)) for W, W0 in pairs)) / start
    )


def matrices(tree: Weights, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield every array of nested weights with its path."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from matrices(value, f"{prefix}{name}/")
        else:
            yield prefix + name, np.asarray(value)
