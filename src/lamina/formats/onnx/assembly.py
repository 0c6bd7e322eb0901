"""From steps that follow one another, and join, to layers made of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.errors import FileFormatError
from lamina.formats.onnx.tracing import Step
from lamina.layers.composition import Parallel, Residual
from lamina.layers.layer import Layer, Weights
from lamina.layers.sequential import Sequential

Part = tuple[Layer, Weights, Weights]
MOST_LAYERS = 10_000
"""Branches that share steps are written out for each; a file may not make more of it than so."""


def assembled(end: Step) -> Part:
    """Return the network from the input to a step, with its weights and statistics by name."""
    start = end
    while start.before is not None:
        start = start.before
    return _chain(end, start, [0])


def _chain(end: Step, start: Step, count: list[int]) -> Part:
    """Return a `Sequential` of all between two steps."""
    parts: list[Part] = []
    step = end
    while step is not start:
        count[0] += 1
        if count[0] > MOST_LAYERS:
            raise FileFormatError(
                f"The graph expected branches that come together again, at most {MOST_LAYERS:,} "
                "layers in all, got more. Export a part of it."
            )
        assert step.before is not None, "all steps begin at the input"
        if step.layer is not None:
            parts.append((step.layer, step.weights, step.statistics))
        else:
            parts.append(_joined(step, count))
        step = step.before
    return _named(list(reversed(parts)))


def _named(parts: Sequence[Part]) -> Part:
    network = Sequential([layer for layer, _, _ in parts])
    return network, *_trees([name for name, _ in network.named()], parts)


def _trees(names: Sequence[str], parts: Sequence[Part]) -> tuple[Weights, Weights]:
    weights: dict[str, Any] = {}
    statistics: dict[str, Any] = {}
    for name, (_, own, kept) in zip(names, parts, strict=True):
        if own:
            weights[name] = own
        if kept:
            statistics[name] = kept
    return weights, statistics


def _joined(step: Step, count: list[int]) -> Part:
    """Return branches from where they part to where they join."""
    assert step.before is not None, "a join has parents"
    parts = [_chain(parent, step.before, count) for parent in step.parents]
    if step.join == "sum" and len(parts) == 2:
        parts.sort(key=lambda part: len(part[0].layers) == 0)  # type: ignore[attr-defined]
        body, shortcut = parts
        if shortcut[0].layers:  # type: ignore[attr-defined]
            layer: Any = Residual(body[0], shortcut[0])
        else:
            layer = Residual(body[0])
    else:
        layer = Parallel([branch for branch, _, _ in parts], step.join)
    return layer, *_trees([name for name, _ in layer.named()], parts)
