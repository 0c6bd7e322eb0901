"""Data that come part by part rather than as arrays: which they are, and who takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lamina.errors import InputError
from lamina.estimators.batches import are_batches, prepare_batches, rows_in_order
from lamina.estimators.streaming import in_order, prepare_stream, scores_of
from lamina.formats.streams import Stream
from lamina.training.loop import Run

if TYPE_CHECKING:
    import numpy as np

    from lamina.estimators.base import NetworkEstimator
    from lamina.functions.losses import Loss


def come_by_parts(X: Any, y: Any) -> bool:
    """Whether ``X`` brings its targets part by part."""
    if isinstance(X, Stream) and y is not None:
        raise InputError(
            f"A stream expected no y beside it, got {type(y).__name__}. Name the target when it is "
            "opened: lamina.formats.stream(path, target=...)."
        )
    return isinstance(X, Stream) or (y is None and are_batches(X))


def prepare(
    estimator: NetworkEstimator, X: Any, sample_weight: Any, validation_data: Any, classes: Any
) -> Run:
    """Return the run of a fit on such data, not begun."""
    estimator._check_numbers()
    _check_takes(estimator, sample_weight)
    made: Callable[..., Run] = prepare_stream if isinstance(X, Stream) else prepare_batches
    return made(estimator, X, validation_data, classes)


def parts(estimator: NetworkEstimator, X: Any, sample_weight: Any) -> Iterable[tuple]:
    """Return what yields such data as the network takes them."""
    _check_takes(estimator, sample_weight)
    return in_order(estimator, X) if isinstance(X, Stream) else rows_in_order(estimator, X)


def scores(estimator: NetworkEstimator, X: Any, link: Loss | None) -> np.ndarray:
    """Return the scores of a stream's rows, or what ``link`` makes of them."""
    _check_takes(estimator)
    if not isinstance(X, Stream):
        raise InputError(
            f"predict expected an array or a stream, got {type(X).__name__}. Predict batch by "
            "batch, or use lamina.formats.stream."
        )
    return scores_of(estimator, X, link)


def _check_takes(estimator: NetworkEstimator, sample_weight: Any = None) -> None:
    if not estimator._streams:
        raise InputError(
            f"{type(estimator).__name__} expected arrays X and y, got data that come piece by "
            "piece. Linear, perceptron, convolutional and network estimators take those."
        )
    if sample_weight is not None:
        raise InputError(
            "sample_weight expected to come with the data, got an array beside them. Use "
            "lamina.formats.stream(path, sample_weight=...), or batches (X, y, sample_weight)."
        )
