"""The progress bar: drawn on a terminal, silent anywhere else."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from lamina.placement import is_first_process
from lamina.training.callbacks import Callback, Record

if TYPE_CHECKING:
    from lamina.training.loop import Run
    from lamina.training.state import Totals

SECONDS_BETWEEN_UPDATES = 0.1


def on_a_terminal() -> bool:
    """Whether standard error is a terminal that a bar can be drawn on; only one process does."""
    return sys.stderr.isatty() and is_first_process()


class ProgressBar(Callback):
    """Epoch, loss, the metric, samples a second and time left, on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._figures = ""
        self._drawn = 0.0
        self._done, self._first = 0, 0
        self._started: float | None = None

    def on_start(self, run: Run) -> None:
        """Draw the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        steps = run.epochs * run.source.steps_per_epoch
        self._task = self._bar.add_task(
            "", total=steps, epoch=f"1/{run.epochs}", figures="compiling…", rate=""
        )
        self._done, self._started = 0, None
        self._bar.start()

    def on_block(self, run: Run, totals: Totals) -> None:
        """Move on, at most ten times a second."""
        now = time.perf_counter()
        if self._started is None:  # the first block was compiled, and does not count
            self._started, self._first = now, int(totals.steps)
        if now - self._drawn < SECONDS_BETWEEN_UPDATES:
            return
        self._drawn = now
        record = run.figures(totals)
        steps = self._done + int(totals.steps)
        seen, passed = (steps - self._first) * run.source.batch_size, now - self._started
        self._bar.update(
            self._task,
            completed=steps,
            epoch=f"{run.epoch + 1}/{run.epochs}",
            figures=self._figures or _shown(record),
            rate=f"{seen / passed:,.0f} samples/s" if passed > 0 else "",
        )

    def on_epoch(self, run: Run, record: Record) -> None:
        """Show the epoch's figures."""
        self._done += run.source.steps_per_epoch
        self._figures = _shown(record)
        self._bar.update(self._task, completed=self._done, figures=self._figures)

    def on_end(self, run: Run) -> None:
        """Leave the last line on the screen."""
        self._bar.stop()


def _shown(record: Record) -> str:
    names = [n for n in record if n not in ("epoch", "learning_rate", "gradient_norm", "seconds")]
    return "  ".join(f"{name} {record[name]:.4g}" for name in names)
