"""Backpropagation laid open: every matrix of the chain rule, from the loss back to the input.

With ``A_l = f_l(X_l; W_l)`` and ``X_{l+1} = A_l``, the chain rule walks back from ``dA_L``, the
gradient by the scores: each layer takes ``dA_l = ∂loss/∂A_l`` and gives its weights' gradients and
``dX_l = dA_{l-1}``. Those maps are the layers' own backward rules, the ones that training uses; the
matrices they are made of stand in `lamina.inspection.products`.

How it is done: a copy of the network in which each layer tells what it was given and adds a zero
``ε_l`` to what it returns. ``∂loss/∂ε_l`` is then ``dA_l``, however layers are nested.

Source: Rumelhart, Hinton and Williams 1986; Goodfellow, Bengio and Courville, Deep Learning,
algorithm 6.4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lamina.inspection.products import Product, products_of
from lamina.layers.composite import Composite
from lamina.layers.layer import Context, Layer, Shape, Weights, in_order
from lamina.layers.sequences import Sequences, parts

if TYPE_CHECKING:
    from jaxtyping import Array, Float


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """One layer's part in the backward pass.

    Parameters
    ----------
    path : str
        Its place in the network: ``dense_0``, ``residual_0/body/conv_1``.
    layer : Layer
        Itself.
    X, A : array (n, ...), or `Sequences`
        What it was given and what it returned.
    dA, dX : like A, like X
        The loss's gradients by them; dX is None where X holds codes.
    weights, gradients : nested dict of arrays
        Its weights, and the loss's gradients by them.
    products : tuple of Product
        The matrix products behind ``gradients`` and ``dX``; see `lamina.inspection.products`.
    """

    path: str
    layer: Layer
    X: Any
    A: Any
    dA: Any
    dX: Any
    weights: Weights
    gradients: Weights
    products: tuple[Product, ...]

    @property
    def gain(self) -> float | None:
        """``‖dX‖ / ‖dA‖``: what the layer does to the signal on its way back."""
        if self.dX is None:
            return None
        return norm(self.dX) / max(norm(self.dA), 1e-300)

    def __repr__(self) -> str:
        """Return the path and, on a line each, the products behind it: what shape, how large."""
        lines = []
        for product in self.products:
            shape = "×".join(map(str, product.value.shape))
            lines.append(f"{product}  ({shape}, norm {norm(product.value):.3g})")
        return "\n    ".join([self.path, *lines])


@dataclass(frozen=True, eq=False)
class Trace:
    """A whole backward pass.

    Parameters
    ----------
    loss : float
        The mean loss over the samples, without a penalty.
    scores, dscores : array of shape (n, K)
        The network's output, and the loss's gradient by it.
    layers : tuple of LayerTrace
        From the last layer to the first.
    gradients : nested dict of arrays
        By all weights, as training takes them.
    """

    loss: float
    scores: np.ndarray
    dscores: np.ndarray
    layers: tuple[LayerTrace, ...]
    gradients: Weights

    def __getitem__(self, path: str) -> LayerTrace:
        """Return the layer at a path."""
        return next(layer for layer in self.layers if layer.path == path)

    def __repr__(self) -> str:
        """Return the loss and the layers, from the last to the first, with their products."""
        return "\n".join([f"loss {self.loss:.4g}", *map(repr, self.layers)])


class Trained(Protocol):
    """A fitted estimator, as far as inspection looks at one."""

    def as_trained(self, X: Any, y: Any) -> tuple[Layer, Callable, Weights, Weights, Any, Any]:
        """Return network, loss, weights, statistics, and X and y as they enter training."""
        ...


def backprop(model: Trained, X: Any, y: Any, seed: int = 0) -> Trace:
    """Return the backward pass of a model's mean loss over data, matrix by matrix.

    Parameters
    ----------
    model : estimator
        A fitted one.
    X, y
        Data as `fit` takes them; keep them few, for every matrix is kept.
    seed : int
        Of dropout and what else is random in training.

    Examples
    --------
    >>> from lamina import LinearClassifier
    >>> X, y = np.eye(3), [0, 1, 2]
    >>> trace = backprop(LinearClassifier(max_epochs=1, random_state=0).fit(X, y), X, y)
    >>> [str(product) for product in trace.layers[0].products]
    ['Y = X W', 'dW = Xᵀ dY', 'db = dYᵀ 1', 'dX = dY Wᵀ']
    """
    return trace(*model.as_trained(X, y), key=jax.random.key(seed))


def trace(
    network: Layer,
    loss: Callable[[Any, Any], Float[Array, " n"]],
    weights: Weights,
    statistics: Weights,
    X: Any,
    y: Any,
    key: Array | None = None,
) -> Trace:
    """Return the backward pass of the mean loss of a network in training.

    Parameters
    ----------
    network : Layer
        The network.
    loss : callable (scores, y) -> (n,)
        The loss of each sample.
    weights, statistics : nested dict of arrays
        The network's.
    X, y : arrays of n rows
        Samples and targets, as the network and the loss take them.
    key : random key, optional
        For layers that are random.
    """
    (value, scores, dscores, gradients), of_layers = passed(
        network, loss, weights, statistics, X, y, key
    )
    layers = [
        LayerTrace(path, layer, **of._asdict(), products=tuple(_products(layer, of)))
        for path, layer in leaves(network)
        for of in [of_layers[path]]
    ]
    return Trace(
        float(value),
        np.asarray(scores),
        np.asarray(dscores),
        tuple(reversed(layers)),
        in_order(gradients, weights),
    )


class Passed(NamedTuple):
    """The arrays of a `LayerTrace`, in its order."""

    X: Any
    A: Any
    dA: Any
    dX: Any
    weights: Weights
    gradients: Weights


def passed(network, loss, weights, statistics, X, y, key=None) -> tuple[tuple, dict[str, Passed]]:
    """Return the arrays of a backward pass, for `trace` or a compiled program to take.

    Returns
    -------
    whole : tuple
        The mean loss, scores, the gradient by them, and the gradients by all weights.
    of_layers : dict from path to Passed
        Of each layer.
    """
    kept: dict[str, _Kept] = {}
    context = Context(train=True, key=key)

    def objective(weights, taps):
        kept.clear()
        tapped = _tapped(network, "", kept, taps)
        scores, _ = tapped.apply(weights, statistics, X, context)
        seen = {path: (of.X, of.A, of.weights) for path, of in kept.items()}
        return jnp.mean(loss(scores, y)), (scores, seen)

    _, (_, seen) = jax.eval_shape(lambda: objective(weights, {}))
    taps = {path: jnp.zeros(*_shape_and_dtype(A)) for path, (_, A, _) in seen.items()}
    (value, (scores, seen)), (gradients, slopes) = jax.value_and_grad(
        objective, argnums=(0, 1), has_aux=True
    )(weights, taps)
    dscores = jax.grad(lambda scores: jnp.mean(loss(scores, y)))(scores)
    of_layers = {path: _pulled_back(of, seen[path], slopes[path]) for path, of in kept.items()}
    return (value, scores, dscores, gradients), of_layers


def leaves(network: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield every layer that is not made of layers, with its path, from first to last."""
    if not isinstance(network, Composite):
        yield path, network
        return
    for name, part in network.named():
        yield from leaves(part, f"{path}/{name}" if path else name)


