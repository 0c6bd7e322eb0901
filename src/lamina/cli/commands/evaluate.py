"""``lamina evaluate``: a saved model against data with known targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model file from lamina fit.")],
    data: Annotated[str, typer.Argument(help="Data with targets; the test part where it has one.")],
    target: Annotated[
        str | None, typer.Option(help="The target column; the one trained on if left out.")
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
    png: Annotated[
        Path | None, typer.Option(help="Draw the confusion matrix into this file.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="For models of users and items: how long lists are measured, 10,20,50."),
    ] = None,
) -> None:
    """Measure a saved model: loss and accuracy, by class; or errors and R²."""
    from lamina.cache import use_compilation_cache
    from lamina.cli import measure, show, training
    from lamina.cli import reading as readings
    from lamina.estimators.factorization import Factorization
    from lamina.estimators.persistence import load

    show.warnings_as_lines()
    estimator = load(model)
    use_compilation_cache()
    if isinstance(estimator, Factorization):
        from lamina.cli import recommending

        training.refuse(
            "a model of rows", "one of users and items", target=target, size=size,
            skip_bad=skip_bad, png=png, series_id=series_id, time=time,
        )  # fmt: skip
        recommending.evaluate(estimator, model, data, recommending.positions(at))
        return
    training.refuse("a model of users and items", type(estimator).__name__, at=at)
    if type(estimator).__name__ == "Forecaster":
        from lamina.cli import forecasting

        training.refuse(
            "a model of rows", "one that forecasts series", target=target, size=size,
            skip_bad=skip_bad, png=png, series_id=series_id, time=time,
        )  # fmt: skip
        forecasting.evaluate(estimator, model, data)
        return
    training.check_predicts(estimator)
    dataset = readings.labelled(
        estimator, data, target=target, size=size, skip_bad=skip_bad, series_id=series_id, time=time
    )
    figures = estimator.evaluate(dataset.X, dataset.y)
    show.line("model", f"{model}: {type(estimator).__name__}")
    show.line("data", f"{dataset.source}: {len(dataset):,} rows")
    show.line("result", measure.headline(estimator, dataset))
    show.line("loss", f"{figures['loss']:.4g}")
    measure.details(estimator, dataset)
    if png is not None:
        from lamina.inspection import draw_confusion

        confusion = measure.confusion_of(estimator, dataset)
        draw_confusion(confusion, estimator.classes_.tolist()).savefig(png, dpi=150)
        show.line("picture", png)
