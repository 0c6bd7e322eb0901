"""Data for the commands: read, split, and tell classes from values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.errors import InputError
from lamina.formats.dataset import Dataset
from lamina.formats.read import can_read_as, has_test_part, is_images, read
from lamina.formats.readings import LongTable, TextColumn
from lamina.formats.trained_on import TrainedOn, split

if TYPE_CHECKING:
    from pathlib import Path

MOST_INTEGER_CLASSES = 20


class Split(NamedTuple):
    """What to train on and to test on, and by what the data that both are from are known again."""

    train: Dataset
    test: Dataset | None
    origin: TrainedOn


def read_labelled(path: str | Path, target: str | None, **options: Any) -> Dataset:
    """Read data that must have targets; a table needs to be told which column."""
    reading = options.get("reading")
    if target is None and isinstance(reading, LongTable) and can_read_as(path, reading):
        raise InputError(
            f"{path} expected a target for each series, got none named. Name its column: "
            f"--target NAME."
        )
    dataset = read(path, target=target, **options)
    if dataset.y is None:
        remedy = "Name its column: --target NAME." if dataset.kind == "table" else ""
        if dataset.kind == "table":
            remedy += f" Columns: {', '.join(map(str, list(dataset.X.columns)[:20]))}."  # type: ignore
        elif isinstance(dataset.reading, TextColumn):
            remedy = "Name its column: --target NAME."
        elif dataset.kind == "text":
            remedy = "Train a language model, --generate-level char, or give a table of texts."
        raise InputError(
            f"{path} expected a target for each row, got inputs only. {remedy}".strip()
        )
    return dataset


def read_like(train: Dataset, path: str | Path, target: str | None, **options: Any) -> Dataset:
    """Read data with targets as those to train on were read: the same columns, or rate of sound."""
    reading = train.reading or options.pop("reading", None)
    return read_labelled(path, target, **options | {"reading": reading})


def train_and_test(
    path: str | Path,
    target: str | None,
    test: str | Path | None,
    test_fraction: float,
    seed: int,
    **options: Any,
) -> Split:
    """Return what to train on and to test on: given, the source's own, or held out at random."""
    if test is not None:
        train = read_labelled(path, target, **options)
        return Split(train, read_like(train, test, target, **options), TrainedOn.of(train, 0, seed))
    if has_test_part(path):
        train = read_labelled(path, target, part="train", **options)
        held_out = read_like(train, path, target, part="test", **options)
        return Split(train, held_out, TrainedOn.of(train, 0, seed))
    dataset = read_labelled(path, target, **options)
    origin = TrainedOn.of(dataset, test_fraction, seed)
    if test_fraction == 0:
        return Split(dataset, None, origin)
    rows, held_out = split(len(dataset), test_fraction, seed)
    if not len(rows) or not len(held_out):
        raise InputError(
            f"--test-fraction expected to leave rows to train and to test on, got {test_fraction} "
            f"of {len(dataset)} rows. Use --test-fraction 0 to train on all."
        )
    return Split(dataset.take(rows), dataset.take(held_out), origin)


def is_classification(y: np.ndarray) -> bool:
    """Whether targets look like classes: text, booleans, or few distinct whole numbers."""
    if y.ndim > 1:
        return bool(np.isin(y, (0, 1)).all())
    if y.dtype.kind in "iu":
        return len(np.unique(y)) <= max(MOST_INTEGER_CLASSES, len(y) ** 0.5)
    if y.dtype.kind == "f":
        return bool(np.isin(y, (0, 1)).all())
    return y.dtype.kind != "c"


def with_name(y: np.ndarray, target: str | None) -> Any:
    """Return targets that remember their column's name, so that the model file can keep it."""
    if target is None:
        return y
    import pandas as pd

    return pd.Series(y, name=target)


def size_for(estimator: Any, path: str | Path, text: str | None) -> tuple[int, int] | None:
    """Return the size to read images in: as told, or for files and folders of them the model's."""
    told = image_size(text)
    shape = getattr(getattr(estimator, "encoder_", None), "image_shape", None)
    return shape[:2] if told is None and shape is not None and is_images(path) else told


def image_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of ``--size HEIGHTxWIDTH``, None for None."""
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise InputError(f"--size expected HEIGHTxWIDTH like 32x32; got {text!r}.")
    return int(height), int(width)


def rows_of_numbers(dataset: Dataset, names: Any = None, remedy: str = "") -> Dataset:
    """Return a data set whose rows are to be series: of a table these columns, all numbers.

    Parameters
    ----------
    dataset : Dataset
        Any; only tables are looked at.
    names : sequence of str, optional
        The columns that a model was trained on; None for all.
    remedy : str
        What to do about a column that is not numbers.
    """
    if dataset.kind != "table":
        return dataset
    frame: Any = dataset.X
    for name in frame.columns if names is None else names:
        if name not in frame.columns:
            raise InputError(
                f"{dataset.source} expected a column {name!r}, as in training, got the columns "
                f"{', '.join(map(repr, frame.columns[:20]))}. Rename or add it."
            )
        if frame[name].dtype.kind not in "buif":
            raise InputError(
                f"{dataset.source} expected numbers in every column, as a row is a series, got "
                f"{str(frame[name].iloc[0])[:40]!r} in column {name!r}. {remedy}"
            )
        missing = frame[name].isna().to_numpy()
        if missing.any():
            raise InputError(
                f"{dataset.source} expected a number in every row, as a row is a series, got none "
                f"in row {missing.argmax() + 1} below the header, column {name!r}. Fill it in or "
                f"delete that row."
            )
    return dataset if names is None else replace(dataset, X=frame[list(names)])
