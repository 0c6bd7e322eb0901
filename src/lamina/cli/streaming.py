"""Data larger than memory, for the commands: opened as streams, and noticed where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.cli import data as sources
from lamina.cli import families, show, training
from lamina.cli.options import refuse
from lamina.errors import InputError, check_choice
from lamina.formats.class_folders import has_test_part
from lamina.formats.dataset import Dataset
from lamina.formats.encoders import encoder_for
from lamina.formats.streams import Stream, bytes_once_read, only_streams, stream

FAMILIES = ("linear", "mlp", "conv")


def fit(
    data: str,
    model: str | None,
    task: str,
    test: str | None,
    test_fraction: float,
    validation: str | None,
    settings: dict[str, Any],
    path: Path,
    **options: Any,
) -> None:
    """Train on a stream, measure on what was held out of it, and save.

    Parameters
    ----------
    data, model, task, test, test_fraction, validation
        As the options of `lamina fit`.
    settings : dict
        Constructor parameters.
    path : Path
        Where to save.
    **options
        ``target``, ``drop`` and ``size``, as `lamina.formats.stream` takes them.
    """
    family = check_choice("--model, with --stream,", model or "mlp", FAMILIES)
    train, held_out = _train_and_test(data, test, test_fraction, settings["random_state"], options)
    estimator = families.estimator_for(family, task, train.sample.y, settings)
    estimator.encoder = encoder_for(train)  # type: ignore
    validate = None if validation is None else opened(validation, **options)
    show.line("data", f"{train.source}: {len(train):,} rows to train on, read from disk as needed")
    seen = len(train.sample.X)
    show.line("encoder", f"learned from {seen:,} rows" + (" drawn at random" * (seen < len(train))))
    training.train(estimator, path, train, validation_data=validate)
    training.report_and_save(estimator, None if held_out is None else as_dataset(held_out), path)


def opened(path: str, part: str | None = None, **options: Any) -> Stream:
    """Return the stream of a path that must have targets."""
    target = options.pop("target", None)
    found = stream(path, target, **{k: v for k, v in options.items() if v}, part=part)
    if not found.has_targets:
        remedy = "" if found.kind != "table" else " Name its column: --target NAME."
        if found.kind == "array":
            remedy = " Put X.npy and y.npy into a folder, and name that."
        raise InputError(f"{path} expected a target for each row, got inputs only.{remedy}")
    return found


def as_dataset(data: Stream, *, targets: bool = True) -> Dataset:
    """Return a data set whose inputs stay on disk; its targets are in memory."""
    X: Any = data
    y = np.concatenate([y for y, _ in data.targets()]) if targets and data.has_targets else None
    return Dataset(X, y, data.kind, data.source, getattr(data, "row_names", ()))


def for_model(estimator: Any, path: str, target: str | None, size: str | None) -> Stream:
    """Return the stream that a model is to be used on; a table's columns are the model's.

    The test part of what has one.
    """
    columns = getattr(getattr(estimator, "encoder_", None), "columns", None)
    named = columns is not None and target is not None
    found = stream(
        path,
        target if named else None,
        size=sources.size_for(estimator, path, size),
        part="test" if Path(path).is_dir() and has_test_part(path) else None,
    )
    if found.kind == "table" and columns is None:
        raise InputError(f"{path} expected what the model was trained on, got a table.")
    return found


def notice(path: str, where: str = "--stream") -> None:
    """Say that ``--stream`` exists, where a source is larger than the memory that is free."""
    if only_streams(path):
        raise InputError(
            f"{path} expected {where} beside it: a folder of Parquet files or of arrays is read "
            f"piece by piece. Add {where}."
        )
    needed, free = bytes_once_read(path), training.free_memory()
    if needed <= free:
        return
    how = f"{where} reads it piece by piece instead."
    if path.lower().endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
        how = f"Written as Parquet it can be read piece by piece, with {where}."
    show.warning(
        f"{path} takes about {needed / 2**30:.1f} GiB of memory once it is read, "
        f"{free / 2**30:.1f} GiB are free. {how}"
    )


def _train_and_test(
    data: str, test: str | None, test_fraction: float, seed: int, options: dict[str, Any]
) -> tuple[Stream, Stream | None]:
    """Return what to train on and to test on: given, the folder's own, or pieces held out."""
    if test is not None:
        return opened(data, **options), opened(test, **options)
    if Path(data).is_dir() and has_test_part(data):
        train, held_out = (opened(data, part, **options) for part in ("train", "test"))
        return train, held_out
    train = opened(data, **options)
    return (train, None) if test_fraction == 0 else train.split(test_fraction, seed)


def refuse_others(options: dict[str, Any], but: Sequence[str] = ()) -> None:
    """Raise for an option that has no use beside ``--stream``."""
    given = {name: value for name, value in options.items() if name not in but}
    refuse("rows read whole", "--stream", **given)
