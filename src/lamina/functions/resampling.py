"""Resampling as a matrix: the cells of a line seen through another number of cells.

An image of another size is ``A = R X Cᵀ``, R for its rows and C for its columns. Each row of such
a matrix weighs the cells around the centre of a new cell by a filter, as wide as the new cells
where they are the larger ones, so that nothing between them is lost. Pillow computes the same.

Source: Keys 1981, Cubic Convolution Interpolation for Digital Image Processing, equation 4, with
a = -1/2.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

REACH = {"bilinear": 1.0, "bicubic": 2.0}
"""How many cells on each side a filter weighs."""


def _filter(kind: str, distance: np.ndarray) -> np.ndarray:
    x = np.abs(distance)
    if kind == "bilinear":
        return np.maximum(1 - x, 0)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


@lru_cache(64)
def resampling_matrix(
    cells: int, wanted: int, kind: str = "bilinear", start: float = 0.0, stop: float | None = None
) -> np.ndarray:
    """Return R (wanted, cells) float32 with ``R x`` the line x in ``wanted`` cells.

    Parameters
    ----------
    cells, wanted : int
        Cells of the line, and of the new one.
    kind : {"bilinear", "bicubic"}
        The filter.
    start, stop : float
        Which part of the line is seen, in cells; all of it where not given.

    Notes
    -----
    Rows sum to 1. The array is kept and shared: do not write to it.
    """
    stop = float(cells) if stop is None else stop
    scale = (stop - start) / wanted
    width = max(scale, 1.0)
    centres = start + (np.arange(wanted) + 0.5) * scale
    R = np.zeros((wanted, cells))
    for row, centre in enumerate(centres):
        first = max(int(centre - REACH[kind] * width + 0.5), 0)
        last = min(int(centre + REACH[kind] * width + 0.5), cells)
        R[row, first:last] = _filter(kind, (np.arange(first, last) + 0.5 - centre) / width)
    R = (R / R.sum(axis=1, keepdims=True)).astype(np.float32)
    R.setflags(write=False)
    return R
