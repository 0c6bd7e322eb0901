"""Units left out: columns of one matrix, and with them the rows of the next.

Let A (n, c) be what reaches a layer, one column for each unit (a convolution has a row for each
place). Of the units a set S is kept, and those left out are told by the kept: ``A ≈ A_S P`` with
``P = (A_Sᵀ A_S)⁻¹ A_Sᵀ A``. The layer after takes ``P W`` for W, so that both matrices are smaller
and the next layer's output changes by what P cannot tell. S is found by a Cholesky factorisation
of ``Aᵀ A`` with pivots, each column weighed by the rows of W that it meets: the unit that is
least told by those before is next. What is zero, or always the same, comes last and costs nothing
to leave out.

Sources: He, Zhang and Sun 2017, Channel Pruning for Accelerating Very Deep Neural Networks,
equation 1 (leaving out, then least squares); Higham 2002, Accuracy and Stability of Numerical
Algorithms, section 10.3 (pivoting).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.inspection.budgets import Counts, Steps, shared_out
from lamina.inspection.low_rank import is_product
from lamina.inspection.surgery import numbers, reached
from lamina.layers.composition import Parallel, Residual
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer
from lamina.layers.pointwise import Activation, Dropout, Flatten, SpatialDropout
from lamina.layers.pooling import AveragePool1D, AveragePool2D, MaxPool1D, MaxPool2D
from lamina.layers.sequential import Sequential
from lamina.models.folding import Bound, named, parts_of

if TYPE_CHECKING:
    from jaxtyping import Float

BETWEEN = (Dropout, SpatialDropout, Flatten, MaxPool1D, MaxPool2D, AveragePool1D, AveragePool2D)
"""Layers that leave channels what they are."""

RIDGE = 1e-6
"""On the diagonal of ``A_Sᵀ A_S``, beside its mean: units that tell the same are no trouble."""


class Units(NamedTuple):
    """The units of a layer as the next one meets them.

    Parameters
    ----------
    order : array of shape (c,), int
        Units, from the first to keep to the first to leave out.
    steps : Steps
        What each is worth.
    moments : array of shape (c, c), or None
        ``Aᵀ A``, of A less its mean where the next layer's bias can take that. None where what is
        left out says nothing.
    mean : array of shape (c,)
        That mean, or zero.
    """

    order: np.ndarray
    steps: Steps
    moments: Float[np.ndarray, "c c"] | None
    mean: Float[np.ndarray, " c"]

    def told_by(self, S: np.ndarray) -> Float[np.ndarray, "s c"]:
        """Return P."""
        if self.moments is None:
            return np.eye(len(self.order))[S]
        G = self.moments[np.ix_(S, S)]
        ridge = RIDGE * max(np.trace(G) / len(S), 1e-300) * np.eye(len(S))
        return np.linalg.solve(G + ridge, self.moments[S])


def fewer_units(bound: Bound, X: Any, most: float, whole: int) -> Bound:
    """Return a network of at most ``most`` numbers, with fewer units; see `low_rank`."""
    inputs = {path: A for path, _, A in reached(bound, X)}
    found: dict[str, Units] = {}
    for before, after, path, next_path in _neighbours(bound):
        found[path] = units(before, after, inputs[next_path])

    def at(counts: Counts) -> Bound:
        return _kept(bound, found, counts)

    layers = {path: of.steps for path, of in found.items()}
    return at(shared_out(layers, lambda counts: numbers(at(counts)), most, whole))


def without_dead_units(bound: Bound) -> Bound:
    """Return the same function without units that say nothing: those whose rows after are zero.

    A unit whose column before is zero is always σ(b), and says nothing where that is 0.
    """
    found, counts = {}, {}
    for before, after, path, _ in _neighbours(bound):
        W, next_W = before.weights["W"], _by_unit(after, before.weights["W"].shape[-1])
        silent = ~W.reshape(-1, W.shape[-1]).any(axis=0)
        silent &= np.broadcast_to(before.weights.get("b", 0) == 0, silent.shape)
        silent &= before.layer.activation in ("linear", "relu", "tanh", "gelu")  # type: ignore
        alive = next_W.any(axis=(0, 2)) & ~silent
        if not alive.all() and alive.any():
            order = np.argsort(~alive, kind="stable")
            counts[path] = int(alive.sum())
            found[path] = Units(order, Steps(np.ones(1), 1), None, np.zeros(len(alive)))
    return _kept(bound, found, counts) if found else bound


def _neighbours(bound: Bound, path: str = "") -> Iterator[tuple[Bound, Bound, str, str]]:
    """Yield layers whose units only one layer after them meets, that layer, and their paths."""
    network: Any = bound.layer
    if not isinstance(network, Sequential | Residual | Parallel):
        return
    named_parts = [
        (f"{path}/{name}" if path else name, part)
        for (name, _), part in zip(network.named(), parts_of(bound), strict=True)
    ]
    for own, part in named_parts:
        yield from _neighbours(part, own)
    if not isinstance(network, Sequential):
        return
    last: tuple[str, Bound] | None = None
    for own, part in named_parts:
        if is_product(part.layer):
            if last is not None:
                yield last[1], part, last[0], own
            last = None if part.layer.activation == "softmax" else (own, part)  # type: ignore
        elif not _between(part.layer):
            last = None


def _between(layer: Layer) -> bool:
    if isinstance(layer, Activation):
        return layer.function != "softmax"
    return isinstance(layer, BETWEEN)


def _by_unit(after: Bound, c: int) -> Float[np.ndarray, "p c k"]:
    """Return the next layer's W by place, unit and output: a flattened image has many places."""
    W = after.weights["W"]
    return W.reshape(-1, c, W.shape[-1])


