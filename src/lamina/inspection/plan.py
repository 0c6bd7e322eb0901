"""The plan: what every matrix of a network costs, before anything is trained.

A product (r, m) · (m, k) takes ``2 r m k`` floating-point operations. A layer's rows r are samples,
windows of images (what falls on their padding is not counted), or steps of sequences. Backward it
takes one such product for ``dW`` and, except in the first layer, one for ``dX``. In memory stand
the weights, as much again for gradients and for each array that the optimiser keeps, and what the
forward pass saves for the backward one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from lamina.errors import InputError
from lamina.functions.losses import Loss
from lamina.kernels.cells import CELLS
from lamina.layers.composite import Composite
from lamina.layers.convolution import Conv2D, _Convolution, _Filters
from lamina.layers.dense import Dense
from lamina.layers.each_step import EachStep
from lamina.layers.layer import Context, Layer, Shape
from lamina.layers.recurrent import Recurrent
from lamina.training.optimizers import Optimizer

BYTES = 4
"""Of a float32."""


@dataclass(frozen=True)
class Cost:
    """One layer's cost for a batch.

    Parameters
    ----------
    path : str
        Its place: ``dense_0``.
    product : str
        Its product's dimensions, ``(128×784)·(784×256)``; empty for layers without weights.
    output_shape : tuple of int
        One sample's shape after it.
    parameters : int
        Numbers in its weights.
    forward, backward : int
        Floating-point operations of its products.
    saved : int
        Bytes of its output, kept for the backward pass.
    """

    path: str
    product: str
    output_shape: Shape
    parameters: int
    forward: int
    backward: int
    saved: int


@dataclass(frozen=True)
class Plan:
    """What training a network costs.

    Parameters
    ----------
    layers : tuple of Cost
        From the first to the last.
    batch_size : int
        Samples a step.
    optimizer_arrays : int
        How many arrays like the weights the optimiser keeps: 2 for Adam.
    """

    layers: tuple[Cost, ...]
    batch_size: int
    optimizer_arrays: int

    @property
    def parameters(self) -> int:
        """Numbers in all weights."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def forward(self) -> int:
        """Floating-point operations of a prediction of one batch."""
        return sum(layer.forward for layer in self.layers)

    @property
    def step(self) -> int:
        """Floating-point operations of a training step."""
        return self.forward + sum(layer.backward for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights; the model file is about as large."""
        return BYTES * self.parameters

    @property
    def training_bytes(self) -> int:
        """Bytes of weights, gradients, optimiser and saved outputs, beside the data."""
        saved = sum(layer.saved for layer in self.layers)
        return self.weight_bytes * (2 + self.optimizer_arrays) + saved


def plan(
    network: Layer, input_shape: Shape, batch_size: int, optimizer: Optimizer | None = None
) -> Plan:
    """Return what a network costs for samples of a shape; nothing is allocated or compiled.

    Parameters
    ----------
    network : Layer
        The network.
    input_shape : tuple of int
        One sample's shape.
    batch_size : int
        Samples a step.
    optimizer : Optimizer, optional
        What keeps arrays beside the weights; Adam if None.

    Raises
    ------
    InputError
        If it is none, or cannot take samples of that shape.
    """
    if not isinstance(network, Layer):
        raise InputError(
            f"plan expected a network, got {type(network).__name__}. An estimator has its own: "
            "estimator.plan(X, y), which needs no fit."
        )
    arrays = 2 if optimizer is None else _arrays(optimizer)
    network.output_shape(input_shape, "network")
    costs = list(_costs(network, input_shape, batch_size, ""))
    first = next((i for i, (cost, _) in enumerate(costs) if cost.forward), 0)
    layers = tuple(
        replace(cost, backward=cost.backward - by_input) if i == first else cost
        for i, (cost, by_input) in enumerate(costs)
    )
    return Plan(layers, batch_size, arrays)


def _arrays(optimizer: Optimizer) -> int:
    """Return how many numbers an optimiser keeps for each weight."""
    probe = {"W": np.zeros((8, 8), np.float32)}
    leaves = jax.tree.leaves(optimizer.initial_state(probe))
    return sum(np.shape(leaf) == (8, 8) for leaf in leaves)


def _costs(layer: Layer, input_shape: Shape, rows: int, path: str) -> Iterator[tuple[Cost, int]]:
    """Yield each layer's cost, and what of it is the gradient by its input."""
    if isinstance(layer, EachStep):
        yield from _costs(layer.layer, input_shape[1:], rows * input_shape[0], f"{path}/layer")
        return
    if isinstance(layer, Composite):
        for name, part, shape in layer.wired(input_shape):
            yield from _costs(part, shape, rows, f"{path}/{name}" if path else name)
        return
    shapes = jax.tree.leaves(
        layer.weight_shapes(input_shape)[0], is_leaf=lambda s: isinstance(s, tuple)
    )
    parameters = sum(math.prod(shape) for shape in shapes)
    output = layer.output_shape(input_shape, path)
    products = list(_products(layer, input_shape, output, rows))
    forward = sum(2 * count * r * m * k for count, r, m, k in products)
    if isinstance(layer, _Convolution):
        forward = round(forward * _share_on_data(layer, input_shape, output))
    text = " + ".join(
        f"{f'{count}×' if count > 1 else ''}({r:,}×{m:,})·({m:,}×{k:,})"
        for count, r, m, k in products
    )
    saved = BYTES * rows * _saved(layer, input_shape, output)
    cost = Cost(path, text, output, parameters, forward, 2 * forward, saved)
    by_input = forward
    if isinstance(layer, Recurrent):  # its states need their gradients all the same
        count, r, m, k = products[0]
        by_input = 2 * count * r * m * k
    yield cost, by_input


def _products(layer: Layer, input_shape: Shape, output: Shape, rows: int) -> Iterator[Any]:
    """Yield ``(count, r, m, k)`` for each kind of product (r, m)·(m, k) in a layer."""
    if isinstance(layer, Dense):
        yield 1, rows, input_shape[0], layer.units
    elif isinstance(layer, _Filters):
        shape: Any = layer.weight_shapes(input_shape)[0]["W"]
        *window, seen, k = shape
        groups = max(1, input_shape[-1] // seen) if isinstance(layer, Conv2D) else 1
        turned = "Transpose" in type(layer).__name__
        cells = math.prod((input_shape if turned else output)[:-1])
        yield groups, rows * cells, math.prod(window) * seen, k // groups
    elif isinstance(layer, Recurrent):
        steps, features = input_shape[0], input_shape[1]
        wide = CELLS[layer.cell].gates * layer.units
        ways = 2 if layer.bidirectional else 1
        yield ways, rows * steps, features, wide
        yield ways * steps, rows, layer.units, wide


def _share_on_data(layer: _Convolution, input_shape: Shape, output: Shape) -> float:
    """Return which share of a convolution's windows lies on the image, and not on its padding."""
    geometry, window = layer._geometry(), layer._window
    size = input_shape[:2] if layer.axes == 2 else (1, input_shape[0])
    positions = output[:2] if layer.axes == 2 else (1, output[0])
    pads = geometry.pads(size, window)  # type: ignore[arg-type]
    share = 1.0
    for axis in (0, 1):
        starts = np.arange(positions[axis]) * geometry.stride[axis] - pads[axis][0]
        cells = starts[:, None] + np.arange(window[axis])[None, :] * geometry.dilation[axis]
        share *= float(np.mean((cells >= 0) & (cells < size[axis])))
    return share


def _saved(layer: Layer, input_shape: Shape, output: Shape) -> int:
    """Return how many numbers of a sample are kept for the backward pass."""
    if not isinstance(layer, Recurrent):
        return math.prod(output)
    cell = CELLS[layer.cell]
    gates = {"lstm": 4, "gru": 4}.get(layer.cell, 0)
    ways = 2 if layer.bidirectional else 1
    return ways * input_shape[0] * layer.units * (cell.parts + gates)


@dataclass(frozen=True)
class Compiled:
    """What XLA says of the compiled step.

    Parameters
    ----------
    operations : float
        Floating-point operations of loss and gradients, by its cost analysis.
    temporary_bytes : int
        What it reserves beside its arguments and results.
    """

    operations: float
    temporary_bytes: int


def compiled(network: Layer, loss: Loss, input_shape: Shape, batch_size: int, y: Any) -> Compiled:
    """Return XLA's own account of a training step's loss and gradients.

    Native kernels are opaque to XLA: its figures are whole only with ``LAMINA_KERNELS=xla``.

    Parameters
    ----------
    network, loss
        What is minimised.
    input_shape : tuple of int
        One sample's shape.
    batch_size : int
        Samples a step.
    y : array of shape (batch_size, ...)
        Targets as the loss takes them.
    """
    weights, statistics = network.initialize(np.random.default_rng(0), input_shape)
    context = Context(train=True, key=jax.random.key(0))

    def objective(weights, X):
        return loss(network.apply(weights, statistics, X, context)[0], y).mean()

    X = jax.ShapeDtypeStruct((batch_size, *input_shape), np.float32)
    program = jax.jit(jax.grad(objective)).lower(weights, X).compile()
    analysis, memory = program.cost_analysis(), program.memory_analysis()
    return Compiled(float(analysis["flops"]), int(memory.temp_size_in_bytes))  # type: ignore
