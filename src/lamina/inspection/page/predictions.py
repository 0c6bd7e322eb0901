"""The page's part on data: what is confused, how far off values are, and the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.inspection.diagrams import draw_calibration, draw_predicted, draw_residuals, reduced
from lamina.inspection.outcomes import Classified, Estimated, Labelled, Outcome, per_class
from lamina.inspection.page.images import figure_as_svg, picture, signed
from lamina.inspection.page.markup import Markup, join, tag
from lamina.inspection.page.samples import sample
from lamina.inspection.page.tables import Number, confusion, table

MOST_CLASSES = 25
"""Classes whose confusion is a table of numbers; of more it is a picture."""

MOST_PAIRS, MOST_TARGETS = 12, 6


def headline(outcome: Outcome) -> dict[str, str]:
    """Return the figures that matter most, by name."""
    if isinstance(outcome, Estimated):
        rmse = np.sqrt(np.mean(outcome.errors**2, axis=0))
        r2 = outcome.r2.mean()
        figures = {"R²": f"{r2:.4f}"} if np.isfinite(r2) else {}
        if len(rmse) == 1:
            figures["root mean square error"] = f"{rmse[0]:.4g}"
        return figures
    figures = {"accuracy": f"{outcome.accuracy:.2%}"}
    calibrated = outcome.calibration
    if calibrated is not None:
        figures["calibration error"] = f"{calibrated.error:.1%}"
    return figures


def predictions(outcome: Outcome) -> Markup:
    """Return what data shows of a model: by class, or by target."""
    if isinstance(outcome, Estimated):
        return _values(outcome)
    if isinstance(outcome, Labelled):
        by_label = _classes(outcome.classes, outcome.true, outcome.found)
        return join(by_label, tag("div", _calibration(outcome), class_="cards"))
    names, K = outcome.classes, len(outcome.classes)
    truth, found = np.eye(K, dtype=bool)[outcome.true], np.eye(K, dtype=bool)[outcome.found]
    if K > MOST_CLASSES:
        shown = join(_many(outcome), _calibration(outcome))
        return join(tag("div", shown, class_="cards"), _classes(names, truth, found))
    shown = join(confusion(outcome.confusion, names), _calibration(outcome))
    return join(tag("div", shown, class_="beside"), _classes(names, truth, found))


def _classes(names: Sequence[str], true: np.ndarray, found: np.ndarray) -> Markup:
    rows = [
        [name, Number(p, ".3f"), Number(r, ".3f"), Number(f, ".3f"), Number(n, ",d")]
        for name, (p, r, f, n) in zip(names, per_class(true, found), strict=True)
    ]
    return table("By class", ["class", "precision", "recall", "F₁", "rows"], rows)


def _many(outcome: Classified) -> Markup:
    """Return a picture of many classes' confusion, and the pairs most often confused."""
    counts = outcome.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares[np.arange(len(shares)), np.arange(len(shares))] *= -1
    image = picture(signed(reduced(shares, 400)[0], 1.0), "Confusion matrix")
    note = "True classes down, predicted across: blue is right, red is wrong."
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [divmod(int(place), len(counts)) for place in order]
    rows = [
        [outcome.classes[i], outcome.classes[j], Number(int(wrong[i, j]), ",d")]
        for i, j in pairs
        if wrong[i, j]
    ]
    listed = table("Most often confused", ["true", "predicted", "rows"], rows) if rows else None
    shown = tag(
        "figure", tag("figcaption", "Confusion matrix"), image, tag("p", note, class_="note"),
        class_="card",
    )  # fmt: skip
    return join(shown, tag("div", listed, class_="card"))


def _calibration(outcome: Classified | Labelled) -> Markup | None:
    found = outcome.calibration
    if found is None:
        return None
    tendency = "surer than it is right"
    if not found.overconfident:
        tendency = "right more often than it claims"
    note = (
        f"A point below the line: less often right than claimed. The expected calibration error "
        f"is {found.error:.1%}; on average the model is {tendency}."
    )
    return _figure(draw_calibration(found), "Calibration", note)


