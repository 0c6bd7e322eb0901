"""Streams from disk, as an estimator takes them.

What must be known before the first step is learned beforehand: the classes, or mean and deviation
of the targets, and the sum of the weights, in one pass over the targets; the encoder and what
normalises inputs from a bounded sample of rows, `lamina.formats.streams.Stream.sample`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import InputError
from lamina.estimators.weighing import Weighing
from lamina.formats.streams import Part, Stream, named
from lamina.training.loop import Descent, Run, scores
from lamina.training.streams import BLOCK_BYTES, WINDOW_BYTES, Rows, StreamSource, steps_in

if TYPE_CHECKING:
    from lamina.estimators.base import NetworkEstimator
    from lamina.functions.losses import Loss

MANY = 1 << 40
"""Stands for a stream's number of samples, where few are treated otherwise than many."""

EVALUATION_BYTES = 4 << 20
"""About how many bytes of inputs are evaluated at once."""


@dataclass(frozen=True)
class EncodedPieces:
    """A stream's pieces as the network takes them.

    Images and arrays stay as they are stored until a minibatch needs them, a quarter of the
    memory; tables are encoded as they are read.

    Parameters
    ----------
    estimator : NetworkEstimator
        Which knows its encoder and its targets.
    stream : Stream
        What to read.
    weighing : Weighing, optional
        How rows are weighed; None takes weights as they are.
    targets : bool
        Whether targets are wanted.
    """

    estimator: NetworkEstimator
    stream: Stream
    weighing: Weighing | None = None
    targets: bool = True

    @property
    def lengths(self) -> np.ndarray:
        """Rows in each piece."""
        return self.stream.lengths

    def read(self, piece: int) -> Rows:
        """Return a piece; errors name its file and rows."""
        part = self.stream.read(piece)
        with named(lambda: self.stream.place(piece)):
            return self.encoded(part)

    def encoded(self, part: Part) -> Rows:
        """Return rows that were read, as they are kept."""
        X = part.X if self.late else self.estimator._matrix(part.X, reset=False)
        if not self.targets:
            return Rows(X, None, None)
        y = self.estimator._known_targets(part.y)
        return Rows(X, y, part.weight if self.weighing is None else self.weighing(y, part.weight))

    def finish(self, rows: Rows) -> Rows:
        """Return rows out of a window as the network takes them."""
        if not self.late:
            return rows
        with named(lambda: self.stream.source):
            return rows._replace(X=self.estimator._matrix(rows.X, reset=False))

    @property
    def late(self) -> bool:
        """Whether rows are kept as they are stored."""
        return self.stream.kind != "table"


def prepare_stream(
    estimator: NetworkEstimator, data: Stream, validation_data: Any, classes: Any
) -> Run:
    """Return the run of a fit on a stream."""
    if classes is not None:
        raise InputError(
            f"classes expected plain batches, got {data.source}, which knows its own. Leave it out."
        )
    check_has_targets(data)
    continuing = estimator.warm_start and hasattr(estimator, "weights_")
    seed, resumption = estimator._seed()
    if validation_data is None and estimator.early_stopping is not None:
        data, validation_data = data.split(estimator.validation_fraction, seed)
    with named(lambda: data.source):
        X = estimator._matrix(data.sample.X, reset=not continuing)
        if not continuing:
            estimator.input_shape_ = X.shape[1:]
        weighing = estimator._survey(data.targets(), not continuing)
        targets = estimator._known_targets(data.sample.y)
        weight = weighing(targets, data.sample.weight)
    estimator.target_names_ = data.target_names
    validation = held_out(estimator, validation_data)
    if not continuing:
        estimator.history_ = {}
        estimator._build(X, targets, weight, seed)
    descent = by_minibatches(estimator._descent(MANY, partial=False))
    source = _source(EncodedPieces(estimator, data, weighing), X, seed)
    run = estimator._run_over(source, descent, seed, validation)
    if resumption is not None:
        before = estimator.weights_ if continuing else None
        resumption.attach(run, estimator, seed, data.lengths, X, targets, weight, before)
    return run


def in_order(
    estimator: NetworkEstimator, data: Stream, *, targets: bool = True
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield a stream's rows ``(X, y, weight)`` as the network takes them, in the file's order."""
    if targets:
        check_has_targets(data)
    row_bytes = np.dtype(estimator._dtype).itemsize * int(np.prod(estimator.input_shape_))
    rows = max(1, EVALUATION_BYTES // max(row_bytes, 1))
    pieces = EncodedPieces(estimator, data, targets=targets)
    source = StreamSource(pieces, min(rows, len(data)), window_rows=rows, shuffle=False)
    for block in source.blocks(0):
        yield tuple(None if a is None else a[: block.valid] for a in block[:3])  # type: ignore


def scores_of(estimator: NetworkEstimator, data: Stream, link: Loss | None) -> np.ndarray:
    """Return the scores of a stream's rows, in order; see `lamina.training.loop.scores`."""
    network, weights = estimator._computed, estimator.weights_
    parts = in_order(estimator, data, targets=False)
    return np.concatenate(
        [scores(network, weights, estimator.statistics_, X, link) for X, _, _ in parts]
    )


def targets_of(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return targets and weights; of a stream its own."""
    if not isinstance(X, Stream):
        return y, sample_weight
    check_has_targets(X)
    ys, weights = zip(*X.targets(), strict=True)
    return np.concatenate(ys), None if weights[0] is None else np.concatenate(weights)


def held_out(estimator: NetworkEstimator, data: Any) -> Callable[[], Iterable] | None:
    """Return what yields the data to validate on, each time it is asked."""
    if data is None:
        return None
    if isinstance(data, Stream):
        check_has_targets(data)
        return lambda: in_order(estimator, data)
    arrays = estimator._validation(data)
    return lambda: [arrays]


def check_has_targets(data: Stream) -> None:
    """Raise unless a stream's rows have targets."""
    if not data.has_targets:
        raise InputError(
            f"{data.source} expected a target for each row, got inputs only. Name it: "
            "lamina.formats.stream(path, target=...)."
        )


def by_minibatches(descent: Descent) -> Descent:
    """Return a descent that does not need all data at once, else raise."""
    if descent.optimizer.full_batch:
        raise InputError(
            f"optimizer={descent.optimizer.name!r} expected all data at once, got data that come "
            "piece by piece. Use 'adam', 'sgd' or another that steps by minibatches."
        )
    return descent


def _source(pieces: EncodedPieces, X: np.ndarray, seed: int) -> StreamSource:
    """Return the minibatches of a stream, of whose sample ``X`` is the matrix."""
    estimator, rows = pieces.estimator, len(X)
    batch = min(estimator.batch_size or 128, len(pieces.stream))
    convolves = estimator.network_.convolves
    steps = 1 if convolves else steps_in(BLOCK_BYTES, X.nbytes // rows * batch)
    kept = pieces.stream.sample.X.nbytes if pieces.late else X.nbytes
    window = max(1, WINDOW_BYTES * rows // max(kept, 1))
    return StreamSource(pieces, batch, steps, window, seed=seed)
