"""``lamina predict``: a saved model on new data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lamina.cli import options
from lamina.cli.options import in_data, refuse
from lamina.errors import InputError

if TYPE_CHECKING:
    from lamina.formats.dataset import Dataset

UNNAMED = "prediction"


def predict(
    model: options.ModelFile,
    data: Annotated[
        str, typer.Argument(help="What to predict; columns beyond the model's are ignored.")
    ],
    out: options.TableFile = None,
    proba: Annotated[bool, typer.Option(help="Add each class's probability.")] = False,
    size: options.Size = None,
    skip_bad: options.SkipBad = False,
    stream: options.Stream = False,
    series_id: options.SeriesIdAsTrained = None,
    time: options.TimeAsTrained = None,
    unknown: Annotated[
        str | None,
        in_data(help="Words never seen in training: error, or replace; as in training."),
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Steps to forecast, at most those trained for.")
    ] = None,
) -> None:
    """Predict with a saved model, a row of output for each row of input."""
    from lamina.cache import use_compilation_cache
    from lamina.cli import reading as readings
    from lamina.cli import show, streaming, training
    from lamina.cli.data import size_for
    from lamina.estimators.factorization import Factorization
    from lamina.estimators.persistence import load
    from lamina.formats.read import has_test_part, read

    show.check_outputs([model, data], out=out)
    estimator = load(model)
    use_compilation_cache()
    of_rows = {"proba": proba, "size": size, "skip_bad": skip_bad, "stream": stream}
    of_rows |= {"series_id": series_id, "time": time, "unknown": unknown}
    if isinstance(estimator, Factorization):
        from lamina.cli import recommending

        refuse("a model of rows", "one of users and items", **of_rows, horizon=horizon)
        recommending.predict(estimator, data, out)
        return
    if type(estimator).__name__ == "Forecaster":
        from lamina.cli import forecasting

        refuse("a model of rows", "one that forecasts series", **of_rows)
        forecasting.predict(estimator, data, out, horizon)
        return
    refuse("a model that forecasts", type(estimator).__name__, horizon=horizon)
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
            show.warning(f"column {column!r}: {count} rows hold a value not seen in training.")
    names = ", ".join(estimator.target_names_ or (UNNAMED,))
    columns = _columns(estimator, dataset, proba)
    show.predictions(columns, out, f"{len(dataset):,} predictions of {names}")


def _columns(estimator: Any, dataset: Dataset, proba: bool) -> dict[str, Any]:
    """Return what is written: what names a row, predictions, and classes' probabilities."""
    import numpy as np

    columns: dict[str, Any] = {}
    if dataset.row_names:
        title = "file" if dataset.reading is None else dataset.reading.row_title
        columns[title] = np.array(dataset.row_names)
    predicted = estimator.predict(dataset.X)
    names = estimator.target_names_ or (UNNAMED,)
    if predicted.ndim == 1:
        columns[names[0]] = predicted
    else:
        labels = names if len(names) == predicted.shape[1] else range(predicted.shape[1])
        columns |= {str(label): values for label, values in zip(labels, predicted.T, strict=True)}
    if not proba:
        return columns
    if not hasattr(estimator, "predict_proba"):
        raise InputError(
            f"--proba expected a classifier with probabilities, got {type(estimator).__name__} "
            f"with loss {estimator.loss!r}. Leave --proba out."
        )
    probabilities = estimator.predict_proba(dataset.X)
    for label, values in zip(estimator.classes_, probabilities.T, strict=True):
        columns[f"p({label})"] = values
    return columns