def norm(array: Any) -> float:
    """Return the Frobenius norm of an array, or of the values of `Sequences`."""
    return float(jnp.linalg.norm(parts(array)[0].ravel()))


@dataclass
class _Kept:
    """What a tapped layer saw."""

    layer: Layer
    statistics: Weights
    context: Context
    X: Any
    weights: Weights
    A: Any


@dataclass(frozen=True)
class _Tap(Layer):
    """A layer that tells what it sees, and adds a zero to what it returns."""

    layer: Layer
    path: str
    kept: dict[str, _Kept] = dataclasses.field(hash=False, compare=False)
    taps: dict[str, Any] = dataclasses.field(hash=False, compare=False)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The layer's."""
        return self.layer.kind

    def output_shape(self, input_shape: Shape, name: str) -> Shape:
        """Return the layer's."""
        return self.layer.output_shape(input_shape, name)

    def apply(self, weights, statistics, X, context):
        """Return the layer's output plus its tap."""
        A, after = self.layer.apply(weights, statistics, X, context)
        if self.path in self.taps:
            values, lengths = parts(A)
            values = values + self.taps[self.path]
            A = values if lengths is None else Sequences(values, lengths)
        self.kept[self.path] = _Kept(self.layer, statistics, context, X, weights, A)
        return A, after


def _tapped(layer: Layer, path: str, kept: dict[str, _Kept], taps: dict[str, Any]) -> Layer:
    """Return the network with a tap at every layer that is not made of layers."""
    if not isinstance(layer, Composite):
        return _Tap(layer, path, kept, taps)
    names = {id(part): name for name, part in layer.named()}
    path = f"{path}/" if path else ""

    def tapped(part):
        if isinstance(part, tuple):
            return tuple(
                _tapped(each, f"{path}{name}", kept, taps)
                for each, (name, _) in zip(part, layer.named(), strict=True)
            )
        return _tapped(part, f"{path}{names[id(part)]}", kept, taps)

    holds = {
        field.name: getattr(layer, field.name)
        for field in dataclasses.fields(layer)
        if isinstance(getattr(layer, field.name), Layer | tuple)
    }
    return dataclasses.replace(layer, **{name: tapped(part) for name, part in holds.items()})


def _shape_and_dtype(A: Any) -> tuple[Shape, Any]:
    values, _ = parts(A)
    return values.shape, values.dtype


def _pulled_back(kept: _Kept, seen: tuple[Any, Any, Weights], dA: Any) -> Passed:
    """Return a layer's arrays, its gradients by its own backward rule."""
    X, A, weights = seen
    values, lengths = parts(X)

    def output(weights, values):
        given: Any = values if lengths is None else Sequences(values, lengths)
        out, _ = kept.layer.apply(weights, kept.statistics, given, kept.context)
        return parts(out)[0]

    if jnp.issubdtype(values.dtype, jnp.floating):
        gradients, dX = jax.vjp(output, weights, values)[1](dA)
    else:
        (gradients,), dX = jax.vjp(lambda weights: output(weights, values), weights)[1](dA), None
    return Passed(X, A, dA, dX, weights, in_order(gradients, weights))


def _products(layer: Layer, of: Passed) -> Iterator[Product]:
    values, lengths = parts(of.X)
    yield from products_of(layer, of.weights, values, lengths, parts(of.A)[0], of.dA)
