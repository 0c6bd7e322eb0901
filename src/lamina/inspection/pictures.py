"""Matrices as pictures: class templates, the confusion of classes, the course of training.

Each function returns a matplotlib figure that belongs to nobody: no window, no global state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PICTURES = 40


def template_shape(m: int, image_shape: tuple[int, int, int] | None = None) -> tuple[int, int, int]:
    """Return (h, w, c) of the images that rows of m features are: as told, or a square of greys."""
    if image_shape is not None:
        if math.prod(image_shape) != m:
            raise InputError(
                f"image_shape expected (h, w, c) with h·w·c = {m}, got {tuple(image_shape)}."
            )
        return image_shape
    side = math.isqrt(m)
    if side * side != m:
        raise InputError(
            f"Templates expected inputs that are images, got {m} features, which make no square. "
            "Pass image_shape=(h, w, c)."
        )
    return side, side, 1


def templates(W: np.ndarray, image_shape: tuple[int, int, int] | None = None) -> np.ndarray:
    """Return the first 40 columns of W (m, k) as images (k, h, w), colours averaged."""
    shape = template_shape(len(W), image_shape)
    return W[:, :MOST_PICTURES].T.reshape(-1, *shape).mean(axis=-1)


def draw_templates(
    W: np.ndarray,
    names: Sequence[object] | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> Figure:
    """Draw columns of a first layer's weights as images: what each class or unit looks for.

    A pixel is red where it speaks for the class, blue where it speaks against it; all pictures
    share one scale. Columns of colour images are drawn as their mean over channels.

    Parameters
    ----------
    W : array of shape (m, k)
        Weights; for `LinearClassifier` column j is the template of class j. The first 40 columns
        are drawn.
    names : sequence of k objects, optional
        A title for each column.
    image_shape : tuple (h, w, c), optional
        The shape of one input; a square grey image if None.
    """
    from matplotlib.figure import Figure

    shown = templates(W, image_shape)
    count = len(shown)
    columns = min(count, 5 if count <= 10 else 8)
    rows = -(-count // columns)
    figure = Figure(figsize=(1.6 * columns + 0.8, 1.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    bound = float(np.abs(shown).max()) or 1.0
    image = None
    for axis in axes:
        axis.axis("off")
    for j, (axis, template) in enumerate(zip(axes, shown, strict=False)):
        image = axis.imshow(template, cmap="RdBu_r", vmin=-bound, vmax=bound)
        axis.set_title(str(names[j]) if names is not None else f"unit {j}", fontsize=10)
    if image is not None:
        figure.colorbar(image, ax=axes.tolist(), shrink=0.8, label="weight")
    return figure


def draw_confusion(confusion: np.ndarray, names: Sequence[object]) -> Figure:
    """Draw a confusion matrix: rows are true classes, columns predicted ones, with counts.

    Parameters
    ----------
    confusion : array of shape (K, K), int
        Counts, as `sklearn.metrics.confusion_matrix` gives them.
    names : sequence of K objects
        The classes.
    """
    from matplotlib.figure import Figure

    K = len(names)
    side = 1.8 + 0.45 * K
    figure = Figure(figsize=(side, side), layout="constrained")
    axis = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(K), [str(name) for name in names], rotation=45, ha="right")
    axis.set_yticks(range(K), [str(name) for name in names])
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    for i, j in zip(*np.nonzero(confusion), strict=True):
        colour = "white" if share[i, j] > 0.5 else "black"
        axis.text(j, i, str(confusion[i, j]), ha="center", va="center", color=colour, fontsize=8)
    return figure


def figures_of(history: dict[str, list[float]]) -> list[str]:
    """Return the figures in a history that are what is minimised or measured: loss, accuracy."""
    hidden = ("epoch", "seconds", "learning_rate", "gradient_norm")
    return [name for name in history if name not in hidden and not name.startswith("val_")]


def draw_history(history: dict[str, list[float]], names: Sequence[str] | None = None) -> Figure:
    """Draw loss and metric by epoch, training and validation.

    Parameters
    ----------
    history : dict of list
        An estimator's ``history_``.
    names : sequence of str, optional
        Which of its figures, each with its val_ beside it; loss and metric if None.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not history.get("loss"):
        raise InputError("draw_history expected at least one epoch, got a history without any.")
    names = figures_of(history) if names is None else names
    figure = Figure(figsize=(4.5 * len(names), 3.2), layout="constrained")
    epochs = np.arange(1, len(history["loss"]) + 1)
    mark = "o" if len(epochs) == 1 else None  # a line of one point is not seen
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axis.plot(epochs, history[name], label="training", marker=mark)
        if f"val_{name}" in history:
            axis.plot(epochs, history[f"val_{name}"], label="validation", marker=mark)
            axis.legend(frameon=False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    return figure
