"""Batches that somebody else makes, as an estimator takes them: any iterable of ``(X, y)``.

The first batch is looked at before training: inputs get their shape and their encoder from it, and
values their mean and deviation. Classes must be told.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import InputError
from lamina.estimators.streaming import MANY, by_minibatches, held_out
from lamina.formats.streams import Part, checked_weights
from lamina.training.iterables import IterableSource
from lamina.training.loop import Run
from lamina.training.schedules import constant
from lamina.training.streams import Rows

if TYPE_CHECKING:
    from lamina.estimators.base import NetworkEstimator


def are_batches(X: Any) -> bool:
    """Whether something is walked for batches: neither an array nor a list of rows."""
    if not isinstance(X, Iterable) or isinstance(X, str | bytes | dict):
        return False
    if any(hasattr(X, name) for name in ("shape", "__array__", "__array_interface__")):
        return False
    if isinstance(X, list | tuple):
        return bool(X) and isinstance(X[0], tuple) and hasattr(X[0][0], "__len__")
    return True


def prepare_batches(
    estimator: NetworkEstimator, batches: Any, validation_data: Any, classes: Any
) -> Run:
    """Return the run of a fit on an iterable of batches."""
    once = iter(batches) is batches
    _check_walks(estimator, once, validation_data)
    walk = iter(batches)
    raw = next(walk, None)
    if raw is None:
        raise InputError("X expected at least one batch, got an iterable without any.")
    first = batch_of(raw)
    continuing = estimator.warm_start and hasattr(estimator, "weights_")
    X = estimator._matrix(first.X, reset=not continuing)
    if not continuing:
        estimator.input_shape_ = X.shape[1:]
        estimator._learn_of_first(first.y, classes)
    weighing = estimator._batch_weighing()
    targets = estimator._known_targets(first.y)
    estimator.target_names_ = None
    validation = held_out(estimator, validation_data)
    seed, _ = estimator._seed()
    if not continuing:
        estimator.history_ = {}
        estimator._build(X, targets, None, seed)
    descent = by_minibatches(estimator._descent(MANY, partial=False))
    steps = len(batches) if hasattr(batches, "__len__") else None
    if steps is None and descent.schedule is not constant:
        descent = replace(descent, schedule=constant)
        warnings.warn(
            f"schedule={estimator.schedule!r} expected to know how many batches an epoch has, got "
            "an iterable without a length: the learning rate stays constant.",
            UserWarning,
            stacklevel=4,
        )

    def rows_of(raw: Any) -> Rows:
        part = batch_of(raw)
        X, y = estimator._matrix(part.X, reset=False), estimator._known_targets(part.y)
        return Rows(X, y, weighing(y, part.weight))

    walked = chain([raw], walk) if once else batches
    source = IterableSource(walked, rows_of, len(X), steps)
    run = estimator._run_over(source, descent, seed, validation)
    run.epochs = 1 if once else run.epochs
    return run


def rows_in_order(estimator: NetworkEstimator, batches: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield batches ``(X, y, weight)`` as the network takes them."""
    for raw in batches:
        part = batch_of(raw)
        X, y = estimator._matrix(part.X, reset=False), estimator._known_targets(part.y)
        yield X, y, part.weight


def batch_of(raw: Any) -> Part:
    """Return one batch that an iterable has yielded.

    Raises
    ------
    InputError
        Unless it is a tuple of inputs, targets and perhaps weights, with as many rows each.
    """
    if not isinstance(raw, tuple | list) or len(raw) not in (2, 3):
        of = f" of {len(raw)}" if hasattr(raw, "__len__") else ""
        raise InputError(
            "A batch expected to be a tuple (X, y) or (X, y, sample_weight), got "
            f"{type(raw).__name__}{of}."
        )
    X: Any
    X, y, *others = (a if hasattr(a, "iloc") or a is None else np.asarray(a) for a in raw)
    if np.ndim(X) == 0:
        raise InputError(f"A batch expected rows, got X={X!r}.")
    weight = others[0] if others else None
    if weight is not None:
        weight = checked_weights(weight)
    for name, part in (("target", y), ("weight", weight)):
        if part is not None and (np.ndim(part) == 0 or len(part) != len(X)):
            raise InputError(
                f"A batch expected one {name} for each of its {len(X)} rows, got shape "
                f"{np.shape(part)}."
            )
    return Part(X, y, weight)


def _check_walks(estimator: NetworkEstimator, once: bool, validation_data: Any) -> None:
    """Raise for what needs more than to walk batches once, or in another order."""
    if once and (estimator.max_epochs or 1) > 1:
        raise InputError(
            f"max_epochs expected 1 for an iterable that can be walked only once, got "
            f"{estimator.max_epochs}. Pass what makes a new iterator each time: a list, a data "
            "loader, an object with __iter__."
        )
    if estimator.checkpoint is not None:
        raise InputError(
            "checkpoint expected data whose order is known, got an iterable of batches. "
            "Use lamina.formats.stream, or arrays."
        )
    if estimator.early_stopping is not None and validation_data is None:
        raise InputError(
            "early_stopping expected validation_data beside an iterable of batches, of which "
            "nothing can be held out, got none. Pass it."
        )
