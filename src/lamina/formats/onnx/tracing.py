"""What is known of a tensor while an ONNX graph is read: which network made it, and how it lies.

Every axis of a tensor is a group of atoms: the batch, a height, the channels. Transposing reorders
groups, flattening joins them, reshaping splits them, and none of that is a layer. Only when the
next operator wants its input laid out in one way is it compared with what the network makes; where
they differ by grouping alone a `Reshape` stands between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lamina.errors import FileFormatError
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.pointwise import Flatten, Reshape
from lamina.layers.pooling import GlobalAveragePool


@dataclass(eq=False)
class Atom:
    """A part of an axis that is never cut unless a reshape cuts it.

    Parameters
    ----------
    size : int
        How many numbers lie along it; a stand-in where ``free``.
    free : bool
        Whether the file leaves the size open.
    batch : bool
        Whether it counts samples.
    """

    size: int
    free: bool = False
    batch: bool = False


Axis = tuple[Atom, ...]


@dataclass(eq=False)
class Step:
    """A layer with its weights, applied to the output of another step; or a join of several.

    Parameters
    ----------
    layer : Layer or None
        None for the graph's input, and for a join.
    weights, statistics : dict
        The layer's.
    parents : sequence of Step
        What goes in; more than one for a join.
    join : str
        How several become one: a key of `lamina.layers.composition.JOINS`.
    """

    layer: Layer | None = None
    weights: Weights = field(default_factory=dict)
    statistics: Weights = field(default_factory=dict)
    parents: Sequence[Step] = ()
    join: str = ""
    axes: tuple[Axis, ...] | None = None
    """Of the input, one sample's axes."""
    before: Step | None = None
    """The nearest step that all ways from the input to this one go through."""
    depth: int = 0

    def __post_init__(self) -> None:
        if self.parents:
            before = self.parents[0]
            for other in self.parents[1:]:
                before = common(before, other)
            self.before, self.depth = before, before.depth + 1


def common(a: Step, b: Step) -> Step:
    """Return the nearest step that all ways to both go through."""
    while a is not b:
        if a.depth < b.depth:
            a, b = b, a
        assert a.before is not None, "all steps begin at the input"
        a = a.before
    return a


class InputOrder(Exception):  # noqa: N818 - no error: the graph is read anew
    """The network is better told with its input's axes in this order."""

    def __init__(self, order: list[int]):
        self.order = order


@dataclass(frozen=True)
class Traced:
    """A tensor that depends on the graph's input.

    Parameters
    ----------
    step : Step
        What makes it, up to the order of axes.
    out : tuple of Axis
        One sample's axes as the step's layer makes them.
    axes : tuple of Axis
        The tensor's axes in the file, the batch among them.
    """

    step: Step
    out: tuple[Axis, ...]
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> Shape:
        """One sample's shape as the step's layer makes it."""
        return tuple(math.prod(atom.size for atom in axis) for axis in self.out)

    def sizes(self) -> np.ndarray:
        """Return the tensor's sizes; None for those that the file leaves open."""
        known = [
            None if any(atom.free for atom in axis) else math.prod(atom.size for atom in axis)
            for axis in self.axes
        ]
        return np.array(known, object)

    def through(self, layer: Layer, weights: Weights, statistics: Weights) -> Traced:
        """Return the tensor after a layer that changes neither shape nor order."""
        return replace(self, step=Step(layer, weights, statistics, (self.step,)))

    def laid(self, wanted: Sequence[Axis], who: str) -> Traced:
        """Return the tensor with its step's axes so grouped, by a Reshape where need be."""
        wanted = tuple(wanted)
        if self.out == wanted:
            return self
        if _order(self.out) != _order(wanted):
            self._ask_for_input(wanted)
            raise FileFormatError(
                f"{who} expected its input's axes in Lamina's order, channels last, got them "
                "transposed in between. Leave that Transpose or Permute out of the network."
            )
        sizes = tuple(math.prod(atom.size for atom in axis) for axis in wanted)
        step, layer = self.step, self.step.layer
        if sizes == self.shape:
            return replace(self, out=wanted)
        if isinstance(layer, GlobalAveragePool) and layer.keep_axes and len(sizes) == 1:
            return Traced(Step(GlobalAveragePool(), parents=step.parents), wanted, self.axes)
        if len(sizes) == 1:
            return Traced(Step(Flatten(), parents=(step,)), wanted, self.axes)
        return Traced(Step(Reshape(sizes), parents=(step,)), wanted, self.axes)

    def _ask_for_input(self, wanted: tuple[Axis, ...]) -> None:
        """Ask for the input's axes in another order where nothing has used their order yet."""
        place = {atom: i for i, axis in enumerate(self.out) for atom in axis}
        singles = all(len(axis) == 1 for axis in (*self.out, *wanted))
        step = self.step
        while step.before is not None and len(step.parents) == 1:
            step = step.before
        fresh = step.axes == self.out
        if fresh and singles and len(wanted) == len(self.out):
            raise InputOrder([place[axis[0]] for axis in wanted])


