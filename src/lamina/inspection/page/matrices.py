"""The page's part on matrices: a row for each in a table, and a card with its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.inspection.diagrams import draw_matrix, draw_spectrum, reduced
from lamina.inspection.filters import MOST_FILTERS, filter_pictures, first_filters
from lamina.inspection.matrices import matrix_figures
from lamina.inspection.page.images import figure_as_svg, picture, signed
from lamina.inspection.page.markup import Markup, escaped, join, tag
from lamina.inspection.page.tables import Number, table
from lamina.inspection.pictures import templates
from lamina.inspection.spectra import Spectrum, random_edges
from lamina.inspection.verdicts import Verdict
from lamina.layers.layer import by_path

MOST_CARDS = 64
THUMBNAIL = 40
MOST_IN_CHAIN = 24


def anchor(path: str) -> str:
    """Return what links to a matrix's card point to."""
    return "matrix-" + "".join(c if c.isalnum() else "-" for c in path)


def link(path: str, known: Sequence[Spectrum]) -> Markup:
    """Return a matrix's path, or a layer's, as a link to its card; as text where it has none."""
    carded = [spectrum.path for spectrum in known[:MOST_CARDS]]
    target = next((own for own in carded if own == path or own.startswith(f"{path}/")), None)
    if target is None:
        return escaped(path)
    return tag("a", path, href=f"#{anchor(target)}")


def chain(weights: dict[str, Any], known: Sequence[Spectrum]) -> Markup | None:
    """Return the network as a row of its matrices in small, each as wide and high as its shape."""
    found = _arrays(weights)
    items = []
    for spectrum in known[:MOST_IN_CHAIN]:
        W = found[spectrum.path].reshape(spectrum.shape)
        small = reduced(W, THUMBNAIL)[0]
        pixels = signed(small, float(np.abs(small).max()))
        m, k = spectrum.shape
        shape = "×".join(map(str, found[spectrum.path].shape))
        image = picture(pixels, f"{spectrum.path}, {shape}", _side(k), _side(m))
        href = f"#{anchor(spectrum.path)}"
        items.append(tag("li", tag("a", image, tag("code", spectrum.path), shape, href=href)))
    if len(known) > MOST_IN_CHAIN:
        items.append(tag("li", f"and {len(known) - MOST_IN_CHAIN} more"))
    return tag("ol", items, class_="chain", aria_label="The network's matrices") if items else None


def _arrays(weights: dict[str, Any]) -> dict[str, np.ndarray]:
    return {path: np.asarray(W) for path, W in by_path(weights)}


def _side(length: int) -> int:
    """Return the pixels that a side of so many entries is drawn with."""
    return round(14 + 14 * math.log2(length + 1))


def overview(weights: dict[str, Any], known: Sequence[Spectrum]) -> Markup:
    """Return a sortable table of all weights, matrices and vectors."""
    spectrum_of = {spectrum.path: spectrum for spectrum in known}
    columns = [
        "matrix", "shape", "numbers", "‖W‖", "σ₁", "stable rank", "effective rank", "condition",
        "tail α", "beyond chance", "zeros",
    ]  # fmt: skip
    rows = []
    for path, W in _arrays(weights).items():
        sizes = ["×".join(map(str, W.shape)) or "1", Number(W.size, ",d")]
        spectrum = spectrum_of.get(path)
        if spectrum is None:
            (row,) = matrix_figures({path: np.atleast_1d(W)})
            cells = [Number(row.frobenius), *[Number(None)] * 6, Number(row.zeros, ".1%")]
        else:
            cells = [
                Number(spectrum.frobenius),
                Number(spectrum.spectral),
                Number(spectrum.stable_rank, ".1f"),
                Number(spectrum.effective_rank, ".1f"),
                Number(spectrum.condition, ".3g"),
                Number(None if spectrum.tail is None else spectrum.tail.exponent, ".2f"),
                Number(beyond_chance(spectrum), "d"),
                Number(spectrum.zeros, ".1%"),
            ]
        rows.append([tag("code", link(path, known)), *sizes, *cells])
    return table("All weights, from the first layer to the last", columns, rows)


