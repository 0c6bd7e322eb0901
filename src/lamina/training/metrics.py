"""What is counted beside the loss: one number per sample, averaged over an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax.numpy as jnp

from lamina.functions.losses import NextCode

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


Measure = Callable[["Array", "Array"], "Array"]
"""(scores (n, K), targets) -> (n,)."""


@dataclass(frozen=True)
class Metric:
    """A measure of scores against targets.

    Parameters
    ----------
    name : str
        Its key in the history.
    per_sample : Measure
        Its value for each sample.
    finish : callable float -> float
        From the mean over samples to the figure shown.
    """

    name: str
    per_sample: Measure
    finish: Callable[[float], float] = float


def _right_class(scores: Float[Array, "n K"], y: Int[Array, " n"]) -> Float[Array, " n"]:
    return (jnp.argmax(scores, axis=1) == y).astype(scores.dtype)


def _all_labels_right(scores: Float[Array, "n K"], y: Float[Array, "n K"]) -> Float[Array, " n"]:
    return jnp.all((scores > 0) == (y > 0.5), axis=1).astype(scores.dtype)


def _mean_square(scores: Float[Array, "n K"], y: Float[Array, "n K"]) -> Float[Array, " n"]:
    return jnp.mean(jnp.square(scores - y), axis=1)


def _bits(scores: Float[Array, "n t K"], y: Int[Array, "n t"]) -> Float[Array, " n"]:
    return NextCode()(scores, y) / math.log(2)


METRICS = {
    "classes": Metric("accuracy", _right_class),
    "labels": Metric("accuracy", _all_labels_right),
    "values": Metric("rmse", _mean_square, math.sqrt),
    "codes": Metric("bits_per_code", _bits),
}
"""The usual metric by `Loss.target`: accuracy (all of a sample's labels right), the root of the
mean square error, in units of the scores, or bits to tell the next code."""
