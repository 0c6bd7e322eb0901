"""Standardised numbers, ``(x - mean) / scale``: computed in float64, kept in float32."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from lamina.formats.encoder_checks import LIST, entry, finite, wrong_entry

_FLOAT32_MAX = np.float64(np.finfo(np.float32).max)


def mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of float64 numbers (n,); scale 1 for a constant."""
    if values.min() == values.max():  # exact, where the deviation may round to 1e-17
        return float(values[0]), 1.0
    scale = float(values.std())
    return float(values.mean()), scale if scale >= sys.float_info.min else 1.0


def learned(
    columns: Iterable[np.ndarray], standardize: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and scale of each column (n,), 0 and 1 where they are taken as they are."""
    pairs = [
        mean_and_scale(column.astype(np.float64)) if standardize else (0.0, 1.0)
        for column in columns
    ]
    mean, scale = zip(*pairs, strict=True)
    return mean, scale


def entries_of(document: object) -> tuple[bool, tuple[float, ...], tuple[float, ...]]:
    """Return standardize, mean and scale of an encoder's document, every entry checked."""
    mean = tuple(finite(v, "mean") for v in entry(document, "mean", LIST))
    scale = tuple(finite(v, "scale", above=0) for v in entry(document, "scale", LIST))
    if len(mean) != len(scale):
        raise wrong_entry("scale", f"{len(mean)} numbers, as in 'mean'", len(scale))
    return entry(document, "standardize", bool), mean, scale


def standardized(values: np.ndarray, mean: Any, scale: Any) -> np.ndarray:
    """Return ``(values - mean) / scale`` as float32, infinity where too large."""
    with np.errstate(over="ignore"):
        return ((values - mean) / scale).astype(np.float32)


def fits_float32(values: np.ndarray) -> np.ndarray:
    """Return where numbers are finite and within float32's range."""
    return np.abs(values) <= _FLOAT32_MAX
