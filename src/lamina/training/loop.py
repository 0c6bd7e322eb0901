"""The training loop: one for every estimator.

A run passes one state from step to step and takes its data as blocks from a source. What differs
between families is the network, the loss and the source; the loop has no case for any of them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from lamina.errors import DivergenceError, InputError
from lamina.functions.losses import Loss
from lamina.functions.penalties import Penalty
from lamina.layers.layer import Layer, Weights
from lamina.placement import spread
from lamina.training.batches import Source, bucket, pad_rows
from lamina.training.callbacks import Callback, Record
from lamina.training.divergence import first_overflow
from lamina.training.interrupt import interruptible
from lamina.training.lengths import by_length
from lamina.training.metrics import Metric
from lamina.training.optimizers import Optimizer
from lamina.training.program import (
    Settings,
    evaluation_program,
    scoring_program,
    training_program,
)
from lamina.training.schedules import Schedule
from lamina.training.state import Totals, TrainingState, no_totals

NO_PENALTY = Penalty()
EVALUATION_ELEMENTS = 1 << 22
"""About how many numbers a call holds where its network is widest."""


@dataclass(frozen=True)
class Objective:
    """What is minimised and how it is measured.

    Parameters
    ----------
    network : Layer
        The map from inputs to scores.
    loss : Loss
        Per sample.
    metric : Metric
        Counted beside the loss.
    penalty : Penalty
        For weight matrices whose layer names none of its own.
    mixup : float >= 0
        The strength α of mixup in training, 0 for none; see `lamina.training.mixup`.
    """

    network: Layer
    loss: Loss
    metric: Metric
    penalty: Penalty = NO_PENALTY
    mixup: float = 0.0

    def strengths(self, weights: Weights) -> tuple[Any, Any]:
        """Return the L1 and L2 strengths, each shaped like ``weights``, or None where all are 0."""
        penalties = self.network.penalties(weights, self.penalty)

        def each(kind: str) -> Any:
            tree = jax.tree.map(lambda p, W: W.dtype.type(getattr(p, kind)), penalties, weights)
            return tree if any(jax.tree.leaves(tree)) else None

        return each("l1"), each("l2")


@dataclass(frozen=True)
class Descent:
    """How it is minimised.

    Parameters
    ----------
    optimizer : Optimizer
        The method.
    learning_rate : float
        The base rate.
    schedule : Schedule
        The factor on it along the run.
    clip_norm : float, optional
        Bound on the global gradient norm.
    average : float in (0, 1), optional
        How much of the weights' moving average is kept from step to step; None keeps none.
    factors : nested dict like the weights, optional
        What each weight's rate is multiplied by; None is one each.
    """

    optimizer: Optimizer
    learning_rate: float
    schedule: Schedule
    clip_norm: float | None = None
    average: float | None = None
    factors: Any = None


class Recorder(Protocol):
    """Keeps a run, so that it can go on after the process has died."""

    @property
    def remedy(self) -> str:
        """What to do to go on with the run, in one sentence."""
        ...

    def after_block(self, run: Run) -> None:
        """Keep the run in the middle of an epoch, if it is time."""
        ...

    def after_epoch(self, run: Run) -> None:
        """Keep the run between two epochs."""
        ...

    def at_end(self, run: Run) -> None:
        """Keep the run as it was left, and wait until that is done."""
        ...

    def release(self) -> None:
        """Do no more: however the run has ended, this comes last."""
        ...


class Run:
    """One training run; callbacks are given it.

    Parameters
    ----------
    objective : Objective
        What to minimise.
    descent : Descent
        How.
    state : TrainingState
        Where to start.
    source : Source
        The data.
    epochs : int
        Passes over them, counted from the state's first epoch.
    validation : callable TrainingState -> Record, optional
        What measures the network after each epoch.
    callbacks : sequence of Callback
        In the order in which they are called.
    recorder : Recorder, optional
        What keeps it on disk.

    Attributes
    ----------
    state : TrainingState
        The present one.
    history : dict of list
        The records of all epochs, by figure.
    totals : Totals
        Sums over the present epoch, up to the last block that has ended.
    stopped : bool
        Whether a callback ended the run.
    interrupted : bool
        Whether Ctrl-C ended the run.
    """

    def __init__(
        self,
        objective: Objective,
        descent: Descent,
        state: TrainingState,
        source: Source,
        epochs: int,
        validation: Callable[[TrainingState], Record] | None = None,
        callbacks: Sequence[Callback] = (),
        recorder: Recorder | None = None,
    ) -> None:
        self.objective, self.descent = objective, descent
        self.state, self.source, self.epochs = state, source, epochs
        self.validation, self.callbacks, self.recorder = validation, callbacks, recorder
        self.history: dict[str, list[float]] = {}
        self.stopped = self.interrupted = False
        self.dtype = state.totals.dtype
        self.go_on_from(state)
        self._settings = self._checked_settings()
        self._program = partial(
            training_program,
            objective.network,
            objective.loss,
            objective.metric.per_sample,
            descent.optimizer,
            objective.mixup,
        )

    def go_on_from(self, state: TrainingState) -> None:
        """Take a state, and with it the position in the data and the sums of its epoch."""
        self.state = spread(state)
        self.epoch = int(state.epoch)
        self.totals = Totals(*state.totals.tolist())

    @property
    def steps_taken(self) -> int:
        """Return the steps of all blocks that have ended; the state may be a block ahead."""
        return self.epoch * self.source.steps_per_epoch + int(self.totals.steps)

    def _checked_settings(self) -> Settings:
        l1, l2 = self.objective.strengths(self.state.weights)
        if l1 is not None and not self.descent.optimizer.proximal:
            raise InputError(
                f"An L1 penalty expected an optimiser with proximal steps, got "
                f"{self.descent.optimizer.name!r}. Use 'adam', 'sgd' or 'gd'."
            )
        factors = self.descent.factors
        if factors is not None and self.descent.optimizer.whole_step:
            raise InputError(
                f"Rates by layer expected an optimiser with a learning rate of its own, got "
                f"{self.descent.optimizer.name!r}. Use 'adamw', 'sgd' or 'momentum'."
            )
        numbers = (self.descent.clip_norm, self.descent.average)
        clip, average = (None if a is None else self.dtype.type(a) for a in numbers)
        return Settings(l1, l2, clip, average, jax.tree.map(self.dtype.type, factors))

    def train(self) -> None:
        """Run until the last epoch, a callback's stop, or Ctrl-C.

        Raises
        ------
        DivergenceError
            If a loss or gradient is not finite; `state` then holds the last good weights.
        """
        started = []
        try:
            for callback in self.callbacks:
                started.append(callback)
                callback.on_start(self)
            with interruptible(terminable=self.recorder is not None) as interruption:
                while self.epoch < self.epochs and not self.stopped:
                    self._epoch(interruption)
                    if self.interrupted:
                        break
                    self._end_epoch()
                if self.recorder is not None:
                    self.recorder.at_end(self)
        finally:
            for callback in started:
                callback.on_end(self)
            if self.recorder is not None:
                self.recorder.release()
        if self.interrupted:
            remedy = "" if self.recorder is None else f" {self.recorder.remedy}"
            warnings.warn(
                f"Training was interrupted in epoch {self.epoch + 1} of {self.epochs}; "
                f"the weights so far are kept.{remedy}",
                UserWarning,
                stacklevel=4,
            )

    def _epoch(self, interruption) -> None:
        """Take the steps of one epoch from the state's position on."""
        self._began = time.perf_counter()
        pending = None
        batch = int(self.state.batch)
        for block in self._blocks(batch):
            planned = 1 if block.order is None else len(block.order)
            rates = self._rates(batch + np.arange(planned)).astype(self.dtype)
            arguments = self._settings, rates, *block
            guarded = planned == 1
            again = None if guarded else (self.state, *arguments)
            self.state, report = self._program(guarded)(self.state, *arguments)
            batch += block.steps
            if pending is not None:  # wait for the block before: one is always under way
                self._report(*pending)
            pending = report, again
            if interruption.requested:
                self.interrupted = True
                break
        if pending is not None:
            self._report(*pending)

    def _blocks(self, batch: int) -> Iterator[Any]:
        """Yield the epoch's blocks; where the data cannot be read on, what was trained is kept."""
        try:
            yield from self.source.blocks(self.epoch, batch)
        except InputError:
            if self.recorder is not None:
                self.recorder.at_end(self)
            raise

    def _report(self, report: Any, again: tuple | None) -> None:
        """Wait for a block to end, check it, and tell the callbacks.

        ``again`` is what to go through the block with once more if its steps were not guarded.
        """
        *totals, finite = np.asarray(report).tolist()
        if not finite:
            if again is not None:
                self.state, _ = self._program(True)(*again)
            self._diverged()
        self.totals = Totals(*totals)
        for callback in self.callbacks:
            callback.on_block(self, self.totals)
        if self.recorder is not None:
            self.recorder.after_block(self)

    def _rates(self, batch: np.ndarray) -> np.ndarray:
        """Return the learning rate at these minibatches of the present epoch."""
        per_epoch = self.source.steps_per_epoch
        last = max(self.epochs * per_epoch - 1, 1)
        progress = np.minimum((self.epoch * per_epoch + batch) / last, 1.0)
        return self.descent.learning_rate * self.descent.schedule(progress)

    def figures(self, totals: Totals) -> Record:
        """Return the means that sums stand for."""
        weight = max(totals.weight, 1e-30)
        metric = self.objective.metric
        return {"loss": totals.loss / weight, metric.name: metric.finish(totals.metric / weight)}

    def _end_epoch(self) -> None:
        """Record the epoch, and ask the callbacks whether to stop."""
        totals = self.totals
        record: Record = {"epoch": self.epoch + 1, **self.figures(totals)}
        if self.validation is not None:
            found = self.validation(self.state)
            record |= {f"val_{name}": value for name, value in found.items()}
        rate = float(self._rates(np.array(self.source.steps_per_epoch - 1)))
        record["learning_rate"] = rate * float(self.state.rate_scale)
        record["gradient_norm"] = totals.gradient_norm
        record["seconds"] = time.perf_counter() - self._began
        for name, value in record.items():
            self.history.setdefault(name, []).append(value)
        self.epoch += 1
        none = no_totals(self.dtype)
        self.change_state(epoch=np.int32(self.epoch), batch=np.int32(0), totals=none)
        self.totals = Totals(*none.tolist())
        wishes = [callback.on_epoch(self, record) for callback in self.callbacks]
        self.stopped = any(wishes)
        if self.recorder is not None:
            self.recorder.after_epoch(self)

    def next_step(self) -> tuple[TrainingState, float]:
        """Return the state after the first step of the epoch to come, and its learning rate.

        The run stays where it is. The rate is that of halfway through the epoch that has ended, as
        that of its end may be 0. The program is the one that trains, so nothing is compiled.
        """
        block = next(iter(self.source.blocks(self.epoch)))
        state, planned = self.state, 1
        if block.order is not None:
            planned, batch = block.order.shape
            block = block._replace(valid=min(block.valid, batch))
        guarded = planned == 1
        if guarded:  # whose program takes the state's memory
            state = jax.tree.map(np.array, state)
        halfway = np.full(planned, -(self.source.steps_per_epoch + 1) / 2)
        rates = self._rates(halfway).astype(self.dtype)
        stepped, _ = self._program(guarded)(state, self._settings, rates, *block)
        return stepped, float(rates[0]) * float(state.rate_scale)

    def change_state(self, **changes: Any) -> None:
        """Replace parts of the state."""
        self.state = spread(replace(self.state, **changes))

    def _diverged(self) -> None:
        """Raise the error that names the epoch and the first matrix that overflowed."""
        state, objective = self.state, self.objective
        failed = next(iter(self.source.blocks(self.epoch, int(state.batch))))
        rows = slice(None, failed.valid) if failed.order is None else failed.order[0]
        X, y = jax.tree.map(lambda part: np.asarray(part)[rows], (failed.X, failed.y))
        found = first_overflow(
            objective.network, objective.loss, state.weights, state.statistics, X, y
        )
        rate, usual = self.descent.learning_rate, self.descent.optimizer.learning_rate
        raise DivergenceError(
            f"Training diverged in epoch {self.epoch + 1}, minibatch {int(state.batch) + 1}: "
            f"{found} is no longer finite in {self.dtype}. The last good weights are kept. Try "
            f"learning_rate={min(rate / 10, usual):g} (it was {rate:g}), clip_norm=1.0, or inputs "
            "scaled to about unit variance."
        )


