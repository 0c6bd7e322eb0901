"""Twins of the kernels in C++, for CPUs; their source is in the folder ``native/``.

A kernel asks `is_faster` and calls its twin, which has the same equations, arguments and results.
Where there is none (no compiler at installation, another processor or platform, float64) or where
it was measured to be slower, the kernel's own implementation runs, and nobody above the kernels can
tell but by the time.
"""

from lamina.kernels.native.activation import relu_pullback
from lamina.kernels.native.choices import explanation, is_faster
from lamina.kernels.native.convolution import convolution
from lamina.kernels.native.convolution import supports as supports_convolution
from lamina.kernels.native.dense import dense
from lamina.kernels.native.descent import descend
from lamina.kernels.native.embedding import embedding
from lamina.kernels.native.global_average import global_average_pool
from lamina.kernels.native.least_squares import solve_diagonal
from lamina.kernels.native.library import (
    explanation_of_half,
    instruction_set,
    is_active,
    is_active_in_half,
)
from lamina.kernels.native.normalization import batch_norm
from lamina.kernels.native.recurrence import sweep
from lamina.kernels.native.top_n import top_n

__all__ = [
    "batch_norm",
    "convolution",
    "dense",
    "descend",
    "embedding",
    "explanation",
    "explanation_of_half",
    "global_average_pool",
    "instruction_set",
    "is_active",
    "is_active_in_half",
    "is_faster",
    "relu_pullback",
    "solve_diagonal",
    "supports_convolution",
    "sweep",
    "top_n",
]
