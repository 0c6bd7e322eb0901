"""The timing core: runs taken in turns, A B C A B C …, and ratios of their medians.

What slows the machine for a while then slows every run of that round, and the ratio keeps.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

REST = 0.05
"""Seconds between two runs: thread pools spin for a while after their last work."""


def apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what ``function`` returns, called in a fresh process that ends after it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as process:
        return process.submit(function, *args, **kwargs).result()


def seconds(run: Callable[[], Any]) -> Callable[[], float]:
    """Return the measure "wall time of ``run``"."""

    def measure() -> float:
        gc.collect()
        time.sleep(REST)
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return measure


def interleaved(
    measures: dict[str, Callable[[], float]], rounds: int, warm_ups: int = 0
) -> dict[str, list[float]]:
    """Return the measurements of each by name, one a round.

    Parameters
    ----------
    measures : dict from str to callable
        What to measure, in the order of a round.
    rounds : int
        Rounds that count.
    warm_ups : int
        Rounds before them that do not.
    """
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(-warm_ups, rounds):
        for name, measure in measures.items():
            value = measure()
            if number >= 0:
                found[name].append(value)
    return found


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians, and the least and the greatest ratio within one round."""

    value: float
    least: float
    most: float

    @classmethod
    def of(cls, over: Sequence[float], under: Sequence[float]) -> Ratio:
        """Return ``over`` / ``under``, measured in the same rounds."""
        pairs = [a / b for a, b in zip(over, under, strict=True)]
        return cls(median(over) / median(under), min(pairs), max(pairs))

    @property
    def cells(self) -> tuple[str, str]:
        """Return the ratio and its spread as cells of a table."""
        return f"**{self.value:.2f}**", f"{self.least:.2f} – {self.most:.2f}"