class Piece(NamedTuple):
    """What one call scores: samples, their rows in the whole, and how many rows to pad to."""

    X: Any
    rows: Any
    padded: int


def _pieces(network: Layer, X: Any) -> Iterator[Piece]:
    """Yield X in pieces of about `EVALUATION_ELEMENTS` where the network is widest."""
    for part, of_part in by_length(X):
        width = max(1, network.widest(part.shape[1:]))
        most = 1 << max(3, (EVALUATION_ELEMENTS // width).bit_length() - 1)
        count = min(most, bucket(len(part)))
        for start in range(0, len(part), count):
            rows = slice(start, start + count)
            yield Piece(part[rows], of_part[rows], count)


def evaluate(
    objective: Objective,
    weights: Weights,
    statistics: Weights,
    X: Any,
    y: np.ndarray,
    weight: np.ndarray | None = None,
) -> Record:
    """Return the mean loss and metric of a network on data, in inference mode.

    Parameters
    ----------
    objective : Objective
        The network, loss and metric.
    weights, statistics : nested dict of arrays
        The network's.
    X, y, weight : arrays of n rows
        Inputs, targets and sample weights.
    """
    return evaluate_parts(objective, weights, statistics, [(X, y, weight)])


def evaluate_parts(
    objective: Objective,
    weights: Weights,
    statistics: Weights,
    parts: Iterable[tuple[Any, np.ndarray, np.ndarray | None]],
) -> Record:
    """Return what `evaluate` does, of data that come part by part."""
    program = evaluation_program(objective.network, objective.loss, objective.metric.per_sample)
    dtype = jax.tree.leaves(weights)[0].dtype
    sums = np.zeros(3)
    for X, y, weight in parts:
        each = np.ones(len(X), dtype) if weight is None else weight
        for piece in _pieces(objective.network, X):
            part = (pad_rows(a, piece.padded) for a in (piece.X, y[piece.rows], each[piece.rows]))
            sums += np.array(program(weights, statistics, *part), np.float64)
    mean = sums[:2] / max(sums[2], 1e-30)
    return {"loss": float(mean[0]), objective.metric.name: objective.metric.finish(float(mean[1]))}


def scores(
    network: Layer, weights: Weights, statistics: Weights, X: Any, loss: Loss | None = None
) -> np.ndarray:
    """Return a network's scores on ``X`` (n, ...), or with a loss its probabilities."""
    program = scoring_program(network, loss)
    pieces = list(_pieces(network, X))
    parts = [
        np.asarray(program(weights, statistics, pad_rows(piece.X, piece.padded)))[: len(piece.X)]
        for piece in pieces
    ]
    if len(parts) == 1:
        return parts[0]
    found = np.empty((len(X), *parts[0].shape[1:]), parts[0].dtype)
    for piece, part in zip(pieces, parts, strict=True):
        found[piece.rows] = part
    return found