def units(before: Bound, after: Bound, A: Any) -> Units:
    """Return the units of a layer, in the order of what they tell.

    Parameters
    ----------
    before, after : Bound
        The layer, and the next one with a matrix.
    A : array of shape (n, ..., c) or (n, places · c)
        What reaches the next.
    """
    W = before.weights["W"]
    c = W.shape[-1]
    rows = np.asarray(A).reshape(-1, c)
    mean = np.zeros(c)
    if isinstance(after.layer, Dense):  # a convolution sees zeros beyond the edge, not the mean
        mean = rows.mean(axis=0, dtype=np.float64)
        rows = rows - mean.astype(rows.dtype)
    moments = (rows.T @ rows).astype(np.float64)
    met = np.sqrt(np.square(_by_unit(after, c)).sum(axis=(0, 2), dtype=np.float64))
    order, left = pivoted(met[:, None] * moments * met)
    gains = -np.diff(left, append=0.0) / max(left[0], 1e-300)
    cost = W.size // c + 1 + after.weights["W"].size // c
    steps = Steps(np.minimum.accumulate(np.maximum(gains, 0)), cost)
    return Units(order, steps, moments, mean)


def pivoted(G: Float[np.ndarray, "c c"]) -> tuple[np.ndarray, Float[np.ndarray, " c"]]:
    """Return the order of pivots of a Gramian, and the trace left before each."""
    c = len(G)
    factor = np.zeros((c, c))
    diagonal, left = np.diag(G).copy(), np.empty(c)
    order = np.arange(c)
    for i in range(c):
        j = i + int(np.argmax(diagonal[order[i:]]))
        order[[i, j]] = order[[j, i]]
        left[i] = diagonal[order[i:]].sum()
        pivot = order[i]
        if diagonal[pivot] <= 1e-12 * left[0]:
            left[i:] = 0.0
            break
        rest = order[i:]
        column = (G[rest, pivot] - factor[rest, :i] @ factor[pivot, :i]) / np.sqrt(diagonal[pivot])
        factor[rest, i] = column
        diagonal[rest] = np.maximum(diagonal[rest] - column**2, 0)
    return order, left


def _kept(bound: Bound, found: dict[str, Units], counts: Counts) -> Bound:
    """Return the network with so many units of each layer."""
    changed: dict[str, Bound] = {}
    for before, after, path, next_path in _neighbours(bound):
        if path not in found or counts[path] >= len(found[path].order):
            continue
        of = found[path]
        S = np.sort(of.order[: counts[path]])
        changed[path] = _narrowed(changed.get(path, before), S)
        changed[next_path] = _told(after, changed.get(next_path, after), of, S)
    return _replaced(bound, changed, "")


def _narrowed(part: Bound, S: np.ndarray) -> Bound:
    layer: Any = part.layer
    size = {"units" if isinstance(layer, Dense) else "filters": len(S)}
    kept = {name: np.ascontiguousarray(array[..., S]) for name, array in part.weights.items()}
    return Bound(replace(layer, **size), kept, part.statistics)


def _told(after: Bound, present: Bound, of: Units, S: np.ndarray) -> Bound:
    """Return the layer after one whose units are S: ``P W`` for W, what is constant in b."""
    layer: Any = present.layer
    W = _by_unit(after, len(of.order)).astype(np.float64)
    P = of.told_by(S)
    told = np.einsum("sc,pck->psk", P, W)
    constant = (of.mean - of.mean[S] @ P) @ W.sum(axis=0)
    shape = after.weights["W"].shape
    middle = (len(told) * len(S),) if isinstance(layer, Dense) else (*shape[:-2], len(S))
    dtype = after.weights["W"].dtype
    weights = present.weights | {"W": told.reshape(*middle, shape[-1]).astype(dtype)}
    if constant.any():
        layer = replace(layer, bias=True)
        weights["b"] = (weights.get("b", 0) + constant).astype(dtype)
    return Bound(layer, weights, present.statistics)


def _replaced(bound: Bound, changed: dict[str, Bound], path: str) -> Bound:
    network: Any = bound.layer
    if path in changed:
        return changed[path]
    if not isinstance(network, Sequential | Residual | Parallel):
        return bound
    parts = [
        _replaced(part, changed, f"{path}/{name}" if path else name)
        for (name, _), part in zip(network.named(), parts_of(bound), strict=True)
    ]
    layers = [part.layer for part in parts]
    if isinstance(network, Sequential):
        return named(Sequential(layers), parts)
    if isinstance(network, Parallel):
        return named(replace(network, branches=layers), parts)
    return named(Residual(layers[0], network.shortcut and layers[1]), parts)
