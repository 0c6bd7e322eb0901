"""What each weight matrix is, in figures: its size, its norms, its rank, its zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MatrixFigures:
    """One weight array's figures.

    Parameters
    ----------
    path : str
        Where it is in the network: ``dense_0/W``.
    shape : tuple of int
        Its shape.
    mean, deviation : float
        Of its entries.
    frobenius : float
        ``√Σ w²``.
    spectral : float or None
        The largest singular value σ₁; None for vectors.
    stable_rank : float or None
        ``‖W‖²_F / σ₁²``: how many directions carry the weight (Rudelson and Vershynin 2007).
    zeros : float
        The share of entries that are exactly zero.
    """

    path: str
    shape: tuple[int, ...]
    mean: float
    deviation: float
    frobenius: float
    spectral: float | None
    stable_rank: float | None
    zeros: float


def matrix_figures(weights: dict[str, Any], prefix: str = "") -> Iterator[MatrixFigures]:
    """Yield the figures of every array in nested weights, in the order of the network.

    Arrays of more than two axes are taken as their patch matrix (all axes but the last, joined).

    Examples
    --------
    >>> [row.zeros for row in matrix_figures({"dense_0": {"W": np.diag([1.0, 2.0])}})]
    [0.5]
    """
    for name, value in weights.items():
        if isinstance(value, dict):
            yield from matrix_figures(value, f"{prefix}{name}/")
        else:
            yield _figures(prefix + name, np.asarray(value))


def _figures(path: str, W: np.ndarray) -> MatrixFigures:
    spectral = stable_rank = None
    with np.errstate(invalid="ignore"):  # what is not finite is shown as such
        frobenius, mean, deviation = (float(f(W)) for f in (np.linalg.norm, np.mean, np.std))
    if W.ndim >= 2:
        matrix = W.reshape(-1, W.shape[-1])
        spectral = float(np.linalg.norm(matrix, 2)) if np.isfinite(frobenius) else float("nan")
        stable_rank = (frobenius / spectral) ** 2 if spectral else 0.0
    return MatrixFigures(
        path=path,
        shape=W.shape,
        mean=mean,
        deviation=deviation,
        frobenius=frobenius,
        spectral=spectral,
        stable_rank=stable_rank,
        zeros=float(np.mean(W == 0)),
    )
