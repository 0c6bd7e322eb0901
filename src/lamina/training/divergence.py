"""When numbers stop being finite: find the first matrix that overflowed, and say what to try."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.functions.losses import Loss
from lamina.layers.half_precision import HalfPrecision
from lamina.layers.layer import PREDICTING, Layer, by_path
from lamina.layers.sequential import Sequential


def first_overflow(
    network: Layer, loss: Loss, weights: Any, statistics: Any, X: Any, y: Any
) -> str:
    """Return what is first not finite on the way from ``X`` to the loss and back.

    Parameters
    ----------
    network, loss
        What was trained.
    weights, statistics : nested dict of arrays
        The last good ones.
    X, y : arrays
        The samples on which the step failed.

    Returns
    -------
    str
        Such as ``"the weights dense_1/W"``, ``"the output of dense_0"``, ``"the loss"``, ``"the
        gradient of dense_1/W"``, or the step of the largest gradient if all of these are finite.
    """
    if not _finite(X):
        return "the input X"
    for path, matrix in by_path(weights):
        if not _finite(matrix):
            return f"the weights {path}"
    if isinstance(network, Sequential | HalfPrecision):
        for name, A, _ in network.walk(weights, statistics, X):
            if not _finite(A):
                return f"the output of {name}"

    def mean_loss(weights):
        return jnp.mean(loss(network.apply(weights, statistics, X, PREDICTING)[0], y))

    value, gradients = jax.value_and_grad(mean_loss)(weights)
    if not jnp.isfinite(value):
        return "the loss"
    for path, gradient in reversed(list(by_path(gradients))):  # the backward pass starts at the end
        if not jnp.isfinite(jnp.sum(gradient * gradient)):
            return f"the gradient of {path}"
    longest = max(by_path(gradients), key=lambda row: float(jnp.max(jnp.abs(row[1]))))
    return f"the step of {longest[0]}"


def _finite(tree: Any) -> bool:
    return all(bool(jnp.all(jnp.isfinite(part))) for part in jax.tree.leaves(tree))
