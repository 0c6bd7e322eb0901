"""Forecasts that take no training, to hold a model against; and the season they repeat.

Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice (3rd edition), section 5.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def seasonal_naive(
    past: Float[np.ndarray, "t k"], horizon: int, season: int
) -> Float[np.ndarray, "h k"]:
    """Return the last season's values, repeated: ``y_{t+h} = y_{t+h-s⌈h/s⌉}``.

    Parameters
    ----------
    past : array of shape (t, k)
        What is known, at least one season of it.
    horizon : int
        Steps to forecast.
    season : int
        s, its steps; 1 repeats the last value.
    """
    return past[len(past) - season + np.arange(horizon) % season]


def drift(past: Float[np.ndarray, "t k"], horizon: int) -> Float[np.ndarray, "h k"]:
    """Return the line through the first and last values: ``y_{t+h} = y_t + h (y_t - y_1)/(t-1)``.

    Parameters
    ----------
    past : array of shape (t, k)
        What is known, at least two steps.
    horizon : int
        Steps to forecast.
    """
    slope = (past[-1] - past[0]) / (len(past) - 1)
    return past[-1] + np.arange(1, horizon + 1)[:, None] * slope


def find_season(series: Float[np.ndarray, "t k"]) -> int:
    """Return the lag at which the steps from value to value are most alike, or 1 where none are.

    That is the highest peak of the autocorrelation of the differenced series, its mean over the
    columns. Differences know no trend; a peak is above both its neighbours, since in a smooth
    series short lags are alike without being a season. A peak below ``2/√t`` is taken for noise.

    Parameters
    ----------
    series : array of shape (t, k)
        Values at even steps.
    """
    steps = np.diff(series, axis=0)
    steps = steps - steps.mean(axis=0)
    t = len(steps)
    transformed = np.fft.rfft(steps, 2 * t, axis=0)
    products = np.fft.irfft(np.abs(transformed) ** 2, axis=0)[: t // 2 + 1]
    power = products[:1]
    alike = (products / np.where(power > 0, power, 1.0)).mean(axis=1)
    peaks = np.flatnonzero((alike[1:-1] > alike[:-2]) & (alike[1:-1] >= alike[2:])) + 1
    peaks = peaks[alike[peaks] > 2 / np.sqrt(t)]
    return int(peaks[np.argmax(alike[peaks])]) if len(peaks) else 1
