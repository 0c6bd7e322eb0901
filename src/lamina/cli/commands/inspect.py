"""``lamina inspect``: what is in a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def inspect(
    model: Annotated[Path, typer.Argument(help="A model file from lamina fit.")],
    png: Annotated[
        Path | None,
        typer.Option(
            help="Draw the first layer's weights, as class templates or units, into this file."
        ),
    ] = None,
) -> None:
    """Show a model's matrices: shapes, norms, rank, zeros; and how it was trained."""
    from lamina.cli import show
    from lamina.estimators.persistence import load
    from lamina.inspection import matrix_figures

    show.warnings_as_lines()
    estimator = load(model)
    console = show.console()
    show.line("model", repr(estimator))
    if hasattr(estimator, "classes_"):
        show.line("classes", ", ".join(map(str, estimator.classes_[:20])))
    names = estimator.target_names_
    if names:
        show.line("target", ", ".join(names))
    history = estimator.history_
    if history.get("loss"):
        last = {name: values[-1] for name, values in history.items() if name != "epoch"}
        show.line("trained", f"{len(history['loss'])} epochs, loss {last['loss']:.4g}")
    rows = [
        [
            row.path,
            "×".join(map(str, row.shape)),
            f"{row.mean:+.4f}",
            f"{row.deviation:.4f}",
            f"{row.frobenius:.3f}",
            "" if row.spectral is None else f"{row.spectral:.3f}",
            "" if row.stable_rank is None else f"{row.stable_rank:.1f}",
            f"{row.zeros:.1%}",
        ]
        for row in matrix_figures(estimator.weights_)
    ]
    columns = ["matrix", "shape", "mean", "deviation", "‖W‖_F", "σ₁", "stable rank", "zeros"]
    console.print(show.table(columns, rows))
    if png is not None:
        _draw(estimator, png)
        show.line("picture", png)


def _draw(estimator: Any, png: Path) -> None:
    from lamina.inspection import draw_templates

    encoder = getattr(estimator, "encoder_", None)
    W = next(iter(estimator.weights_.values()))["W"]
    classes = getattr(estimator, "classes_", None)
    named = classes is not None and W.shape[1] == len(classes)
    figure = draw_templates(
        W,
        names=classes.tolist() if named and classes is not None else None,
        image_shape=getattr(encoder, "image_shape", None),
    )
    figure.savefig(png, dpi=150)
