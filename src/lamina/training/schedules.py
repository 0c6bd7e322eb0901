"""Learning-rate schedules: the factor by which the base rate is multiplied, along a run.

Each maps progress, 0 at the first step and 1 at the last, to a factor. They are NumPy: the rates of
a block's steps travel to the program as numbers, so that no schedule compiles anything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lamina.errors import check_choice

Schedule = Callable[[np.ndarray], np.ndarray]


def constant(progress: np.ndarray) -> np.ndarray:
    """Return 1 throughout."""
    return np.ones_like(progress)


def cosine(progress: np.ndarray) -> np.ndarray:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter 2017, equation 5)."""
    return 0.5 * (1 + np.cos(np.pi * progress))


def one_cycle(progress: np.ndarray) -> np.ndarray:
    """Rise from 1/25 to 1 in the first 30 %, then fall to 0, both along cosines (Smith 2018)."""
    peak, start = 0.3, 1 / 25
    rising = start + (1 - start) * 0.5 * (1 - np.cos(np.pi * progress / peak))
    falling = 0.5 * (1 + np.cos(np.pi * (progress - peak) / (1 - peak)))
    return np.where(progress < peak, rising, falling)


def exponential(progress: np.ndarray) -> np.ndarray:
    """Fall from 1 to 1/100 at an even ratio per step."""
    return 0.01**progress


PLATEAU = "plateau"
"""Constant, and cut by the `ReduceOnPlateau` callback whenever the loss stops falling."""

SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "exponential": exponential,
    PLATEAU: constant,
}


def schedule(name: str | Schedule) -> Schedule:
    """Return the schedule called ``name``; a function of progress is returned as it is."""
    return name if callable(name) else SCHEDULES[check_choice("schedule", name, SCHEDULES)]