def _order(axes: Iterable[Axis]) -> list[Atom]:
    """Return the atoms in order, those of size 1 left out: they may stand anywhere."""
    return [atom for axis in axes for atom in axis if atom.size != 1]


def regrouped(X: Traced, sizes: Sequence[Any], who: str) -> Traced:
    """Return a tensor in another shape: its atoms grouped, and cut where need be.

    Parameters
    ----------
    sizes : sequence of int or None
        The new shape: 0 keeps the axis at this place, -1 (once) takes what is left, None is a size
        that the file leaves open.
    """
    atoms = [atom for axis in X.axes for atom in axis]
    cut: dict[Atom, list[Atom]] = {}

    def take(size: Any, end: int) -> Axis:
        group: list[Atom] = []
        if size is None:
            if not atoms or not atoms[end].free:
                raise _odd(who)
            return (atoms.pop(end),)
        if atoms and atoms[end].free and atoms[end].size == size:
            return (atoms.pop(end),)
        while size > 1:
            if not atoms or atoms[end].free:
                raise _odd(who)
            atom = atoms.pop(end)
            if size % atom.size:
                if atom.size % size:
                    raise _odd(who)
                taken, left = Atom(size), Atom(atom.size // size)
                cut[atom] = [left, taken] if end else [taken, left]
                atoms.insert(len(atoms) if end else 0, left)
                atom = taken
            size //= atom.size
            group.insert(0 if end else len(group), atom)
        return tuple(group)

    wanted = list(sizes)
    for i, size in enumerate(wanted):
        if isinstance(size, int | np.integer) and size == 0:
            if i >= len(X.axes):
                raise _odd(who)
            kept = X.axes[i]
            wanted[i] = None if len(kept) == 1 and kept[0].free else math.prod(a.size for a in kept)
    rest = next((i for i, size in enumerate(wanted) if size is not None and size < 0), None)
    head = wanted if rest is None else wanted[:rest]
    axes = [take(size, 0) for size in head]
    if rest is not None:
        tail = [take(size, -1) for size in reversed(wanted[rest + 1 :])]
        axes += [tuple(atoms), *reversed(tail)]
    elif any(atom.size != 1 for atom in atoms):
        raise _odd(who)
    found = replace(X, axes=tuple(axes))
    for atom, parts in cut.items():
        found = _split(found, atom, parts)
    return found


def _split(X: Traced, atom: Atom, parts: list[Atom]) -> Traced:
    def each(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(
            tuple(new for old in axis for new in (parts if old is atom else [old])) for axis in axes
        )

    return replace(X, out=each(X.out), axes=each(X.axes))


def _odd(who: str) -> FileFormatError:
    return FileFormatError(
        f"{who} expected a shape that follows from its input's known sizes, got another. Export "
        "the network with only the batch, and a sequence's steps, left open."
    )
