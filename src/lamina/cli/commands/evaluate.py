"""``lamina evaluate``: a saved model against data with known targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamina.cli import options
from lamina.cli.options import in_output, refuse


def evaluate(
    model: options.ModelFile,
    data: Annotated[str, typer.Argument(help="Data with targets; the test part where it has one.")],
    target: options.TargetAsTrained = None,
    size: options.Size = None,
    skip_bad: options.SkipBad = False,
    stream: options.Stream = False,
    series_id: options.SeriesIdAsTrained = None,
    time: options.TimeAsTrained = None,
    png: Annotated[Path | None, in_output(help="Draw the confusion matrix into this file.")] = None,
    at: Annotated[
        str | None,
        typer.Option(help="For models of users and items: how long lists are measured, 10,20,50."),
    ] = None,
) -> None:
    """Measure a saved model: loss and accuracy, by class; or errors and R²."""
    from lamina.cache import use_compilation_cache
    from lamina.cli import measure, show, streaming, training
    from lamina.cli import reading as readings
    from lamina.estimators.factorization import Factorization
    from lamina.estimators.persistence import load
    from lamina.formats.trained_on import unseen

    show.check_outputs([model, data], png=png)
    estimator = load(model)
    use_compilation_cache()
    of_rows = {"target": target, "size": size, "skip_bad": skip_bad, "stream": stream, "png": png}
    of_rows |= {"series_id": series_id, "time": time}
    if isinstance(estimator, Factorization):
        from lamina.cli import pairs

        refuse("a model of rows", "one of users and items", **of_rows)
        pairs.evaluate(estimator, model, data, pairs.positions(at))
        return
    refuse("a model of users and items", type(estimator).__name__, at=at)
    if type(estimator).__name__ == "Forecaster":
        from lamina.cli import forecasting

        refuse("a model of rows", "one that forecasts series", **of_rows)
        forecasting.evaluate(estimator, model, data)
        return
    if type(estimator).__name__ == "CharacterModel":
        from lamina.cli import language

        refuse("a model of rows", "one that writes texts", **of_rows)
        language.evaluate(estimator, model, data)
        return
    training.check_predicts(estimator)
    told = ""
    if stream:
        streaming.refuse_others({"skip_bad": skip_bad, "series_id": series_id, "time": time})
        target = target or readings.target_of(estimator)
        dataset = streaming.as_dataset(streaming.for_model(estimator, data, target, size))
        figures = estimator.evaluate(dataset.X)
    else:
        streaming.notice(data)
        dataset = readings.labelled(
            estimator, data, target=target, size=size, skip_bad=skip_bad, series_id=series_id,
            time=time,
        )  # fmt: skip
        dataset, told = unseen(estimator, dataset)
        figures = estimator.evaluate(dataset.X, dataset.y)
    show.line("model", f"{model}: {type(estimator).__name__}")
    show.line("data", f"{dataset.source}: {len(dataset):,} rows{told}")
    show.line("result", measure.headline(estimator, dataset))
    show.line("loss", f"{figures['loss']:.4g}")
    measure.details(estimator, dataset)
    if png is not None:
        from lamina.inspection import draw_confusion

        confusion = measure.confusion_of(estimator, dataset)
        draw_confusion(confusion, estimator.classes_.tolist()).savefig(png, dpi=150)
        show.line("picture", png)
