"""Iterations of an alternating solver: counted, recorded, drawn as a bar, stopped by Ctrl-C."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lamina.training.interrupt import interruptible
from lamina.training.progress import on_a_terminal


def iterated(
    solver: Iterator[tuple[Any, ...]], iterations: int, history: dict[str, list], verbose: int
) -> tuple[Any, ...]:
    """Return what a solver yields last of so many iterations.

    Parameters
    ----------
    solver : iterator of tuples
        Their second part is the iteration's figures by name.
    iterations : int
        How many to take.
    history : dict of list
        Where the figures go, with ``iteration`` and ``seconds``.
    verbose : int
        Whether to draw a bar on a terminal.
    """
    found: tuple[Any, ...] = ()
    with interruptible() as interruption, progress_bar(iterations, "iteration", verbose) as moved:
        for iteration in range(1, iterations + 1):
            began = time.perf_counter()
            found = next(solver)
            figures = {"iteration": iteration, **found[1]}
            figures["seconds"] = time.perf_counter() - began
            for name, value in figures.items():
                history.setdefault(name, []).append(value)
            moved(iteration, "  ".join(f"{name} {value:.5g}" for name, value in found[1].items()))
            if interruption.requested:
                warnings.warn(
                    f"Fitting was interrupted after iteration {iteration} of {iterations}; the "
                    "factors so far are kept.",
                    UserWarning,
                    stacklevel=4,
                )
                break
    return found


@contextmanager
def progress_bar(total: int, what: str, verbose: int) -> Iterator[Any]:
    """Yield a function ``(done, text)`` that moves a bar, where there is a terminal for one."""
    if not (verbose and on_a_terminal()):
        yield lambda done, text="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn(what), MofNCompleteColumn(), BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}"), TimeRemainingColumn(), console=Console(stderr=True),
    )  # fmt: skip
    task = bar.add_task("", total=total, text="")
    with bar:
        yield lambda done, text="": bar.update(task, completed=done, text=text)
