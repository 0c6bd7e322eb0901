"""``lamina inspect``: what is in a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lamina.cli import options
from lamina.cli.options import in_output, refuse
from lamina.errors import InputError

if TYPE_CHECKING:
    from lamina.formats.dataset import Dataset
    from lamina.inspection import Health


def inspect(
    model: options.ModelFile,
    data: Annotated[
        str | None,
        typer.Argument(
            help="Data with targets, to see activations, gradients and errors on; or an image to "
            "follow through a convolutional network, which needs --png."
        ),
    ] = None,
    target: options.TargetAsTrained = None,
    size: options.Size = None,
    skip_bad: options.SkipBad = False,
    series_id: options.SeriesIdAsTrained = None,
    time: options.TimeAsTrained = None,
    png: Annotated[
        Path | None,
        in_output(
            help="Draw into this file: the first layer's weights (class templates, units or "
            "filters), or the image's feature maps."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        in_output(help="Write a report into this file: a page of all there is to see."),
    ] = None,
) -> None:
    """Show a model's matrices, what they do to data, and verdicts: what to mend, and how."""
    from lamina.cli import reading as readings
    from lamina.cli import show
    from lamina.estimators.persistence import load
    from lamina.formats.image_folder import IMAGE_SUFFIXES
    from lamina.formats.trained_on import unseen

    told = {"target": target, "size": size, "skip_bad": skip_bad}
    told |= {"series_id": series_id, "time": time}
    image = Path(data) if data and data.lower().endswith(IMAGE_SUFFIXES) else None
    if image is not None and png is None:
        raise InputError(f"inspect expected --png FILE to draw {image} into, got none.")
    if data is None or image is not None:
        refuse("data with targets", "none", **told)
    show.check_outputs([model, data], png=png, html=html)
    estimator = load(model)
    shown, told_of_rows = None, ""
    if data is not None and image is None:
        _check_takes_rows(estimator)
        shown = readings.labelled(estimator, data, **told)
        shown, told_of_rows = unseen(estimator, shown)
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
    _print_matrices(estimator.weights_)
    if png is not None:
        _draw(estimator, image).savefig(png, dpi=150)
        show.line("picture", png)
    found = _judge(estimator, shown, told_of_rows) if hasattr(estimator, "network_") else None
    if html is not None:
        _report(estimator, shown, found, html)


def _print_matrices(weights: Any) -> None:
    from lamina.cli import show
    from lamina.inspection import matrix_figures

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
        for row in matrix_figures(weights)
    ]
    columns = ["matrix", "shape", "mean", "deviation", "‖W‖_F", "σ₁", "stable rank", "zeros"]
    show.console().print(show.table(columns, rows))


def _check_takes_rows(estimator: Any) -> None:
    """Raise for a model that is not shown rows with targets."""
    from lamina.cli import training

    training.check_predicts(estimator)
    name = type(estimator).__name__
    if name == "Forecaster" or not hasattr(estimator, "network_"):
        raise InputError(
            f"inspect expected a model of rows to show data to, got {name}. Leave the data out; "
            "lamina evaluate measures it."
        )


def _judge(estimator: Any, shown: Dataset | None, told_of_rows: str) -> Health:
    """Print what the layers do to data, where there are some, and the verdicts."""
    from lamina.cache import use_compilation_cache
    from lamina.cli import measure, show
    from lamina.inspection import health

    if shown is None:
        found = health(estimator)
    else:
        use_compilation_cache()
        found = health(estimator, shown.X, shown.y)
        show.line("data", f"{shown.source}: {len(shown):,} rows{told_of_rows}")
        show.line("result", measure.headline(estimator, shown))
        measure.details(estimator, shown)
        columns = ["layer", "mean", "spread", "dead", "saturated", "‖∂W‖", "‖ΔW‖/‖W‖", "gain back"]
        rows = [
            [layer.path, *(f"{x:.3g}" for x in (layer.mean, layer.spread)),
             *("" if x is None else f"{x:.0%}" for x in (layer.dead, layer.saturated)),
             *("" if x is None else f"{x:.2g}"
               for x in (layer.gradient_norm, layer.update_ratio, layer.backward_gain))]
            for layer in found.layers
        ]  # fmt: skip
        show.console().print(show.table(columns, rows))
    for verdict in found.verdicts:
        show.line(verdict.severity, verdict)
    if not found.verdicts:
        seen = "its matrices and history" if shown is None else "its matrices, history and data"
        show.line("verdicts", f"none: {seen} look healthy")
    return found


def _report(estimator: Any, shown: Dataset | None, found: Health | None, path: Path) -> None:
    from lamina.cli import show
    from lamina.inspection import report

    if shown is None:
        report(estimator, path=path, judged=found)
    else:
        told = {"data": shown.source, "names": shown.row_names, "judged": found}
        report(estimator, shown.X, shown.y, path, **told)
    show.line("report", f"{path} ({show.file_size(path)})")


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
