"""``lamina inspect``: what is in a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lamina.errors import InputError


def inspect(
    model: Annotated[Path, typer.Argument(help="A model file from lamina fit.")],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Data with targets to show the model, with --html; or an image to follow through "
            "a convolutional network, with --png."
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            help="Draw into this file: the first layer's weights (class templates, units or "
            "filters), or the image's feature maps."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a report into this file: a page of all there is to see."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The data's target column; the one trained on if left out.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Resize a folder's images: HEIGHTxWIDTH.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option(help="Skip unreadable images, and count them.")] = False,
    series_id: Annotated[
        str | None,
        typer.Option(help="The column of a row's series; as in training if left out."),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="The column of a row's time; as in training if left out.")
    ] = None,
) -> None:
    """Show a model's matrices: shapes, norms, rank, zeros; and how it was trained."""
    from lamina.cli import show
    from lamina.estimators.persistence import load
    from lamina.inspection import matrix_figures

    show.warnings_as_lines()
    if data is not None and (png is None) == (html is None):
        got = "neither" if png is None else "both"
        raise InputError(
            f"inspect expected --png FILE to draw {data} into if it is an image, or --html FILE if "
            f"it is data with targets; got {got}."
        )
    estimator = load(model)
    console = show.console()
    show.line("model", repr(estimator))
    if hasattr(estimator, "classes_"):
        show.line("classes", ", ".join(map(str, estimator.classes_[:20])))
    names = getattr(estimator, "target_names_", None)
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
        _draw(estimator, None if data is None else Path(data)).savefig(png, dpi=150)
        show.line("picture", png)
    if html is not None:
        from lamina.cli import reporting

        reporting.write(
            estimator, html, data, target=target, size=size, skip_bad=skip_bad,
            series_id=series_id, time=time,
        )  # fmt: skip


def _draw(estimator: Any, image: Path | None) -> Any:
    from lamina.inspection import draw_filters, draw_templates, first_filters

    if image is not None:
        return _draw_maps(estimator, image)
    filters = first_filters(estimator.weights_)
    if filters is not None:
        return draw_filters(filters)
    encoder = getattr(estimator, "encoder_", None)
    W = next(iter(estimator.weights_.values()))["W"]
    classes = getattr(estimator, "classes_", None)
    named = classes is not None and W.shape[1] == len(classes)
    return draw_templates(
        W,
        names=classes.tolist() if named and classes is not None else None,
        image_shape=getattr(encoder, "image_shape", None),
    )


def _draw_maps(estimator: Any, image: Path) -> Any:
    from lamina.cli.data import size_for
    from lamina.formats.read import read
    from lamina.inspection import draw_feature_maps, feature_maps

    encoder = getattr(estimator, "encoder_", None)
    if getattr(encoder, "image_shape", None) is None:
        raise InputError(
            f"inspect expected a model of images to show {image} to, got a model without their "
            "encoder. Train it on a folder of images, or with encoder=ImageEncoder()."
        )
    pixels = read(image, size=size_for(estimator, image, None)).X
    X = estimator.encoder_.transform(pixels[:1]).reshape(1, *estimator.input_shape_)
    network, weights, statistics = estimator.network_, estimator.weights_, estimator.statistics_
    return draw_feature_maps(X[0], list(feature_maps(network, weights, statistics, X[0])))
