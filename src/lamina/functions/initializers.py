"""Initial weights: how large random numbers must be for a signal to survive a deep stack.

A unit sums ``fan_in`` products, so its variance is ``fan_in · Var(W) · E[x²]``; going back, a
gradient's is ``fan_out · Var(W)``. Each scheme keeps one of these (or a mean of both) at 1:

========  ========================  ===========================================
scheme    Var(W)                    source
========  ========================  ===========================================
lecun     1 / fan_in                LeCun et al., Efficient BackProp, 1998
glorot    2 / (fan_in + fan_out)    Glorot and Bengio 2010, equation 12 and 16
he        2 / fan_in                He et al. 2015, equation 10 (relu halves E[x²])
========  ========================  ===========================================

Everything here is NumPy, so that making a model compiles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lamina.errors import check_choice

Shape = tuple[int, ...]
Initializer = Callable[[np.random.Generator, Shape], np.ndarray]

NORMAL_SCALE = 0.01  # standard deviation of the plain "normal" scheme


def fans(shape: Shape) -> tuple[int, int]:
    """Return ``(fan_in, fan_out)`` of a weight array.

    A matrix (m, k) has fans m and k. Filters HWIO (h, w, i, o) meet ``h·w`` positions each:
    ``(h·w·i, h·w·o)``.

    Examples
    --------
    >>> fans((784, 10)), fans((3, 3, 16, 32))
    ((784, 10), (144, 288))
    """
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _variance(scheme: str, shape: Shape) -> float:
    fan_in, fan_out = fans(shape)
    return {"lecun": 1 / fan_in, "glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in}[scheme]


def _scaled(scheme: str, distribution: str) -> Initializer:
    def draw(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        deviation = math.sqrt(_variance(scheme, shape))
        if distribution == "uniform":
            bound = math.sqrt(3) * deviation  # Var(U(-a, a)) = a²/3
            return rng.uniform(-bound, bound, shape).astype(np.float32)
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)

    return draw


def orthogonal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Return a matrix with orthonormal columns or rows (Saxe et al. 2014): it keeps norms exactly.

    Filters are made orthogonal as their patch matrix (h·w·i, o).
    """
    rows, columns = math.prod(shape[:-1]), shape[-1]
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    Q, R = np.linalg.qr(tall)
    Q *= np.sign(np.diag(R))  # else QR's sign convention would bias the draw
    return (Q if rows >= columns else Q.T).reshape(shape).astype(np.float32)


INITIALIZERS: dict[str, Initializer] = {
    "glorot": _scaled("glorot", "uniform"),
    "glorot_uniform": _scaled("glorot", "uniform"),
    "glorot_normal": _scaled("glorot", "normal"),
    "he": _scaled("he", "normal"),
    "he_normal": _scaled("he", "normal"),
    "he_uniform": _scaled("he", "uniform"),
    "lecun": _scaled("lecun", "normal"),
    "lecun_normal": _scaled("lecun", "normal"),
    "lecun_uniform": _scaled("lecun", "uniform"),
    "orthogonal": orthogonal,
    "normal": lambda rng, shape: rng.standard_normal(shape, dtype=np.float32) * NORMAL_SCALE,
    "zeros": lambda rng, shape: np.zeros(shape, np.float32),
}
for _scheme in ("", "_uniform", "_normal"):
    INITIALIZERS["xavier" + _scheme] = INITIALIZERS["glorot" + _scheme]

AUTO = "auto"
_HALVING = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")


def initializer(name: str, activation: str = "linear") -> Initializer:
    """Return the scheme called ``name``.

    ``"auto"`` is He's for activations that pass about half of the signal (relu and its kin), and
    Glorot's for the others.
    """
    check_choice("init", name, [AUTO, *INITIALIZERS])
    if name == AUTO:
        name = "he" if activation in _HALVING else "glorot"
    return INITIALIZERS[name]
