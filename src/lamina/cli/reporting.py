"""A model's report from the command line: the data read as in training, the page written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamina.cli import reading as readings
from lamina.cli import show


def write(estimator: Any, path: Path, data: str | None = None, **options: Any) -> None:
    """Write the report of a model into a file, and say where it is.

    Parameters
    ----------
    estimator : NetworkEstimator
        A fitted model.
    path : Path
        The HTML file.
    data : str, optional
        What to show the model; without it the page shows what the model alone tells.
    **options
        As `reading.labelled` takes them.
    """
    from lamina.cache import use_compilation_cache
    from lamina.inspection import report

    use_compilation_cache()
    if data is None:
        report(estimator, path=path)
    else:
        dataset = readings.labelled(estimator, data, **options)
        report(estimator, dataset.X, dataset.y, path, data=data, names=dataset.row_names)
    show.line("report", f"{path} ({show.file_size(path)})")
