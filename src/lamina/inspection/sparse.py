"""Magnitude pruning: of all entries of all matrices, those that say the least become zero.

An entry w_ij says as much as it moves the output: ``|w_ij| √(mean x_i²)``, with x_i what reaches
its row; so that a large weight on an input that is always zero is nothing. Where inputs are not
known, in a recurrent cell, it is ``|w_ij|``. A score is a share of all of its matrix, so that one
threshold serves all: entries of a small matrix say more each. Zeros are stored as one bit each
(`lamina.formats.zeros`).

Sources: Han, Pool, Tran and Dally 2015, Learning both Weights and Connections for Efficient Neural
Networks (pruning, then training on); Sun, Liu, Bair and Kolter 2024, A Simple and Effective Pruning
Approach for Large Language Models, equation 1 (the score).
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from lamina.errors import InputError
from lamina.inspection.low_rank import is_product
from lamina.inspection.surgery import numbers, reached, rewritten
from lamina.layers.frozen import KEPT, MASK, Masked, masked
from lamina.layers.layer import Layer, Weights
from lamina.models.folding import Bound

BIT = 1 / 32
"""What a zero's place costs, in numbers."""


def pruned(bound: Bound, X: Any, most: float, whole: int) -> Bound:
    """Return a network of `Masked` layers, stored in ``most`` numbers; see `low_rank`.

    Raises
    ------
    InputError
        If what is not in matrices, and a bit for each entry, are more than the budget.
    """
    scored = {path: _scores(part, part.weights, A) for path, part, A in reached(bound, X)}
    leaves = [score.ravel() for score in jax.tree.leaves(scored)]
    each = np.concatenate(leaves) if leaves else np.zeros(0)
    fixed = numbers(bound) - len(each) + BIT * len(each)
    kept = int(most - fixed)
    if kept < 1:
        raise InputError(
            f"budget expected at least {(fixed + 1) / whole:.3f} of this network by pruning, got "
            f"{most / whole:.3f}. Raise it."
        )
    threshold = -np.partition(-each, kept - 1)[kept - 1] if kept < len(each) else -1.0

    def with_mask(path: str, part: Bound) -> list[Bound]:
        if not scored.get(path):
            return [part]
        masks = jax.tree.map(lambda score: (score >= threshold).astype(score.dtype), scored[path])
        weights = masked(part.weights, masks)
        return [Bound(Masked(part.layer), weights, {MASK: masks, KEPT: part.statistics})]

    return rewritten(bound, with_mask)


def unmasked(bound: Bound) -> Bound:
    """Return a network without masks: its matrices are zero there."""

    def plain(path: str, part: Bound) -> list[Bound]:
        layer: Layer = part.layer
        if not isinstance(layer, Masked):
            return [part]
        return [Bound(layer.layer, *layer.released(part.weights, part.statistics))]

    return rewritten(bound, plain)


def stored(bound: Bound) -> int:
    """Return how many numbers a file holds for a network, its zeros as bits where that is less."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((bound.weights, bound.statistics))]
    return round(sum(min(leaf.size, np.count_nonzero(leaf) + BIT * leaf.size) for leaf in leaves))


def _scores(part: Bound, weights: Weights, A: Any) -> Weights:
    """Return the scores of a layer's matrices, nested as its weights are."""
    found: Weights = {}
    for name, W in weights.items():
        if isinstance(W, dict):
            found[name] = _scores(part, W, A)
        elif np.ndim(W) > 1:
            score = np.abs(W)
            if is_product(part.layer):
                X = np.asarray(A)
                size = np.sqrt(np.square(X).mean(axis=tuple(range(X.ndim - 1)), dtype=np.float64))
                score = score * size[:, None].astype(W.dtype)
            found[name] = score / max(float(np.linalg.norm(score)), 1e-30)
    return found
