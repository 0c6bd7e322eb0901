"""What may watch a run and stop it: early stopping, a minimum reached, a rate cut."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lamina.errors import InputError
from lamina.placement import is_first_process, to_numpy

if TYPE_CHECKING:
    from lamina.training.loop import Run
    from lamina.training.state import Totals

Record = dict[str, float]
"""One epoch's figures by name: loss, accuracy, val_loss, …"""


class Callback:
    """Watches a run. Override what you need; it may keep state, and is copied for each fit.

    What it keeps from epoch to epoch is lost in a run that is resumed from a checkpoint, unless
    `memory` and `remember` carry it over.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step."""

    def on_block(self, run: Run, totals: Totals) -> None:
        """After a block of minibatches; ``totals`` are sums over the epoch so far."""

    def on_epoch(self, run: Run, record: Record) -> bool | None:
        """After an epoch and its validation. Return True to stop."""

    def on_end(self, run: Run) -> None:
        """After the last epoch, also if the run was stopped, interrupted or failed."""

    def memory(self) -> tuple[dict[str, Any], Any]:
        """Return what a checkpoint should hold: plain JSON values, and a pytree of arrays.

        No values, and there is nothing to hold.
        """
        return {}, {}

    def remember(self, run: Run, values: dict[str, Any], arrays: Callable[[Any], Any]) -> None:
        """Take back what `memory` returned; ``arrays`` maps a pytree of its structure to it."""


def fresh_copy(callback: Any) -> Callback:
    """Return a copy for one run; a plain function of the record is taken as ``on_epoch``."""
    if isinstance(callback, Callback):
        return copy.deepcopy(callback)
    if callable(callback):
        return _Function(callback)
    raise InputError(
        f"callbacks expected Callback objects or functions of one epoch's record, got {callback!r}."
    )


class _Function(Callback):
    def __init__(self, function) -> None:
        self.function = function

    def on_epoch(self, run: Run, record: Record) -> bool | None:
        return self.function(record)


def _improves(name: str, value: float, best: float | None, min_delta: float) -> bool:
    """Whether a figure is better than the best: higher for accuracies, lower for the others."""
    if best is None or math.isnan(best):
        return True
    gain = value - best if "accuracy" in name else best - value
    return gain > min_delta


def _watched(record: Record, monitor: str) -> float:
    if monitor not in record:
        raise InputError(
            f"monitor expected one of {', '.join(record)}; got {monitor!r}. "
            "Figures that begin with val_ need validation_data or early_stopping."
        )
    return record[monitor]


class EarlyStopping(Callback):
    """Stop when a figure has not improved for some epochs, and go back to the best weights.

    Parameters
    ----------
    patience : int
        Epochs without improvement to allow.
    monitor : str
        The figure to watch, a key of the record; higher is better for accuracies.
    min_delta : float
        What counts as improvement.
    """

    def __init__(
        self, patience: int = 10, monitor: str = "val_loss", min_delta: float = 0.0
    ) -> None:
        self.patience, self.monitor, self.min_delta = patience, monitor, min_delta
        self.best: float | None = None
        self.best_epoch = 0
        self.waited = 0
        self._kept: Any = None

    def memory(self) -> tuple[dict[str, Any], Any]:
        """Return the best figure, when it was, how long ago, and its weights."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
        }, self._kept

    def remember(self, run: Run, values: dict[str, Any], arrays: Callable[[Any], Any]) -> None:
        """Take them back."""
        self.best, self.best_epoch = values["best"], values["best_epoch"]
        self.waited = values["waited"]
        if self.best is not None:
            self._kept = arrays((run.state.served, run.state.statistics))

    def on_epoch(self, run: Run, record: Record) -> bool:
        """Keep the weights if they are the best so far; stop when patience is over."""
        value = _watched(record, self.monitor)
        if _improves(self.monitor, value, self.best, self.min_delta):
            self.best, self.best_epoch, self.waited = value, int(record["epoch"]), 0
            self._kept = jax.tree.map(to_numpy, (run.state.served, run.state.statistics))
        else:
            self.waited += 1
        return self.waited >= self.patience

    def on_end(self, run: Run) -> None:
        """Restore the best weights."""
        if self._kept is not None:
            weights, statistics = self._kept
            average = None if run.state.average is None else weights
            run.change_state(weights=weights, statistics=statistics, average=average)


class MetricsFile(Callback):
    """Writes each epoch's figures to a file as a line of JSON, for other programs to follow.

    A run that goes on from a checkpoint goes on with its file: lines of epochs that are gone
    through again are dropped.

    Parameters
    ----------
    path : str or Path
        The file; written anew by a run that begins. What is not finite is null.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_start(self, run: Run) -> None:
        """Write the epochs that the run has behind it."""
        if not is_first_process():
            return
        rows = zip(*run.history.values(), strict=True)
        lines = [dict(zip(run.history, row, strict=True)) for row in rows]
        try:
            self.path.write_text("".join(map(_line, lines)), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"MetricsFile expected a file that can be written to, got {self.path}: "
                f"{error.strerror or error}. Choose another."
            ) from error

    def on_epoch(self, run: Run, record: Record) -> None:
        """Add a line; where that cannot be written, say so and let training go on."""
        if not is_first_process():
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(record))
        except OSError as error:
            warnings.warn(
                f"Figures of epochs are not written to {self.path}: {error.strerror or error}. "
                "Training goes on.",
                stacklevel=2,
            )


def _line(record: Record) -> str:
    finite = {name: value if math.isfinite(value) else None for name, value in record.items()}
    return json.dumps(finite) + "\n"


class StopAtMinimum(Callback):
    """Stop when the gradient's norm is down to rounding: for full-batch methods that converge."""

    def on_epoch(self, run: Run, record: Record) -> bool:
        """Compare the norm with 30 ε of the precision."""
        return record["gradient_norm"] <= 30 * float(np.finfo(run.dtype).eps)


class ReduceOnPlateau(Callback):
    """Cut the learning rate when a figure has not improved for some epochs.

    Parameters
    ----------
    factor : float
        What the rate is multiplied by.
    patience : int
        Epochs without improvement before a cut.
    monitor : str, optional
        The figure to watch; the validation loss where there is one, else the loss, if None.
    min_delta : float
        What counts as improvement.
    """

    def __init__(
        self,
        factor: float = 0.5,
        patience: int = 5,
        monitor: str | None = None,
        min_delta: float = 1e-4,
    ) -> None:
        self.factor, self.patience = factor, patience
        self.monitor, self.min_delta = monitor, min_delta
        self.best: float | None = None
        self.waited = 0

    def memory(self) -> tuple[dict[str, Any], Any]:
        """Return the best figure and how long ago it was."""
        return {"best": self.best, "waited": self.waited}, {}

    def remember(self, run: Run, values: dict[str, Any], arrays: Callable[[Any], Any]) -> None:
        """Take them back."""
        self.best, self.waited = values["best"], values["waited"]

    def on_epoch(self, run: Run, record: Record) -> None:
        """Cut the rate when patience is over."""
        monitor = self.monitor or ("val_loss" if "val_loss" in record else "loss")
        value = _watched(record, monitor)
        if _improves(monitor, value, self.best, self.min_delta):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            scale = run.dtype.type(float(run.state.rate_scale) * self.factor)
            run.change_state(rate_scale=scale)
            self.waited = 0
