"""Layers beside one another: branches of one input, joined; residual blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.layers.composite import Composite, check_layers
from lamina.layers.layer import Layer, Shape
from lamina.layers.pooling import GlobalAveragePool
from lamina.layers.sequential import Sequential


class Join(NamedTuple):
    """How the outputs of branches become one.

    Parameters
    ----------
    arrays : callable
        Outputs, each (n, ...), to one array.
    shapes : callable
        The shapes of their samples to one shape; raises ValueError where they do not fit.
    rule : str
        Which shapes fit, for the error.
    """

    arrays: Callable[[list[Any]], Any]
    shapes: Callable[[list[Shape]], Shape]
    rule: str


def _concatenated(shapes: list[Shape]) -> Shape:
    if len({shape[:-1] for shape in shapes}) > 1 or not all(shapes):
        raise ValueError
    return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def _broadcast(shapes: list[Shape]) -> Shape:
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError
    return np.broadcast_shapes(*shapes)


def _same(shapes: list[Shape]) -> Shape:
    if len(set(shapes)) > 1:
        raise ValueError
    return shapes[0]


BROADCAST = "samples of one shape, up to axes of size 1"
JOINS = {
    "concatenate": Join(
        lambda outputs: jnp.concatenate(outputs, axis=-1),
        _concatenated,
        "samples that differ in their last axis only",
    ),
    "sum": Join(lambda outputs: reduce(jnp.add, outputs), _broadcast, BROADCAST),
    "product": Join(lambda outputs: reduce(jnp.multiply, outputs), _broadcast, BROADCAST),
}
ADDED = JOINS["sum"]._replace(shapes=_same, rule="samples of one shape")


@dataclass(frozen=True)
class Branches(Composite):
    """A composite whose parts all take the input, and whose outputs are joined."""

    remedy: ClassVar[str]
    """What to do where outputs do not fit, for the error."""

    @property
    @abstractmethod
    def joined(self) -> Join:
        """How outputs become one."""

    def wired(self, input_shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """Return each branch's name, itself and the input's shape."""
        return [(name, branch, input_shape) for name, branch in self.named()]

    def output_shape(self, input_shape: Shape, name: str = "") -> Shape:
        """Return one sample's shape after the join."""
        path = f"{name}/" if name else ""
        shapes = {key: branch.output_shape(input_shape, path + key) for key, branch in self.named()}
        try:
            return self.joined.shapes(list(shapes.values()))
        except ValueError:
            got = ", ".join(f"{shape} from {key}" for key, shape in shapes.items())
            raise InputError(
                f"{name or self.kind} expected {self.joined.rule} from its branches, got {got}. "
                f"{self.remedy}"
            ) from None

    def apply(self, weights, statistics, X, context):
        """Return the branches' outputs for X, joined."""
        outputs, after = [], dict(statistics)
        for name, branch in self.bound(weights, statistics, context):
            A, branch_statistics = branch(X)
            outputs.append(A)
            if name in after:
                after[name] = branch_statistics
        return self.joined.arrays(outputs), after


@dataclass(frozen=True)
class Parallel(Branches):
    """``A = [f_0(X), f_1(X), …]``, or the branches' sum or product.

    Branches are named ``branch_0``, ``branch_1``, …; weights are found under those names.

    Parameters
    ----------
    branches : sequence of Layer
        What X goes through; stored as a tuple. ``Sequential([])`` is X itself.
    join : {"concatenate", "sum", "product"}
        Along the last axis, or entry by entry; then an axis of size 1 serves all entries of the
        other's, such as (1, 1, c) for (h, w, c).

    Examples
    --------
    >>> from lamina.layers import Dense, Parallel
    >>> Parallel([Dense(4), Dense(3, "relu")]).output_shape((8,))
    (7,)
    """

    branches: Sequence[Layer]
    join: str = "concatenate"
    kind: ClassVar[str] = "parallel"
    remedy: ClassVar[str] = "Give the branches the same padding and strides."

    def __post_init__(self) -> None:
        object.__setattr__(self, "branches", tuple(self.branches))
        example = "Parallel([Dense(4), Dense(3)])"
        check_layers("Parallel", example, self.branches)
        if not self.branches:
            raise InputError(f"Parallel expected one branch or more, got none. Use {example}.")
        check_choice("join", self.join, JOINS)

    @property
    def joined(self) -> Join:
        """How outputs become one."""
        return JOINS[self.join]

    def named(self) -> list[tuple[str, Layer]]:
        """Return ``(branch_…, branch)`` in order."""
        return [(f"branch_{number}", branch) for number, branch in enumerate(self.branches)]


@dataclass(frozen=True)
class Residual(Branches):
    """``A = body(X) + shortcut(X)``.

    Source: He, Zhang, Ren and Sun 2016, Deep Residual Learning, equations 1 and 2.

    Parameters
    ----------
    body : Layer
        The residual function, such as a `Sequential`.
    shortcut : Layer, optional
        What X goes through beside it; the identity where None.
    """

    body: Layer
    shortcut: Layer | None = None
    kind: ClassVar[str] = "residual"
    remedy: ClassVar[str] = (
        "Give it a shortcut that makes the body's shape, such as a 1×1 convolution with the body's "
        "filters and strides."
    )

    def __post_init__(self) -> None:
        parts = [self.body] if self.shortcut is None else [self.body, self.shortcut]
        check_layers("Residual", "Residual(Sequential([Dense(8, 'relu'), Dense(8)]))", parts)

    @property
    def joined(self) -> Join:
        """A sum of equal shapes."""
        return ADDED

    def named(self) -> list[tuple[str, Layer]]:
        """Return the body and the shortcut; the identity is ``Sequential([])``."""
        return [("body", self.body), ("shortcut", self.shortcut or Sequential([]))]


def squeeze_excitation(channels: int, ratio: int = 4) -> Parallel:
    """Return ``A = X ∘ s``, each channel weighed by ``s = σ(W_2 relu(W_1 z + b_1) + b_2)``.

    ``z`` (1, 1, c) is the mean of each channel of X over the image.

    Parameters
    ----------
    channels : int
        c, the channels of X (h, w, c).
    ratio : int
        How many channels share one unit of the bottleneck.

    Notes
    -----
    Source: Hu, Shen and Sun 2018, Squeeze-and-Excitation Networks, equations 2 to 4; there the
    ratio is 16.
    """
    from lamina.layers.convolution import Conv2D

    check_number("squeeze_excitation channels", channels, at_least=1, whole=True)
    check_number("squeeze_excitation ratio", ratio, at_least=1, whole=True)
    weights_of_channels = Sequential(
        [
            GlobalAveragePool(keep_axes=True),
            Conv2D(max(channels // ratio, 1), 1, activation="relu"),
            Conv2D(channels, 1, activation="sigmoid"),
        ]
    )
    return Parallel([Sequential([]), weights_of_channels], join="product")
