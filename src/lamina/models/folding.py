"""Batch normalisation folded into the convolution before it: a product of a product is a product.

In prediction a normalisation is ``A = s ∘ Y + t`` with ``s = gain / √(variance + ε)`` and
``t = shift - s ∘ mean``, so that after ``Y = X ∗ W + b``::

    A = X ∗ (W ∘ s) + (s ∘ b + t)

with s on the filters' axis. The network has one pass over the image less for each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lamina.layers.composition import Parallel, Residual
from lamina.layers.convolution import Conv1D, Conv2D
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Weights
from lamina.layers.normalization import BatchNorm
from lamina.layers.sequential import Sequential


class Bound(NamedTuple):
    """A layer with its weights and statistics."""

    layer: Layer
    weights: Weights
    statistics: Weights


def folded(network: Layer, weights: Weights, statistics: Weights) -> Bound:
    """Return a network that predicts what this one does, normalisations folded where they can be.

    Parameters
    ----------
    network : Layer
        `Sequential`, with `Residual`, `Parallel` and `Sequential` parts.
    weights, statistics : nested dict of NumPy arrays
        Its own.
    """
    whole = Bound(network, weights, statistics)
    if isinstance(network, Sequential):
        parts: list[Bound] = []
        for part in parts_of(whole):
            if parts and isinstance(part.layer, BatchNorm) and _takes(parts[-1].layer):
                parts[-1] = _product(parts[-1], part)
            else:
                parts.append(folded(*part))
        return named(Sequential([part.layer for part in parts]), parts)
    if isinstance(network, Residual):
        body, shortcut = (folded(*part) for part in parts_of(whole))
        beside = None if network.shortcut is None else shortcut.layer
        return named(Residual(body.layer, beside), [body, shortcut])
    if isinstance(network, Parallel):
        parts = [folded(*part) for part in parts_of(whole)]
        return named(replace(network, branches=[part.layer for part in parts]), parts)
    return whole


def parts_of(whole: Bound) -> list[Bound]:
    """Return the parts of a composite with what is theirs."""
    network: Any = whole.layer
    return [
        Bound(part, whole.weights.get(name, {}), whole.statistics.get(name, {}))
        for name, part in network.named()
    ]


def named(network: Any, parts: list[Bound]) -> Bound:
    """Return a composite with what is its parts', by their names."""
    names = [name for name, _ in network.named()]
    pairs = list(zip(names, parts, strict=True))
    weights = {name: part.weights for name, part in pairs if part.weights}
    return Bound(network, weights, {n: part.statistics for n, part in pairs if part.statistics})


def _takes(layer: Layer) -> bool:
    """Whether a normalisation can be folded into it: linear, with the channels last."""
    return isinstance(layer, Conv1D | Conv2D | Dense) and layer.activation == "linear"


def _product(before: Bound, normalisation: Bound) -> Bound:
    norm, (gain, shift) = normalisation.layer, (normalisation.weights[k] for k in ("gain", "shift"))
    mean, variance = (normalisation.statistics[k] for k in ("mean", "variance"))
    assert isinstance(norm, BatchNorm)
    s = gain / np.sqrt(variance + gain.dtype.type(norm.epsilon))
    b = before.weights.get("b", np.zeros_like(s))
    weights = {"W": before.weights["W"] * s, "b": s * (b - mean) + shift}
    return Bound(replace(before.layer, bias=True), weights, {})  # type: ignore
