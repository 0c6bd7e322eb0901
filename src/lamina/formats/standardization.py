"""Standardised numbers, ``(x - mean) / scale``: computed in float64, kept in float32."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

_FLOAT32_MAX = np.float64(np.finfo(np.float32).max)


def mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of float64 numbers (n,); scale 1 for a constant."""
    if values.min() == values.max():  # exact, where the deviation may round to 1e-17
        return float(values[0]), 1.0
    scale = float(values.std())
    return float(values.mean()), scale if scale >= sys.float_info.min else 1.0


def standardized(values: np.ndarray, mean: Any, scale: Any) -> np.ndarray:
    """Return ``(values - mean) / scale`` as float32, infinity where too large."""
    with np.errstate(over="ignore"):
        return ((values - mean) / scale).astype(np.float32)


def fits_float32(values: np.ndarray) -> np.ndarray:
    """Return where numbers are finite and within float32's range."""
    return np.abs(values) <= _FLOAT32_MAX
