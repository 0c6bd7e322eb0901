"""Twins of the kernels in C++, for CPUs: found, loaded and called here, written in ``native/``.

A kernel asks `prefers` whether its twin is the faster one for what it was given, and calls it with
`call`. Where there is no twin (no compiler at installation, another processor, another platform,
float64) the kernel's own implementation runs, and nobody above the kernels can tell but by the time.
"""

from lamina.kernels.native.library import explanation, is_active

__all__ = ["explanation", "is_active"]
