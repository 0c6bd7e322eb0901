"""The page's part on training: verdicts, learning curves, gradients by layer and epoch, cost."""

from __future__ import annotations

from typing import Any

from lamina.inspection.diagrams import draw_gradient_flow, draw_watched
from lamina.inspection.page.images import figure_as_svg
from lamina.inspection.page.markup import Markup, join, tag
from lamina.inspection.page.matrices import link
from lamina.inspection.page.tables import Number, table
from lamina.inspection.pictures import draw_history, figures_of
from lamina.inspection.plan import Plan
from lamina.inspection.spectra import Spectrum
from lamina.inspection.verdicts import PROBLEM, Health


def verdicts(found: Health, known: list[Spectrum]) -> Markup:
    """Return a card for each verdict, or the good news."""
    if not found.verdicts:
        badge = tag("p", "Healthy", class_="badge")
        told = tag("p", "Nothing was found that needs mending.")
        return tag("div", badge, told, class_="card verdict healthy")
    cards = []
    for verdict in found.verdicts:
        grave = "problem" if verdict.severity == PROBLEM else "notice"
        figure = (
            f"{_sentence(verdict.measured)}: {verdict.figure:.3g}; healthy is {verdict.healthy}."
        )
        cards.append(
            tag(
                "article",
                tag("p", grave, class_="badge"),
                tag("h3", f"{_sentence(verdict.fault)} in ", link(verdict.where, known)),
                tag("p", figure),
                tag("p", tag("strong", "What to change: "), verdict.remedy),
                class_=f"card verdict {grave}",
            )
        )
    return tag("div", cards, class_="cards")


def _sentence(text: str) -> str:
    """Return a phrase with a capital, and without what stands at its end to go on."""
    return f"{text[:1].upper()}{text[1:].rstrip(' ,:')}"


def learning(history: dict[str, list[float]]) -> Markup:
    """Return a curve for each figure of the history, and for the learning rate if it changed."""
    names = figures_of(history)
    if len(set(history.get("learning_rate", ()))) > 1:
        names.append("learning_rate")
    return tag("div", [_curve(history, name) for name in names], class_="cards")


def _curve(history: dict[str, list[float]], name: str) -> Markup:
    title = name.replace("_", " ")
    figure = figure_as_svg(draw_history(history, [name]), f"{title} by epoch")
    return _card(_sentence(title), figure)


def gradients(
    found: Health, watched: dict[str, Any] | None, history: dict[str, list[float]]
) -> Markup | None:
    """Return how the signal flows back: by layer now, and by epoch where it was watched."""
    norms = {layer.path: layer.gradient_norm for layer in found.layers if layer.weight_norm}
    figures = []
    if any(norm is not None for norm in norms.values()):
        flow = figure_as_svg(draw_gradient_flow(norms), "Norm of the gradient by layer")
        figures.append(_card("By layer, after training", flow))
    if history.get("gradient_norm"):
        figures.append(_curve(history, "gradient_norm"))
    if watched is not None and watched["epoch"]:
        for name, title in (
            ("gradient_norm", "Norm of the gradient, by epoch"),
            ("update_ratio", "Size of a step against the matrix, by epoch"),
        ):
            figures.append(_card(title, figure_as_svg(draw_watched(watched, name), title)))
    if not figures and not found.layers:
        return None
    columns = [
        "layer", "mean", "spread", "dead units", "saturated", "‖dW‖", "‖W‖", "‖ΔW‖ / ‖W‖",
        "backward gain",
    ]  # fmt: skip
    rows = [
        [
            tag("code", layer.path),
            Number(layer.mean, "+.3g"),
            Number(layer.spread, ".3g"),
            Number(layer.dead, ".1%"),
            Number(layer.saturated, ".1%"),
            Number(layer.gradient_norm, ".3g"),
            Number(layer.weight_norm, ".4g"),
            Number(layer.update_ratio, ".2g"),
            Number(layer.backward_gain, ".3g"),
        ]
        for layer in found.layers
    ]
    listed = table("Layers, from the input to the output", columns, rows) if rows else None
    return join(listed, tag("div", figures, class_="cards") if figures else None)


def _card(title: str, figure: Markup) -> Markup:
    return tag("figure", tag("figcaption", title), figure, class_="card")


def cost(found: Plan) -> Markup:
    """Return what a training step of a batch costs, by layer, and what is needed in all."""
    rows = [
        [
            tag("code", layer.path),
            layer.product,
            Number(layer.parameters, ",d"),
            Number(layer.forward / 1e6, ",.2f"),
            Number(layer.backward / 1e6, ",.2f"),
            Number(layer.saved / 1e6, ",.2f"),
        ]
        for layer in found.layers
        if layer.parameters or layer.saved
    ]
    columns = ["layer", "product", "weights", "Mflop forward", "Mflop backward", "MB saved"]
    listed = table(f"A training step of {found.batch_size:,} samples", columns, rows)
    told = (
        f"{found.parameters:,} weights, {found.weight_bytes / 1e6:,.2f} MB; "
        f"{found.step / 1e9:,.3f} Gflop a step, {found.forward / found.batch_size / 1e6:,.3f} "
        f"Mflop a prediction; {found.training_bytes / 1e6:,.1f} MB of memory beside the data."
    )
    return join(listed, tag("p", told))
