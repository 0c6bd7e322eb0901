"""Initial weights by NumPy alone: what `lamina.functions.initializers` draws by the same seed.

Peers start where Lamina starts, and their processes need not import it.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod, sqrt

import numpy as np

from benchmarks.task import CLASSES, Shape, Weights


def he(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Return normal numbers of variance ``2 / fan_in``."""
    deviation = sqrt(2 / prod(shape[:-1]))
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)


def glorot(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Return uniform numbers of variance ``2 / (fan_in + fan_out)``."""
    bound = sqrt(3) * sqrt(2 / sum(shape))
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def orthogonal(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return an orthogonal matrix (size, size)."""
    Q, R = np.linalg.qr(rng.standard_normal((size, size)))
    return (Q * np.sign(np.diag(R))).astype(np.float32)


def dense_stack(rng: np.random.Generator, features: int, hidden: tuple[int, ...]) -> Weights:
    """Return relu layers by `he`, and the layer of scores by `glorot`; biases zero."""
    shapes = list(pairwise((features, *hidden, CLASSES)))
    draws = [he] * len(hidden) + [glorot]
    return [
        (draw(rng, shape), np.zeros(shape[1], np.float32))
        for draw, shape in zip(draws, shapes, strict=True)
    ]
