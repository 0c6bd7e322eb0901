"""The matrix products of each kind of layer, forward and backward, with their numbers.

Every layer with weights is a product of a matrix of samples with a matrix of weights, once it is
said what a row is: a sample (dense), a window of an image (convolution: the patch matrix), a step
of a sequence (recurrence), an occurrence of a code (embedding).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.functions.activations import ACTIVATIONS
from lamina.kernels.cells import CELLS
from lamina.kernels.patches import patches
from lamina.layers.convolution import Conv2D
from lamina.layers.dense import Dense
from lamina.layers.embedding import Embedding
from lamina.layers.layer import PREDICTING, Layer, Weights
from lamina.layers.recurrent import DIRECTIONS, Recurrent
from lamina.layers.sequences import Sequences, parts


@dataclass(frozen=True, eq=False)
class Product:
    """One step of the algebra: ``name = formula``, and the matrices in it.

    Parameters
    ----------
    name : str
        What it gives: ``Y``, ``dW``, ``db``, ``dX``.
    formula : str
        The right side: ``Xᵀ dY``.
    value : array
        The result, as a matrix.
    factors : dict of str to array
        The matrices on the right side, by the letters in the formula.
    """

    name: str
    formula: str
    value: np.ndarray
    factors: dict[str, np.ndarray]

    def __str__(self) -> str:
        """Return the equation."""
        return f"{self.name} = {self.formula}"


def products_of(
    layer: Layer, weights: Weights, X: Any, lengths: Any, A: Any, dA: Any
) -> Iterator[Product]:
    """Yield the products behind a layer's output and its gradients; none for other layers.

    Parameters
    ----------
    layer : Layer
        A dense, convolutional, recurrent or embedding one has some.
    weights : nested dict of arrays
        Its weights.
    X, A, dA : arrays of n rows
        Its input, its output and the gradient by that.
    lengths : array of shape (n,), or None
        The lengths of sequences.
    """
    if isinstance(layer, Dense):
        yield from _affine(layer.activation, X, weights["W"], weights.get("b"), dA)
    elif isinstance(layer, Conv2D) and layer._geometry().groups == 1:
        yield from _convolution(layer, weights, X, dA)
    elif isinstance(layer, Recurrent):
        yield from _recurrent(layer, weights, X, lengths, dA)
    elif isinstance(layer, Embedding):
        codes = np.asarray(X).astype(int).ravel()
        one_hot = np.eye(layer.vocabulary, dtype=np.float32)[codes]
        slopes = _matrix(dA)
        yield _product("A", "C W", C=one_hot, W=weights["W"])
        yield _product("dW", "Cᵀ dA", C=one_hot, dA=slopes)


def _matrix(array: Any) -> np.ndarray:
    array = np.asarray(array)
    return array.reshape(-1, array.shape[-1])


def _product(name: str, formula: str, **factors: Any) -> Product:
    """Return a product of two factors as the formula says: ``ᵀ`` transposes, ``1`` sums rows."""
    named = {letter: _matrix(array) for letter, array in factors.items()}
    value = None
    for word in formula.split():
        letter = word.removesuffix("ᵀ")
        if letter == "1":
            value = value.sum(axis=1)  # type: ignore[union-attr]
            continue
        matrix = named[letter].T if word.endswith("ᵀ") else named[letter]
        value = matrix if value is None else value @ matrix
    assert value is not None, "a formula has factors"
    return Product(name, formula, value, named)


def _affine(activation: str, X: Any, W: Any, b: Any, dA: Any, x: str = "X") -> Iterator[Product]:
    """Yield the products of ``A = σ(X W + b)``; rows may be anything."""
    rows = {x: X}
    Y = jnp.asarray(_matrix(X)) @ W
    if b is not None:
        Y = Y + b[None, :]
    dY = jax.vjp(ACTIVATIONS[activation], Y)[1](jnp.asarray(_matrix(dA)))[0]
    yield _product("Y", f"{x} W", **rows, W=W)
    yield _product("dW", f"{x}ᵀ dY", **rows, dY=dY)
    if b is not None:
        yield _product("db", "dYᵀ 1", dY=dY)
    yield _product(f"d{x}", "dY Wᵀ", dY=dY, W=W)


def _convolution(layer: Conv2D, weights: Weights, X: Any, dA: Any) -> Iterator[Product]:
    W = weights["W"]
    P = patches(X, layer._window, layer._geometry())
    yield from _affine(layer.activation, P, _matrix(W), weights.get("b"), dA, x="P")


def _recurrent(
    layer: Recurrent, weights: Weights, X: Any, lengths: Any, dA: Any
) -> Iterator[Product]:
    """Yield each direction's sums over time; a row is a step, sequence by sequence."""
    runs = {"": (weights, layer.reverse)}
    if layer.bidirectional:
        runs = {f"{name}/": (weights[name], name == DIRECTIONS[1]) for name in DIRECTIONS}
    for direction, (own, reverse) in runs.items():
        dP = _by_steps(layer, weights, direction.rstrip("/"), X, lengths, dA)
        before = _states_before(layer, own, X, lengths, reverse)
        dR = dP
        if layer.cell == "gru":  # r stands between the last block's product and the sum
            h = layer.units
            r = X @ own["W_x"][:, :h] + before @ own["W_h"][:, :h] + own["b"][None, None, :h]
            dR = dP.at[..., 2 * h :].multiply(jax.nn.sigmoid(r))
        yield _product(f"{direction}dW_x", "Xᵀ dP", X=X, dP=dP)
        yield _product(f"{direction}dW_h", "H'ᵀ dR", **{"H'": before, "dR": dR})
        yield _product(f"{direction}db", "dPᵀ 1", dP=dP)
        yield _product(f"{direction}dX", "dP W_xᵀ", dP=dP, W_x=own["W_x"])