def _figure(figure: Any, title: str, note: str | None = None) -> Markup:
    return tag(
        "figure",
        tag("figcaption", title),
        figure_as_svg(figure, title),
        tag("p", note, class_="note") if note else None,
        class_="card",
    )


def _values(outcome: Estimated) -> Markup:
    errors, r2 = outcome.errors, outcome.r2
    rows = [
        [
            name,
            Number(float(np.sqrt(np.mean(errors[:, j] ** 2)))),
            Number(float(np.mean(np.abs(errors[:, j])))),
            Number(float(np.median(np.abs(errors[:, j])))),
            Number(float(r2[j]) if np.isfinite(r2[j]) else None, ".4f"),
        ]
        for j, name in enumerate(outcome.names)
    ]
    columns = ["target", "root mean square error", "mean |error|", "median |error|", "R²"]
    figures = []
    for j, name in enumerate(outcome.names[:MOST_TARGETS]):
        y, predicted = outcome.true[:, j], outcome.found[:, j]
        figures.append(_figure(draw_predicted(y, predicted), f"{name}: predicted against true"))
        figures.append(_figure(draw_residuals(y, predicted), f"{name}: errors"))
    return join(table("By target", columns, rows), tag("div", figures, class_="cards"))


def order(outcome: Outcome) -> str:
    """Return a sentence that says which mistakes are the worst."""
    if isinstance(outcome, Estimated):
        return "The greatest errors, in spreads of their target."
    if isinstance(outcome, Labelled):
        return "Those with most labels wrong."
    if outcome.probabilities is None:
        return "The first of them; this loss gives no probabilities to sort them by."
    return "Those whose true class was thought least likely."


def mistakes(
    model: Any, X: Any, outcome: Outcome, count: int, names: Sequence[str]
) -> Markup | None:
    """Return the worst mistakes, each with what was said and what is true; None without any.

    Parameters
    ----------
    model : estimator
        See `samples.sample`.
    X : n samples
        As the model takes them.
    outcome : Outcome
        Of these samples.
    count : int
        At most so many.
    names : sequence of n str
        What rows are called; none for their numbers.
    """
    shown = []
    for row in outcome.worst(count).tolist():
        name = str(names[row]) if len(names) else f"row {row}"
        seen = sample(model, X, row, name)
        caption = tag("figcaption", _said(outcome, row), tag("br"), name)
        shown.append((seen, caption))
    if not shown:
        return None
    pictures = shown[0][0].startswith("<img")
    figures = [tag("figure", seen, caption) for seen, caption in shown]
    if not pictures:
        figures = [tag("figure", caption, seen) for seen, caption in shown]
    return tag("div", figures, class_="gallery" if pictures else "gallery rows")


def _said(outcome: Outcome, row: int) -> Markup:
    if isinstance(outcome, Classified):
        true, found = outcome.true[row], outcome.found[row]
        sure = ""
        if outcome.probabilities is not None:
            p = outcome.probabilities[row]
            sure = f", {p[found]:.0%} sure ({p[true]:.0%} for {outcome.classes[true]})"
        return join(
            tag("strong", f"{outcome.classes[true]} taken for {outcome.classes[found]}"), sure
        )
    if isinstance(outcome, Labelled):
        true, found, names = outcome.true[row], outcome.found[row], np.array(outcome.classes)
        kinds = {"missed": names[true & ~found], "invented": names[found & ~true]}
        parts = [f"{kind} {', '.join(which)}" for kind, which in kinds.items() if len(which)]
        return tag("strong", "; ".join(parts))
    spread = np.maximum(outcome.true.std(axis=0), 1e-300)
    j = int(np.argmax(np.abs(outcome.errors[row] / spread)))
    said = f"{outcome.found[row, j]:.4g} instead of {outcome.true[row, j]:.4g}"
    which = f" ({outcome.names[j]})" if len(outcome.names) > 1 else ""
    return tag("strong", said + which)
