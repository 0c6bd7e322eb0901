"""A layer as two of low rank: ``X W ≈ (X W V) Vᵀ`` with the outputs' principal directions V.

The weights' own singular vectors say what a matrix could do, to any input; the outputs' say what it
does to the data. With ``Y = X W`` of mean μ, and V (k, r) the leading eigenvectors of Y's
covariance, ``Y ≈ (Y - μ) V Vᵀ + μ`` errs least of all maps of rank r, by the eigenvalues left out.
So a dense layer becomes ``W V`` (m, r) and ``Vᵀ`` (r, k); a convolution r filters ``W V`` and then
k filters of 1×1; what is constant goes into the bias.

Source: Zhang, Zou, He and Sun 2016, Accelerating Very Deep Convolutional Networks for
Classification and Detection, equations 4 to 6.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.inspection.budgets import Counts, Steps, shared_out
from lamina.inspection.surgery import numbers, reached, rewritten
from lamina.layers.convolution import Conv1D, Conv2D
from lamina.layers.dense import Dense
from lamina.layers.layer import PREDICTING, Layer
from lamina.models.folding import Bound

if TYPE_CHECKING:
    from jaxtyping import Float

MOST_OUTPUTS = 1 << 16
"""So many rows of a layer's outputs are looked at: a convolution has one for each window."""


class Principal(NamedTuple):
    """The principal directions of a layer's outputs ``Y = X W``.

    Parameters
    ----------
    mean : array of shape (k,)
        μ.
    directions : array of shape (k, k)
        V, the greatest variance first.
    shares : array of shape (k,)
        Each direction's share of the variance.
    """

    mean: Float[np.ndarray, " k"]
    directions: Float[np.ndarray, "k k"]
    shares: Float[np.ndarray, " k"]


def low_rank(bound: Bound, X: Any, most: float, whole: int) -> Bound:
    """Return a network of at most ``most`` numbers, its layers factored.

    Parameters
    ----------
    bound : Bound
        A network with its weights.
    X : array of shape (n, ...)
        Samples as they enter it.
    most : float
        The budget, in numbers.
    whole : int
        The numbers that the budget is a share of.
    """
    found = {
        path: principal(part, A) for path, part, A in reached(bound, X) if is_product(part.layer)
    }
    layers: dict[str, Steps] = {}
    for path, part, _ in reached(bound, X[:1]):
        if path in found:
            k = part.weights["W"].shape[-1]
            layers[path] = Steps(found[path].shares, part.weights["W"].size // k + k)

    def at(counts: Counts) -> Bound:
        return rewritten(
            bound,
            lambda path, part: (
                factored(part, found[path], counts[path]) if path in found else [part]
            ),
        )

    return at(shared_out(layers, lambda counts: numbers(at(counts)), most, whole))


def is_product(layer: Layer) -> bool:
    """Whether a layer is one product with a matrix (of patches), and an activation."""
    return isinstance(layer, Dense) or (isinstance(layer, Conv1D | Conv2D) and layer.groups == 1)


def principal(part: Bound, X: Any) -> Principal:
    """Return the principal directions of a layer's outputs, before its activation and bias."""
    layer: Any = part.layer
    linear = replace(layer, activation="linear", bias=False)
    Y = np.asarray(linear.apply({"W": part.weights["W"]}, {}, X, PREDICTING)[0])
    Y = Y.reshape(-1, Y.shape[-1])
    if len(Y) > MOST_OUTPUTS:
        Y = Y[np.random.default_rng(0).choice(len(Y), MOST_OUTPUTS, replace=False)]
    mean = Y.mean(axis=0, dtype=np.float64)
    Y = Y - mean.astype(Y.dtype)
    variances, V = np.linalg.eigh((Y.T @ Y).astype(np.float64))
    variances = np.maximum(variances[::-1], 0)
    return Principal(mean, V[:, ::-1], variances / max(variances.sum(), 1e-300))


def factored(part: Bound, found: Principal, rank: int) -> list[Bound]:
    """Return the two layers that a layer is at a rank; itself where they are not smaller."""
    layer: Any = part.layer
    W = part.weights["W"]
    k = W.shape[-1]
    if rank * (W.size // k + k) >= W.size:
        return [part]
    V = found.directions[:, :rank]
    constant = found.mean - found.mean @ V @ V.T
    b = part.weights.get("b", 0) + constant
    first, second = (W @ V).astype(W.dtype), V.T.astype(W.dtype)
    if isinstance(layer, Dense):
        before = replace(layer, units=rank, activation="linear", bias=False)
        after = replace(layer, bias=True)
    else:
        before = replace(layer, filters=rank, activation="linear", bias=False)
        after = replace(layer, kernel_size=1, stride=1, dilation=1, padding="valid", bias=True)
        second = second.reshape(*(1,) * layer.axes, rank, k)
    return [
        Bound(before, {"W": first}, {}),
        Bound(after, {"W": second, "b": b.astype(W.dtype)}, {}),
    ]
