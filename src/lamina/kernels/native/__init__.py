"""Twins of the kernels in C++, for CPUs; their source is in the folder ``native/``.

A kernel asks `is_active` and calls its twin, which has the same equations, arguments and results.
Where there is none (no compiler at installation, another processor or platform, float64) the
kernel's own implementation runs, and nobody above the kernels can tell but by the time.
"""

from lamina.kernels.native.convolution import convolution
from lamina.kernels.native.convolution import supports as supports_convolution
from lamina.kernels.native.dense import dense
from lamina.kernels.native.embedding import embedding
from lamina.kernels.native.library import explanation, is_active
from lamina.kernels.native.normalization import batch_norm
from lamina.kernels.native.recurrence import sweep

__all__ = [
    "batch_norm",
    "convolution",
    "dense",
    "embedding",
    "explanation",
    "is_active",
    "supports_convolution",
    "sweep",
]
