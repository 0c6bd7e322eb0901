"""What was measured, as diagrams: a matrix and its spectrum, gradients, calibration, errors.

Each function returns a matplotlib figure that belongs to nobody, small enough to be read on a
phone. `lamina.inspection.report` shows the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import InputError, check_choice
from lamina.inspection.spectra import random_density, random_edges

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lamina.inspection.calibration import Calibration
    from lamina.inspection.spectra import Spectrum

SIZE = 3.7, 2.6
"""Inches: about the width of a phone at the size of the page's text."""

MOST_CELLS = 128
"""Entries a side that a heat map shows; more are averaged."""

MOST_POINTS = 2000
MOST_BARS = 40
MOST_NAMED = 6
"""Lines that a legend names; of more the colour tells the depth."""
GREY, RED = "#808080", "#d62728"
WATCHED = ("gradient_norm", "update_ratio", "weight_norm")


def _one_axis(height: float = SIZE[1], width: float = SIZE[0]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def reduced(W: Float[np.ndarray, "m k"], most: int = MOST_CELLS) -> tuple[np.ndarray, int, int]:
    """Return a matrix of at most so many entries a side, and how many each is the mean of.

    Parameters
    ----------
    W : array of shape (m, k)
        Any matrix.
    most : int
        Entries a side.

    Returns
    -------
    W : array of shape (⌈m / rows⌉, ⌈k / columns⌉), float64
        Means over blocks; the last block of a side may be smaller.
    rows, columns : int
        A block's size.
    """
    W = np.asarray(W, np.float64)
    sides = [-(-length // most) for length in W.shape]
    for axis, side in enumerate(sides):
        starts = np.arange(0, W.shape[axis], side)
        counts = np.diff(np.append(starts, W.shape[axis]))
        sums = np.add.reduceat(W, starts, axis=axis)
        W = sums / (counts[:, None] if axis == 0 else counts)
    return W, *sides


def draw_matrix(W: Float[np.ndarray, "..."]) -> Figure:
    """Draw a weight matrix as a heat map: red is positive, blue negative, white zero.

    Parameters
    ----------
    W : array of shape (m, k), or (i, j, c, k) for a convolution
        All axes but the last are joined, as in the product. Large matrices are averaged in blocks,
        and the scale is that of the means.
    """
    W = np.asarray(W)
    if W.ndim < 2 or not W.size:
        raise InputError(f"draw_matrix expected a matrix, got shape {W.shape}.")
    W = W.reshape(-1, W.shape[-1])
    m, k = W.shape
    cells, rows, columns = reduced(W)
    figure, axis = _one_axis()
    bound = float(np.nanmax(np.abs(cells))) or 1.0
    image = axis.imshow(
        cells,
        cmap="RdBu_r",
        vmin=-bound,
        vmax=bound,
        aspect="auto",
        interpolation="none",
        extent=(0, k, m, 0),
    )
    axis.set_xlabel("columns (outputs)")
    axis.set_ylabel("rows (inputs)")
    averaged = rows > 1 or columns > 1
    figure.colorbar(image, ax=axis, label=f"mean of {rows}×{columns}" if averaged else "weight")
    return figure


def draw_spectrum(spectrum: Spectrum) -> Figure:
    """Draw singular values against what chance gives a matrix of this size and norm.

    All values are drawn as a histogram, with the Marchenko-Pastur density as a line; values beyond
    its upper edge, dashed, are what training has put there. The leading values of a large matrix
    are drawn by rank, with the edge alone.

    Parameters
    ----------
    spectrum : Spectrum
        From `lamina.inspection.spectra`.
    """
    figure, axis = _one_axis()
    low, high = random_edges(spectrum.shape, spectrum.frobenius)
    values = spectrum.values
    if spectrum.whole:
        top = 1.05 * max(float(values[0]), high) or 1.0
        bins = int(np.clip(2 * np.sqrt(len(values)), 8, 60))
        axis.hist(values, bins=bins, range=(0, top), density=True, histtype="stepfilled", alpha=0.6)
        if spectrum.frobenius:
            line = np.linspace(max(low, 1e-3 * high), high, 200)
            law = random_density(line, spectrum.shape, spectrum.frobenius)
            axis.plot(line, law, color="C1", label="by chance")
        axis.set_xlabel("singular value σ")
        axis.set_ylabel("density")
        axis.axvline(high, color=GREY, linestyle="--", linewidth=1, label="edge of chance")
    else:
        axis.plot(np.arange(1, len(values) + 1), values, ".", label="singular value σ")
        axis.set_xlabel(f"rank, the first {len(values)} of {min(spectrum.shape)}")
        axis.axhline(high, color=GREY, linestyle="--", linewidth=1, label="edge of chance")
        axis.set_ylim(bottom=0)
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return figure


def draw_gradient_flow(norms: Mapping[str, float | None]) -> Figure:
    """Draw the gradient's norm by layer, from the input (top) to the output.

    Parameters
    ----------
    norms : dict of str to float
        ``‖dW‖`` by layer or matrix, in the order of the network; the first 40 that are known.
    """
    from matplotlib.ticker import NullFormatter

    known = {name: float(v) for name, v in norms.items() if v is not None and np.isfinite(v)}
    if not known:
        raise InputError("draw_gradient_flow expected at least one norm, got none that is known.")
    names, values = list(known)[:MOST_BARS], np.array(list(known.values())[:MOST_BARS])
    figure, axis = _one_axis(height=1.1 + 0.24 * len(names))
    places = np.arange(len(names))
    positive = values[values > 0]
    if len(positive):
        axis.set_xscale("log")
        powers = np.floor(np.log10(0.9 * positive.min())), np.ceil(np.log10(positive.max()))
        axis.set_xlim(*(10.0**power for power in powers))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.barh(places, values, height=0.7)
    axis.set_yticks(places, names, fontsize=8, parse_math=False)
    axis.invert_yaxis()
    axis.set_xlabel("norm of the gradient ‖dW‖")
    axis.grid(axis="x", alpha=0.3)
    return figure


def draw_watched(watched: Mapping[str, Any], figure_name: str = "gradient_norm") -> Figure:
    """Draw what was watched of each matrix, by epoch, on a scale of powers.

    A line a matrix; many are coloured by their depth in the network.

    Parameters
    ----------
    watched : dict
        An estimator's ``watched_``.
    figure_name : {"gradient_norm", "update_ratio", "weight_norm"}
        Which figure.
    """
    check_choice("figure_name", figure_name, WATCHED)
    matrices = watched.get("matrices") or {}
    if not matrices or not watched.get("epoch"):
        raise InputError("draw_watched expected at least one epoch, got none. Fit with Watch().")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap
    from matplotlib.ticker import MaxNLocator

    figure, axis = _one_axis()
    colours = _by_depth(len(matrices))
    for colour, (name, figures) in zip(colours, matrices.items(), strict=True):
        values = np.array(figures[figure_name], np.float64)
        values[~(values > 0)] = np.nan  # no place on a scale of powers
        axis.plot(watched["epoch"], values, ".-", markersize=3, color=colour, label=name)
    axis.set_yscale("log")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")
    titles = {"gradient_norm": "‖dW‖", "update_ratio": "‖ΔW‖ / ‖W‖", "weight_norm": "‖W‖"}
    axis.set_ylabel(titles[figure_name])
    axis.grid(alpha=0.3)
    if len(matrices) <= MOST_NAMED:
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    else:
        scale = ListedColormap(colours)
        depth = figure.colorbar(ScalarMappable(cmap=scale), ax=axis, ticks=[0, 1])
        depth.ax.set_yticklabels(["first", "last"], fontsize=8)
    return figure


def _by_depth(count: int) -> list[Any]:
    """Return a colour for each matrix: the usual ones for few, else from violet to green."""
    from matplotlib import colormaps

    if count <= MOST_NAMED:
        return [f"C{j}" for j in range(count)]
    return list(colormaps["viridis"](np.linspace(0.25, 0.85, count)))


def draw_calibration(found: Calibration) -> Figure:
    """Draw a reliability diagram: confidence against accuracy; the diagonal is honest.

    Parameters
    ----------
    found : Calibration
        From `lamina.inspection.calibration`.
    """
    figure, axis = _one_axis()
    low = min(float(found.confidence.min()), float(found.accuracy.min()), 0.9)
    low = max(0.0, np.floor(10 * low - 0.5) / 10)
    axis.plot([low, 1], [low, 1], color=GREY, linestyle="--", linewidth=1, label="honest")
    axis.plot(found.confidence, found.accuracy, "o-", markersize=5, label="measured")
    axis.set_xlabel("confidence: probability of the predicted class")
    axis.set_ylabel("share that came true")
    axis.set_xlim(low, 1.01)
    axis.set_ylim(low, 1.02)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    return figure


def draw_predicted(y: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]) -> Figure:
    """Draw predicted against true values; on the diagonal they are equal.

    Parameters
    ----------
    y, predicted : array of shape (n,)
        True and predicted values. Of many rows 2,000, evenly taken, are drawn.
    """
    y, predicted = np.asarray(y, np.float64), np.asarray(predicted, np.float64)
    if y.ndim != 1 or y.shape != predicted.shape or not len(y):
        raise InputError(
            f"draw_predicted expected two vectors of one length, got shapes {y.shape} and "
            f"{predicted.shape}."
        )
    figure, axis = _one_axis(height=SIZE[0] - 0.6)
    low, high = float(min(y.min(), predicted.min())), float(max(y.max(), predicted.max()))
    axis.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1)
    rows = np.unique(np.linspace(0, len(y) - 1, min(len(y), MOST_POINTS)).astype(int))
    axis.plot(y[rows], predicted[rows], ".", markersize=4, alpha=0.5)
    axis.set_xlabel("true")
    axis.set_ylabel("predicted")
    axis.grid(alpha=0.3)
    return figure


def draw_residuals(y: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]) -> Figure:
    """Draw the distribution of errors, predicted minus true.

    Parameters
    ----------
    y, predicted : array of shape (n,)
        True and predicted values.
    """
    errors = np.asarray(predicted, np.float64) - np.asarray(y, np.float64)
    figure, axis = _one_axis(height=SIZE[0] - 0.6)
    axis.hist(errors, bins=int(np.clip(np.sqrt(len(errors)), 8, 50)), alpha=0.6)
    axis.axvline(0, color=GREY, linestyle="--", linewidth=1)
    axis.set_xlabel("error: predicted minus true")
    axis.set_ylabel("rows")
    return figure
