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
) -> None:
    """Predict with a saved model, a row of output for each row of input."""
    import numpy as np

    from lamina.cache import use_compilation_cache
    from lamina.cli import show
    from lamina.cli.data import size_for
    from lamina.estimators.persistence import load
    from lamina.formats.read import has_test_part, read
    from lamina.formats.tables import write_predictions

    show.warnings_as_lines()
    estimator = load(model)
    use_compilation_cache()
    if type(estimator).__name__ == "Forecaster":
        from lamina.cli import forecasting

        forecasting.refuse(proba=proba, size=size, skip_bad=skip_bad)
        forecasting.predict(estimator, data, out)
        return
    part = "test" if has_test_part(data) else None
    dataset = read(data, part=part, size=size_for(estimator, data, size), skip_bad=skip_bad)
    unseen = getattr(getattr(estimator, "encoder_", None), "unseen", lambda X: {})(dataset.X)
    for column, count in unseen.items():
        if count:
            print_to_stderr(f"column {column!r}: {count} rows hold a value not seen in training.")
    columns = {}
    if dataset.row_names:
        columns["file"] = np.array(dataset.row_names)
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
    show.line("saved", f"{out}: {len(dataset):,} predictions of {', '.join(names)}")


def print_to_stderr(text: str) -> None:
    """Print a warning."""
    import sys

    print(f"lamina: warning: {text}", file=sys.stderr)
