"""``lamina predict``: a saved model on new data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamina.errors import InputError


def predict(
    model: Annotated[Path, typer.Argument(help="A model file from lamina fit.")],
    data: Annotated[
        str, typer.Argument(help="What to predict; columns beyond the model's are ignored.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="A .csv, .tsv or .parquet file; standard output if left out."
        ),
    ] = None,
    proba: Annotated[bool, typer.Option(help="Add each class's probability.")] = False,
    size: Annotated[
        str | None, typer.Option(help="Resize a folder's images: HEIGHTxWIDTH.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option(help="Skip unreadable images, and count them.")] = False,
    stream: Annotated[
        bool, typer.Option(help="Read the data piece by piece, as in lamina fit --stream.")
    ] = False,
    series_id: Annotated[
        str | None,
        typer.Option(help="The column of a row's series; as in training if left out."),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="The column of a row's time; as in training if left out.")
    ] = None,
    unknown: Annotated[
        str | None,
        typer.Option(help="Words never seen in training: error, or replace; as in training."),
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Steps to forecast, at most those trained for.")
    ] = None,
) -> None:
    """Predict with a saved model, a row of output for each row of input."""
    import numpy as np

    from lamina.cache import use_compilation_cache
    from lamina.cli import reading as readings
    from lamina.cli import show, streaming, training
    from lamina.cli.data import size_for
    from lamina.estimators.factorization import Factorization
    from lamina.estimators.persistence import load
    from lamina.formats.read import has_test_part, read
    from lamina.formats.tables import write_predictions

    show.warnings_as_lines()
    estimator = load(model)
    use_compilation_cache()
    if isinstance(estimator, Factorization):
        from lamina.cli import recommending

        training.refuse(
            "a model of rows", "one of users and items", proba=proba, size=size,
            skip_bad=skip_bad, series_id=series_id, time=time, unknown=unknown, horizon=horizon,
        )  # fmt: skip
        recommending.predict(estimator, data, out)
        return
    if type(estimator).__name__ == "Forecaster":
        from lamina.cli import forecasting

        training.refuse(
            "a model of rows", "one that forecasts series", proba=proba, size=size,
            skip_bad=skip_bad, series_id=series_id, time=time, unknown=unknown,
        )  # fmt: skip
        forecasting.predict(estimator, data, out, horizon)
        return
    training.refuse("a model that forecasts", type(estimator).__name__, horizon=horizon)
    training.check_predicts(estimator)
    readings.treat_unknown(estimator, unknown)
    unseen: dict[str, int] = {}
    if stream:
        streaming.refuse_others({"skip_bad": skip_bad, "series_id": series_id, "time": time})
        dataset = streaming.as_dataset(
            streaming.for_model(estimator, data, None, size), targets=False
        )
    else:
        streaming.notice(data)
        dataset = read(
            data,
            part="test" if has_test_part(data) else None,
            size=size_for(estimator, data, size),
            skip_bad=skip_bad,
            reading=readings.as_trained(estimator, data, series_id, time),
        )
        dataset = readings.as_model_takes(estimator, dataset)
        unseen = getattr(getattr(estimator, "encoder_", None), "unseen", lambda X: {})(dataset.X)
    for column, count in unseen.items():
        if count:
            print_to_stderr(f"column {column!r}: {count} rows hold a value not seen in training.")
    columns = {}
    if dataset.row_names:
        title = "file" if dataset.reading is None else dataset.reading.row_title
        columns[title] = np.array(dataset.row_names)
    predicted = estimator.predict(dataset.X)
    names = estimator.target_names_ or ("prediction",)
    if predicted.ndim == 1:
        columns[names[0]] = predicted
    else:
        labels = names if len(names) == predicted.shape[1] else range(predicted.shape[1])
        columns |= {str(label): values for label, values in zip(labels, predicted.T, strict=True)}
    if proba:
        if not hasattr(estimator, "predict_proba"):
            raise InputError(
                f"--proba expected a classifier with probabilities, got {type(estimator).__name__} "
                f"with loss {estimator.loss!r}. Leave --proba out."
            )
        probabilities = estimator.predict_proba(dataset.X)
        for label, values in zip(estimator.classes_, probabilities.T, strict=True):
            columns[f"p({label})"] = values
    if out is None:
        import pandas as pd

        print(pd.DataFrame(columns).to_csv(index=False), end="")
        return
    write_predictions(out, columns)
    show.line("saved", f"{out}: {len(predicted):,} predictions of {', '.join(names)}")


def print_to_stderr(text: str) -> None:
    """Print a warning."""
    import sys

    print(f"lamina: warning: {text}", file=sys.stderr)
