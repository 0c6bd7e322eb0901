"""What a convolutional network sees: its filters, and an image's feature maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from lamina.errors import InputError
from lamina.layers.layer import PREDICTING
from lamina.layers.sequential import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_FILTERS = 64
MAPS_IN_A_ROW = 16
_ONE_STEP = ("conv", "batch_norm", "activation")
"""Kinds of layers whose outputs, one after another, are one set of maps: the last counts."""


def first_filters(weights: dict[str, Any]) -> np.ndarray | None:
    """Return the first filters HWIO among nested weights; None where there are none."""
    for value in weights.values():
        if isinstance(value, dict):
            found = first_filters(value)
            if found is not None:
                return found
        elif np.ndim(value) == 4:
            return np.asarray(value)
    return None


def feature_maps(
    network: Sequential, weights: dict[str, Any], statistics: dict[str, Any], image: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (layer, maps (h, w, k)) for each convolution, after its normalisation and activation.

    Parameters
    ----------
    network : Sequential
        A trained one.
    weights, statistics : nested dict of arrays
        Its.
    image : array of shape (h, w, c)
        As the network takes it.
    """
    pending: tuple[str, np.ndarray] | None = None
    for name, A, _ in network.walk(weights, statistics, jnp.asarray(image)[None], PREDICTING):
        kind = name.rpartition("_")[0]
        if pending is not None and (kind not in _ONE_STEP or kind == "conv"):
            yield pending
            pending = None
        if A.ndim == 4 and (kind == "conv" or pending is not None):
            pending = (pending[0] if pending else name), np.asarray(A[0])
    if pending is not None:
        yield pending


def filter_pictures(W: np.ndarray) -> np.ndarray:
    """Return filters (i, j, c, k) as pictures (i, j, 3 or 1, k): in colour, or their mean."""
    return W if W.shape[2] == 3 else W.mean(axis=2, keepdims=True)


def draw_filters(W: np.ndarray) -> Figure:
    """Draw the first 64 filters: in colour where they see three channels, else their mean.

    Parameters
    ----------
    W : array of shape (i, j, c, k)
        Filters HWIO. Colours and greys are scaled together: middle grey is zero; red is positive
        and blue is negative where there are no colours.
    """
    from matplotlib.figure import Figure

    if W.ndim != 4:
        raise InputError(f"draw_filters expected filters (i, j, c, k), got shape {W.shape}.")
    count = min(W.shape[-1], MOST_FILTERS)
    columns = min(count, 8)
    rows = -(-count // columns)
    figure = Figure(figsize=(1.1 * columns + 0.6, 1.1 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    pictures = filter_pictures(W)
    colour = pictures.shape[2] == 3
    bound = float(np.abs(pictures).max()) or 1.0
    for axis in axes:
        axis.axis("off")
    for j, axis in zip(range(count), axes, strict=False):
        if colour:
            axis.imshow(0.5 + 0.5 * pictures[..., j] / bound)
        else:
            axis.imshow(pictures[..., 0, j], cmap="RdBu_r", vmin=-bound, vmax=bound)
    figure.suptitle(f"{count} of {W.shape[-1]} filters, {W.shape[0]}×{W.shape[1]}", fontsize=10)
    return figure


def draw_feature_maps(image: np.ndarray, maps: list[tuple[str, np.ndarray]]) -> Figure:
    """Draw an image and what each layer makes of it, the first 16 channels a row.

    Parameters
    ----------
    image : array of shape (h, w, c)
        Numbers of any range.
    maps : list of (name, array of shape (h', w', k))
        As `feature_maps` gives them. Each map has its own scale, from black to yellow.
    """
    from matplotlib.figure import Figure

    if not maps:
        raise InputError("draw_feature_maps expected a network with convolutions, got one without.")
    columns = 1 + MAPS_IN_A_ROW
    figure = Figure(figsize=(0.95 * columns, 1.15 * len(maps) + 0.2), layout="constrained")
    axes = figure.subplots(len(maps), columns, squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    low, high = float(image.min()), float(image.max())
    shown = (image - low) / ((high - low) or 1.0)
    axes[0, 0].imshow(shown if image.shape[-1] == 3 else shown.mean(axis=-1), cmap="gray")
    axes[0, 0].set_title("image", fontsize=8)
    for row, (name, A) in zip(axes, maps, strict=True):
        for j, axis in zip(range(A.shape[-1]), row[1:], strict=False):
            axis.imshow(A[..., j], cmap="inferno")
        row[1].set_title(f"{name}: {A.shape[0]}×{A.shape[1]}×{A.shape[2]}", fontsize=8, loc="left")
    return figure
