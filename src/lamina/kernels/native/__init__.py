"""Twins of the kernels in C++, for CPUs; their source is in the folder ``native/``.

A kernel asks `is_active` and calls its twin, which has the same equations, arguments and results.
Where there is none (no compiler at installation, another processor or platform, float64) the
kernel's own implementation runs, and nobody above the kernels can tell but by the time.
"""

from lamina.kernels.native.convolution import convolution
from lamina.kernels.native.convolution import supports as supports_convolution
from lamina.kernels.native.dense import dense
from lamina.kernels.native.least_squares import solve_diagonal
from lamina.kernels.native.library import explanation, is_active
from lamina.kernels.native.recurrence import sweep
from lamina.kernels.native.top_n import top_n

__all__ = [
    "convolution",
    "dense",
    "explanation",
    "is_active",
    "solve_diagonal",
    "supports_convolution",
    "sweep",
    "top_n",
]
