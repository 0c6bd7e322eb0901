"""PyTorch's names and layouts of weights, to Lamina's and back.

| PyTorch | Lamina |
|---|---|
| convolution ``weight`` (k, c / groups, i, j) | ``W`` (i, j, c / groups, k) |
| linear ``weight`` (k, m) | ``W`` (m, k) |
| ``bias`` | ``b`` |
| normalisation ``weight``, ``bias`` | ``gain``, ``shift`` |
| ``running_mean``, ``running_var`` | statistics ``mean``, ``variance`` |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lamina.errors import InputError
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.normalization import BatchNorm
from lamina.models.architecture import at, leaves, put

if TYPE_CHECKING:
    from lamina.models.architecture import Architecture

COUNTERS = "num_batches_tracked"
"""What PyTorch's normalisation counts and nothing here needs."""

CONVOLUTION_FROM, CONVOLUTION_TO = (2, 3, 1, 0), (3, 2, 0, 1)


class Place(NamedTuple):
    """One array in both worlds.

    Parameters
    ----------
    theirs : str
        Its name in PyTorch.
    path, name : str
        The layer's path, and its name there.
    statistic : bool
        Whether it is a statistic rather than a weight.
    shape : tuple of int
        In PyTorch's layout.
    to, back : tuple of int
        The axes that turn theirs into ours, and ours into theirs.
    """

    theirs: str
    path: str
    name: str
    statistic: bool
    shape: Shape
    to: tuple[int, ...]
    back: tuple[int, ...]


def places(architecture: Architecture, library: str) -> list[Place]:
    """Return all arrays of an architecture under a library's names, in order."""
    found = leaves(architecture.network, architecture.input_shape())
    pairs = zip(architecture.names[library], found, strict=True)
    return [
        place for module, (path, layer, shape) in pairs for place in _of(layer, shape, module, path)
    ]


def _of(layer: Layer, shape: Shape, module: str, path: str) -> Iterator[Place]:
    """Yield the arrays of one layer."""
    weights, statistics = layer.weight_shapes(shape)
    if isinstance(layer, BatchNorm):
        words = {"gain": "weight", "shift": "bias", "mean": "running_mean"}
        words["variance"] = "running_var"
    else:
        words = {"W": "weight", "b": "bias"}
    for statistic, shapes in ((False, weights), (True, statistics)):
        for name, ours in shapes.items():
            to = back = tuple(range(len(ours)))
            if name == "W":
                dense = isinstance(layer, Dense)
                to, back = ((1, 0),) * 2 if dense else (CONVOLUTION_FROM, CONVOLUTION_TO)
            theirs = tuple(ours[axis] for axis in back)
            yield Place(f"{module}.{words[name]}", path, name, statistic, theirs, to, back)


def from_torch(
    architecture: Architecture, arrays: Mapping[str, np.ndarray]
) -> tuple[Weights, Weights]:
    """Return weights and statistics, float32, from arrays under any known library's names.

    Raises
    ------
    InputError
        For names that are missing or unexpected, or shapes that clash.
    """
    arrays = {name: array for name, array in arrays.items() if not name.endswith(COUNTERS)}
    libraries = {name: places(architecture, name) for name in architecture.names}
    chosen = max(libraries.values(), key=lambda known: sum(p.theirs in arrays for p in known))
    _check(architecture, chosen, arrays)
    weights: Weights = {}
    statistics: Weights = {}
    for place in chosen:
        array = np.ascontiguousarray(arrays[place.theirs].transpose(place.to), np.float32)
        tree = statistics if place.statistic else weights
        put(tree, place.path, {**at(tree, place.path), place.name: array})
    return weights, statistics


def _check(
    architecture: Architecture, chosen: list[Place], arrays: Mapping[str, np.ndarray]
) -> None:
    """Raise unless the arrays are those of the architecture, all and no others."""
    wanted = {place.theirs: place.shape for place in chosen}
    missing = [name for name in wanted if name not in arrays]
    unexpected = [name for name in arrays if name not in wanted]
    clashes = [n for n in wanted if n in arrays and tuple(arrays[n].shape) != wanted[n]]
    if missing or unexpected or clashes:
        from lamina.models import recognised

        first = [f"{n} is {arrays[n].shape} instead of {wanted[n]}" for n in clashes[:5]]
        parts = [
            _listed("missing", missing),
            _listed("unexpected", unexpected),
            f"{len(clashes)} of another shape ({', '.join(first)})" if clashes else "",
        ]
        like = recognised(arrays)
        remedy = "Check which model it is of."
        if like is not None and like.name != architecture.name:
            remedy = f"It looks like {like.name}."
        elif like is None:
            remedy = "It looks like no architecture that Lamina knows."
        raise InputError(
            f"{architecture.name} expected its {len(wanted)} arrays of weights, got "
            f"{'; '.join(filter(None, parts))}. {remedy}"
        )


def _listed(word: str, names: list[str]) -> str:
    more = ", …" if len(names) > 5 else ""
    return f"{len(names)} {word} ({', '.join(names[:5])}{more})" if names else ""


def to_torch(
    architecture: Architecture, weights: Weights, statistics: Weights, library: str
) -> dict[str, np.ndarray]:
    """Return PyTorch's arrays by a library's names, counters included."""
    if library not in architecture.names:
        raise InputError(
            f"library expected one of {', '.join(architecture.names)} for {architecture.name}, "
            f"got {library!r}."
        )
    found: dict[str, np.ndarray] = {}
    for place in places(architecture, library):
        tree = statistics if place.statistic else weights
        array = np.asarray(at(tree, place.path)[place.name])
        found[place.theirs] = np.ascontiguousarray(array.transpose(place.back))
        if place.name == "variance":
            module = place.theirs.rpartition(".")[0]
            found[f"{module}.{COUNTERS}"] = np.array(0, np.int64)
    return found