def beyond_chance(spectrum: Spectrum) -> int:
    """Return how many singular values lie above what chance gives a matrix of this size."""
    return int((spectrum.values > random_edges(spectrum.shape, spectrum.frobenius)[1]).sum())


def cards(
    weights: dict[str, Any], known: Sequence[Spectrum], verdicts: Sequence[Verdict]
) -> Markup:
    """Return a card for each matrix: heat map, spectrum, what health found of it."""
    found = _arrays(weights)
    made = [_card(found[s.path], s, verdicts) for s in known[:MOST_CARDS]]
    more = len(known) - MOST_CARDS
    left_out = tag("p", f"{more} more matrices are in the table alone.") if more > 0 else None
    return join(tag("div", made, class_="cards"), left_out)


def _card(W: np.ndarray, spectrum: Spectrum, verdicts: Sequence[Verdict]) -> Markup:
    path = spectrum.path
    badges = [
        tag("p", tag("span", v.fault, class_="badge"), f" {v.remedy}", class_=v.severity)
        for v in verdicts
        if v.where == path
    ]
    above = beyond_chance(spectrum)
    of = f"the first {len(spectrum.values)}" if not spectrum.whole else str(len(spectrum.values))
    facts = {
        "shape": "×".join(map(str, W.shape)),
        "stable rank": f"{spectrum.stable_rank:.1f} of {min(spectrum.shape)}",
        "beyond chance": f"{above} of {of} singular values",
    }
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()]
    return tag(
        "article",
        tag("h3", tag("code", path)),
        badges,
        tag("dl", pairs, class_="facts"),
        figure_as_svg(draw_matrix(W), f"Heat map of {path}"),
        figure_as_svg(draw_spectrum(spectrum), f"Singular values of {path} against chance"),
        class_="card",
        id=anchor(path),
        aria_label=path,
    )


def first_layer(
    weights: dict[str, Any], image_shape: tuple[int, ...] | None, classes: Sequence[str] | None
) -> Markup | None:
    """Return what the first layer looks for, as pictures: filters, or templates of its columns.

    Parameters
    ----------
    weights : nested dict of arrays
        The network's.
    image_shape : tuple (h, w, c), or None
        What a row of the first matrix's inputs is, if it is an image.
    classes : sequence of K str, or None
        Names of columns where the first matrix gives the classes' scores.
    """
    filters = first_filters(weights)
    W = next((W for W in _arrays(weights).values() if W.ndim >= 2), None)
    if filters is not None:
        title, pictures = f"The first layer's {filters.shape[-1]} filters", _filters(filters)
        names = [f"filter {j}" for j in range(len(pictures))]
    elif W is not None and W.ndim == 2 and math.prod(image_shape or ()) == len(W):
        shown = templates(W, image_shape)  # type: ignore[arg-type]
        pictures = [signed(template, float(np.abs(shown).max())) for template in shown]
        kind, names = "units", [f"unit {j}" for j in range(len(shown))]
        if classes is not None and len(classes) == W.shape[1]:
            kind, names = "classes", list(classes[: len(shown)])
        title = f"What the first {len(shown)} {kind} look for"
    else:
        return None
    figures = [
        tag("figure", picture(pixels, f"Weights of {name}"), tag("figcaption", name))
        for pixels, name in zip(pictures, names, strict=True)
    ]
    scale = "Red speaks for it, blue against it; all pictures share one scale."
    if filters is not None and filters.shape[2] == 3:
        scale = "In the colours that each answers to; middle grey is zero."
    return tag(
        "div",
        tag("h3", title),
        tag("p", scale, class_="quiet"),
        tag("div", figures, class_="gallery small"),
        class_="card first",
    )


def _filters(W: np.ndarray) -> list[np.ndarray]:
    """Return pixels of the first 64 filters: colours where they see three, else red and blue."""
    shown = filter_pictures(W)[..., :MOST_FILTERS]
    bound = float(np.abs(shown).max()) or 1.0
    if shown.shape[2] == 3:
        colours = np.round(255 * (0.5 + 0.5 * shown / bound)).astype(np.uint8)
        return list(np.moveaxis(colours, -1, 0))
    return [signed(shown[..., 0, j], bound) for j in range(shown.shape[-1])]
