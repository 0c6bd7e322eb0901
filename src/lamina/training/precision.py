"""The precision of computation, for one fit or one prediction at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np

from lamina.errors import check_choice

PRECISIONS: dict[str, type[np.floating]] = {"float32": np.float32, "float64": np.float64}


def dtype_of(precision: str) -> type[np.floating]:
    """Return the NumPy dtype that a precision's name stands for."""
    return PRECISIONS[check_choice("precision", precision, PRECISIONS)]


def computing_in(precision: str) -> AbstractContextManager:
    """Return a context in which arrays of this precision keep it; JAX's own is float32."""
    if dtype_of(precision) is np.float32:
        return nullcontext()
    import jax

    return jax.enable_x64(True)
