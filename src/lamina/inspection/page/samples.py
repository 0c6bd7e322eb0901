"""One sample as a person can look at it: a picture, a line, a text, or its columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamina.inspection.diagrams import reduced
from lamina.inspection.page.images import grey_or_colour, picture
from lamina.inspection.page.markup import Markup, tag
from lamina.layers.sequences import Sequences

MOST_COLUMNS, MOST_CHANNELS, MOST_LETTERS = 8, 12, 280
MOST_PIXELS = 160
"""A side of a picture; larger ones are thinned out."""


def sample(model: Any, X: Any, row: int, name: str | None = None) -> Markup:
    """Return HTML that shows one row of X, whatever X is.

    Parameters
    ----------
    model : estimator
        Which says, where X does not, what a row of numbers is.
    X : DataFrame, array, list of str or arrays, `Sequences`
        As the model takes it.
    row : int
        Which.
    name : str, optional
        What it is called.
    """
    label = name or f"row {row}"
    if hasattr(X, "iloc"):
        values = X.iloc[row]
        return _columns(list(X.columns), list(values))
    if isinstance(X, Sequences):
        return _lines(np.asarray(X.values[row])[: int(X.lengths[row])], label)
    if isinstance(X[row], str):
        return _text(X[row])
    values = np.asarray(X[row])
    shape = _image_shape(model, values)
    if shape is not None:
        image = grey_or_colour(values.reshape(shape))
        step = -(-max(shape[:2]) // MOST_PIXELS)
        return picture(np.ascontiguousarray(image[::step, ::step]), label)
    if values.ndim == 2 or (isinstance(X, list) and values.ndim == 1):
        return _lines(values.reshape(len(values), -1), label)
    names = getattr(model, "feature_names_in_", [f"column {j}" for j in range(values.size)])
    return _columns(list(names), values.ravel().tolist())


def _image_shape(model: Any, values: np.ndarray) -> tuple[int, ...] | None:
    """Return (h, w, c) if the sample is an image: by its own shape, or by what the model knows."""
    if values.ndim == 3:
        return values.shape
    encoder = getattr(model, "encoder_", None)
    known = getattr(encoder, "image_shape", None) or getattr(model, "image_shape", None)
    if known is None and len(getattr(model, "input_shape_", ())) == 3:
        known = model.input_shape_
    return tuple(known) if known is not None and math.prod(known) == values.size else None


def _columns(names: list[Any], values: list[Any]) -> Markup:
    rows = [
        tag("div", tag("dt", name), tag("dd", _value(value)))
        for name, value in zip(names[:MOST_COLUMNS], values, strict=False)
    ]
    more = len(names) - MOST_COLUMNS
    left_out = tag("p", f"and {more} more columns", class_="quiet") if more > 0 else None
    return tag("div", tag("dl", rows), left_out, class_="row")


def _value(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value)[:80]


def _text(text: str) -> Markup:
    return tag("blockquote", text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + " …")


def _lines(series: np.ndarray, label: str) -> Markup:
    """Return a series (t, m) as one line a channel, all on one scale."""
    series = np.nan_to_num(np.asarray(series, np.float64))
    steps, channels = series.shape
    if series.shape[0] > MOST_PIXELS:
        series = reduced(series, MOST_PIXELS)[0]
    low, high = float(series.min()), float(series.max())
    across = np.linspace(0, 100, max(len(series), 2))
    down = 39 - 38 * (series - low) / ((high - low) or 1.0)
    lines = []
    for j in range(min(channels, MOST_CHANNELS)):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down[:, j], strict=False))
        lines.append(tag("polyline", points=points, class_="even" if j % 2 else None))
    described = f"{label}: series of {steps} steps and {channels} channels"
    return tag("svg", lines, class_="lines", viewBox="0 0 100 40", role="img", aria_label=described)