def _by_steps(layer: Recurrent, weights: Weights, direction: str, X: Any, lengths: Any, dA: Any):
    """Return ``dP`` of one direction, (n, t, g·h): the gradient by its input products.

    A zero is added to the input product of each step, as more columns of X with an identity for
    their weights; the gradient by those columns is ``dP``.
    """
    wide = CELLS[layer.cell].gates * layer.units

    def widened(own: Weights, taken: bool) -> Weights:
        more = jnp.eye(wide) if taken else jnp.zeros((wide, wide))
        return {**own, "W_x": jnp.concatenate([own["W_x"], more.astype(own["W_x"].dtype)])}

    if layer.bidirectional:
        weights = {name: widened(own, name == direction) for name, own in weights.items()}
    else:
        weights = widened(weights, True)

    def output(added):
        both = jnp.concatenate([X, added], axis=-1)
        given: Any = both if lengths is None else Sequences(both, lengths)
        return parts(layer.apply(weights, {}, given, PREDICTING)[0])[0]

    added = jnp.zeros((*X.shape[:2], wide), X.dtype)
    return jax.vjp(output, added)[1](dA)[0]


def _states_before(layer: Recurrent, weights: Weights, X: Any, lengths: Any, reverse: bool):
    """Return the state h before each step, (n, t, h)."""
    one_way = replace(layer, output="all", bidirectional=False, reverse=reverse)
    given: Any = X if lengths is None else Sequences(X, lengths)
    states = parts(one_way.apply(weights, {}, given, PREDICTING)[0])[0]
    n, t, h = states.shape
    first = jnp.zeros(h, states.dtype) if "h0" not in weights else jnp.asarray(weights["h0"])
    first = jnp.broadcast_to(first[None, None], (n, 1, h))
    if not reverse:
        return jnp.concatenate([first, states[:, :-1]], axis=1)
    after = jnp.concatenate([states[:, 1:], first], axis=1)
    if lengths is None:
        return after
    last = jnp.arange(t)[None, :] == jnp.asarray(lengths)[:, None] - 1
    return jnp.where(last[:, :, None], first, after)
