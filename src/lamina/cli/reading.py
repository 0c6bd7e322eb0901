"""How commands are told to read series and texts, and how a model's file says it again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lamina.cli.data import read_labelled, rows_of_numbers, size_for
from lamina.errors import InputError, check_choice
from lamina.formats.dataset import Dataset
from lamina.formats.read import can_read_as, has_test_part, is_table
from lamina.formats.readings import FEATURES, LongTable, Reading, SoundFrames, TextColumn
from lamina.formats.series_encoder import SeriesEncoder
from lamina.formats.text_encoder import TextEncoder


def told(
    *,
    series_id: str | None = None,
    time: str | None = None,
    text: str | None = None,
    sound: str | None = None,
    **frames: Any,
) -> Reading | None:
    """Return what the options of `lamina fit` say of series and texts; None if nothing.

    Parameters
    ----------
    series_id, time, text, sound : str, optional
        As the options of these names.
    **frames
        ``frame``, ``hop`` and ``bands``, None where left out.

    Raises
    ------
    InputError
        For options that exclude each other, and for one without another that it needs.
    """
    frames = {name: value for name, value in frames.items() if value is not None}
    groups = {
        "--series-id": series_id,
        "--text": text,
        "--sound": sound,
        **{f"--{name}": value for name, value in frames.items()},
    }
    given = [name for name, value in groups.items() if value is not None]
    table = [name for name in given if name in ("--series-id", "--text")]
    if len(table) > 1 or (table and len(given) > 1):
        raise InputError(
            f"{given[0]} expected to be the only one that says what the data are, got "
            f"{', '.join(given[1:])} too. Leave out one or the other."
        )
    if series_id is None and time is not None:
        raise InputError(
            f"--time expected --series-id NAME, which series a row belongs to, or --forecast "
            f"COLUMNS beside it, got --time {time} alone. Name one of them."
        )
    if series_id is not None:
        return LongTable(series_id, _time_beside(series_id, time))
    if text is not None:
        return TextColumn(text)
    if sound is None and not frames:
        return None
    sound = check_choice("--sound", sound or FEATURES[0], FEATURES)
    if sound == "samples" and "bands" in frames:
        raise InputError(
            "--bands expected --sound log-mel, which has bands, got --sound samples. Leave it out."
        )
    return SoundFrames(sound, **frames)


def as_trained(
    estimator: Any, path: str, series_id: str | None = None, time: str | None = None
) -> Reading | None:
    """Return how to read data for a model: as in training, with the columns told now.

    Parameters
    ----------
    estimator : NetworkEstimator
        A fitted model.
    path : str
        The data. What the model keeps of tables says nothing of another kind of file.
    series_id, time : str, optional
        As the options of these names.
    """
    kept = getattr(getattr(estimator, "encoder_", None), "reading", None)
    if series_id is None and time is None:
        return kept if kept is not None and can_read_as(path, kept) else None
    if not _is_of_series(estimator):
        option = "--time" if series_id is None else "--series-id"
        raise InputError(
            f"{option} expected a model of series, got {type(estimator).__name__}. Leave it out."
        )
    if not isinstance(kept, LongTable):
        return LongTable(series_id, _time_beside(series_id, time))
    return replace(kept, id=series_id or kept.id, time=time or kept.time)


def as_model_takes(estimator: Any, dataset: Dataset) -> Dataset:
    """Return the data set for a model, or raise where one of series or texts is given others."""
    encoder = getattr(estimator, "encoder_", None)
    if encoder is None and getattr(estimator, "series_shape", None) is not None:
        names = getattr(estimator, "feature_names_in_", None)
        return rows_of_numbers(dataset, names, "Take it out of the table.")
    if isinstance(encoder, SeriesEncoder) and dataset.kind != "series":
        remedy = " Name its columns: --series-id NAME --time NAME."
        raise InputError(
            f"{dataset.source} expected series, as the model was trained on, got "
            f"{_kind(dataset)}.{remedy if dataset.kind == 'table' else ''}"
        )
    if isinstance(encoder, TextEncoder) and dataset.kind != "text":
        raise InputError(
            f"{dataset.source} expected texts, as the model was trained on, got "
            f"{_kind(dataset)}. Give a .txt file, or a table with the column of training."
        )
    return dataset


def labelled(
    estimator: Any,
    path: str,
    *,
    target: str | None,
    size: str | None,
    part: str = "test",
    skip_bad: bool = False,
    series_id: str | None = None,
    time: str | None = None,
) -> Dataset:
    """Return data with targets, read as the model takes them.

    Parameters
    ----------
    estimator : NetworkEstimator
        A fitted model of rows.
    path : str
        The data.
    part : {"test", "train"}
        Which part of what has two.
    target, size, skip_bad, series_id, time
        As the options of these names; None is as in training.
    """
    if target is None and is_table(path):
        target = target_of(estimator)
    dataset = read_labelled(
        path,
        target,
        part=part if has_test_part(path) else None,
        size=size_for(estimator, path, size),
        skip_bad=skip_bad,
        reading=as_trained(estimator, path, series_id, time),
    )
    return as_model_takes(estimator, dataset)


def target_of(estimator: Any) -> str | None:
    """Return the name of the target that a model was trained on, if it has one."""
    names = estimator.target_names_
    return names[0] if names else None


def treat_unknown(estimator: Any, unknown: str | None) -> None:
    """Set what a model of texts does with words that it has not seen; None leaves it."""
    if unknown is None:
        return
    encoder = getattr(estimator, "encoder_", None)
    if not isinstance(encoder, TextEncoder):
        raise InputError(
            f"--unknown expected a model of texts, got {type(estimator).__name__} of other data. "
            f"Leave it out."
        )
    check_choice("--unknown", unknown, ("error", "replace"))
    estimator.encoder_ = replace(encoder, unknown=unknown)


def _kind(dataset: Dataset) -> str:
    kinds = {"table": "a table of rows", "array": "rows of numbers", "text": "a text"}
    return kinds.get(dataset.kind, dataset.kind)


def _is_of_series(estimator: Any) -> bool:
    encoder = getattr(estimator, "encoder_", None)
    return isinstance(encoder, SeriesEncoder)


def _time_beside(series_id: str | None, time: str | None) -> str:
    if time is None:
        raise InputError(
            f"--series-id expected --time NAME beside it, the column that orders the rows of a "
            f"series, got --series-id {series_id} alone. Name it."
        )
    return time
