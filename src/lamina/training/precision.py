"""The precision of computation, for one fit or one prediction at a time."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext

import jax
import numpy as np

from lamina.errors import check_choice
from lamina.kernels import native
from lamina.layers.half_precision import HalfPrecision
from lamina.layers.layer import Layer

BFLOAT16 = "bfloat16"
PRECISIONS: dict[str, type[np.floating]] = {
    "float32": np.float32,
    "float64": np.float64,
    BFLOAT16: np.float32,
}
"""The names, and the dtype that weights and data are kept in."""


def dtype_of(precision: str) -> type[np.floating]:
    """Return the NumPy dtype in which arrays are kept where this is computed in."""
    return PRECISIONS[check_choice("precision", precision, PRECISIONS)]


def computing_in(precision: str) -> AbstractContextManager:
    """Return a context in which arrays of this precision keep it; JAX's own is float32."""
    if dtype_of(precision) is np.float32:
        return nullcontext()
    return jax.enable_x64(True)


def has_bfloat16() -> bool:
    """Tell whether products in bfloat16 are worth it here: on accelerators, and CPUs with AMX.

    A CPU that has no matrix unit for bfloat16 that Lamina's kernels use takes longer for them.
    """
    return jax.default_backend() != "cpu" or native.is_active_in_half()


def in_precision(network: Layer, precision: str) -> Layer:
    """Return a network as it is computed: `HalfPrecision` where that is asked for and helps."""
    if precision == BFLOAT16 and has_bfloat16():
        return HalfPrecision(network)
    return network


def warn_if_not_had(precision: str) -> None:
    """Warn where bfloat16 is asked for and float32 is what is computed in."""
    if precision == BFLOAT16 and not has_bfloat16():
        warnings.warn(
            f'precision="bfloat16" is computed in float32 on this {jax.default_backend()}: it has '
            "no bfloat16 matrix unit that Lamina uses (`lamina --version` says why). "
            "Models stay the same on any device.",
            stacklevel=4,
        )
