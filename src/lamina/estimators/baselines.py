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
    series short lags are alike without being a season. A peak below ``3/√t`` is taken for noise.

    Parameters
    ----------
    series : array of shape (t, k)
        Values at even steps.

    Notes
    -----
    The autocorrelation has all of the series' power below, so that of a season's multiples, which
    fewer pairs of steps speak for, the first wins. Where peaks are, the power of those very steps
    stands below, since the other falls with the lag and moves them.
    """
    steps = np.diff(series, axis=0)
    steps = steps - steps.mean(axis=0)
    t = len(steps)
    lags = np.arange(t // 2 + 1)
    transformed = np.fft.rfft(steps, 2 * t, axis=0)
    products = np.fft.irfft(np.abs(transformed) ** 2, axis=0)[lags]
    power = np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps**2, axis=0)])
    ahead, behind = power[t - lags], power[t] - power[lags]
    alike = _mean_ratio(products, power[t])
    paired = _mean_ratio(products, np.sqrt(ahead * np.maximum(behind, 0)))
    peaks = np.flatnonzero((paired[1:-1] > paired[:-2]) & (paired[1:-1] >= paired[2:])) + 1
    peaks = peaks[alike[peaks] > 3 / np.sqrt(t)]
    return int(peaks[np.argmax(alike[peaks])]) if len(peaks) else 1


def _mean_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the mean over columns of ``above / below``, 0 where nothing is below."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0).mean(axis=1)
