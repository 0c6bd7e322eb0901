"""Labelled series in a `.ts` file, the text format of the UEA and UCR archives.

A. Bagnall et al., *The UEA multivariate time series classification archive, 2018*,
arXiv:1811.00075; the header's words as sktime's "File Format Specifications" lists them. A line
``@name value`` each, ``@data``, then one series a line: channels separated by colons, the steps of
a channel by commas, the label behind the last colon.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice
from lamina.formats.dataset import Dataset
from lamina.formats.standardization import fits_float32
from lamina.formats.text_file import read_utf8

_PARTS = ("train", "test")
_FLAGS = ("@timestamps", "@missing", "@univariate", "@equallength", "@classlabel", "@targetlabel")


@dataclass(frozen=True)
class _Header:
    """What a header promises of every series; None where it says nothing."""

    channels: int | None
    steps: int | None
    equal: bool
    labelled: bool
    labels: frozenset[str]
    real: bool


def read_ts(path: str | os.PathLike[str]) -> Dataset:
    """Read the series of a `.ts` file.

    Parameters
    ----------
    path : path
        A file in UTF-8. Lines that begin with ``#`` are comments; the header's words may be in
        small or capital letters. Time stamps and missing values are refused.

    Returns
    -------
    Dataset
        Of kind "series": ``X`` a list of n float32 arrays of shape (t_i, m); ``y`` the labels as
        text, float64 where ``@targetLabel true`` calls them real numbers, None where both
        ``@classLabel`` and ``@targetLabel`` are false.
    """
    path = Path(path)
    lines = [line.strip() for line in read_utf8(path).split("\n")]
    header, start = _header(path, lines)
    X: list[np.ndarray] = []
    y: list[str | float] = []
    for number, line in enumerate(lines[start:], start=start + 1):
        if not line or line.startswith("#"):
            continue
        channels = line.split(":")
        if header.labelled:
            y.append(_label(path, number, header, channels.pop().strip()))
        expected = X[0].shape[1] if X else header.channels
        if not channels or (expected is not None and len(channels) != expected):
            behind = " besides the label" if header.labelled else ""
            raise FileFormatError(
                f"{path} expected {expected or 'one or more'} channels, separated by ':'{behind}, "
                f"in every series, got {len(channels)} in line {number}. Mend that line, or the "
                f"header's @dimensions and @univariate."
            )
        series = _series(path, number, len(X), channels)
        steps = header.steps or (len(X[0]) if X and header.equal else len(series))
        if len(series) != steps:
            raise FileFormatError(
                f"{path} expected {steps} steps in every series, as it says @equalLength true, got "
                f"{len(series)} in line {number}. Mend that line or the header."
            )
        X.append(series)
    if not X:
        raise FileFormatError(
            f"{path} expected one series a line below @data, got none. Download it again."
        )
    return Dataset(X, np.array(y) if header.labelled else None, "series", str(path))


def read_ts_folder(path: str | os.PathLike[str], part: str | None = None) -> Dataset:
    """Read ``NAME_TRAIN.ts`` or ``NAME_TEST.ts`` of a folder, or its only `.ts` file.

    Parameters
    ----------
    path : path
        A folder with the files of one data set.
    part : {"train", "test"}, optional
        Which of both files, "train" where not given.
    """
    path = Path(path)
    check_choice("part", part or "train", _PARTS)
    files = _files(path)
    found = [f for f in files if f.stem.lower().endswith(f"_{part or 'train'}")]
    if part is None and len(files) == 1:
        found = files
    if len(found) != 1:
        listed = ", ".join(file.name for file in files) or "no .ts file"
        raise InputError(
            f"{path} expected one file that ends in _{(part or 'train').upper()}.ts, got {listed}. "
            f"Give the path of the file."
        )
    return read_ts(found[0])


def is_ts_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds `.ts` files."""
    return bool(_files(Path(path)))


def has_test_part(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds the training and the test file of one data set."""
    stems = [file.stem.lower() for file in _files(Path(path))]
    return all(sum(stem.endswith(f"_{part}") for stem in stems) == 1 for part in _PARTS)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (entry for entry in folder.iterdir() if entry.suffix.lower() == ".ts")
    return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def _header(path: Path, lines: list[str]) -> tuple[_Header, int]:
    """Return what the header says, and how many lines it has, ``@data`` among them."""
    said: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        word, *value = line.split(maxsplit=1)
        name = word.lower()
        if name == "@data":
            break
        if not name.startswith("@") or name in said:
            got = f"{name} again" if name in said else repr(line if len(line) <= 40 else line[:37])
            raise FileFormatError(
                f"{path} expected one '@name value' a line, then @data, got {got} in line "
                f"{number}. Is it a file of the UEA and UCR archives?"
            )
        said[name] = ("".join(value), number)
    else:
        raise FileFormatError(
            f"{path} expected a header that ends in the line @data, got none in {len(lines)} "
            f"lines. The file is cut short or of another kind: download it again."
        )
    flags = {name: _flag(path, said, name) for name in _FLAGS}
    if flags["@timestamps"][0]:
        raise FileFormatError(
            f"{path} expected values at even steps, got @timeStamps true in line "
            f"{said['@timestamps'][1]}. Resample its series and write them without time stamps."
        )
    univariate, _ = flags["@univariate"]
    channels = _count(path, said, "@dimensions") or _count(path, said, "@dimension")
    if univariate and channels not in (None, 1):
        raise FileFormatError(
            f"{path} expected one channel, as it says @univariate true in line "
            f"{said['@univariate'][1]}, got {channels} dimensions. Mend the header."
        )
    is_class, labels = flags["@classlabel"]
    real, _ = flags["@targetlabel"]
    if (is_class and real) or not said.keys() & {"@classlabel", "@targetlabel"}:
        raise FileFormatError(
            f"{path} expected @classLabel or @targetLabel to say whether a label ends each line, "
            f"got {'both true' if real else 'neither'} in its header. Mend the header."
        )
    equal, _ = flags["@equallength"]
    header = _Header(
        channels=1 if univariate else channels,
        steps=_count(path, said, "@serieslength") if equal else None,
        equal=equal,
        labelled=is_class or real,
        labels=frozenset(labels),
        real=real,
    )
    return header, number  # type: ignore[reportPossiblyUnbound]


def _flag(path: Path, said: dict[str, tuple[str, int]], name: str) -> tuple[bool, list[str]]:
    """Return whether the header says ``name true``, and the words behind it."""
    value, number = said.get(name, ("false", 0))
    first, *rest = value.split() or [""]
    if first.lower() not in ("true", "false"):
        raise FileFormatError(
            f"{path} expected {name} to be true or false, got {value!r} in line {number}. "
            f"Mend the header."
        )
    return first.lower() == "true", rest


def _count(path: Path, said: dict[str, tuple[str, int]], name: str) -> int | None:
    """Return a whole number of the header, None where it has no such line."""
    if name not in said:
        return None
    value, number = said[name]
    if not (value.isascii() and value.isdigit() and len(value) <= 18 and int(value) >= 1):
        raise FileFormatError(
            f"{path} expected {name} to be a whole number of at least 1, got {value[:40]!r} in "
            f"line {number}. Mend the header."
        )
    return int(value)


def _label(path: Path, number: int, header: _Header, label: str) -> str | float:
    if header.real:
        try:
            value = float(label)
        except ValueError:
            value = np.nan
        if np.isfinite(value):
            return value
        expected = "a finite number behind the last ':', as it says @targetLabel true"
    elif label and (label in header.labels or not header.labels):
        return label
    else:
        listed = sorted(header.labels)
        among = f", one of {', '.join(listed[:20])}" if listed else ""
        expected = f"a label behind the last ':'{among}"
    shown = label if len(label) <= 40 else f"{label[:37]}..."
    raise FileFormatError(
        f"{path} expected {expected}, got {shown!r} in line {number}. Mend the line or the header."
    )


def _series(path: Path, number: int, i: int, channels: list[str]) -> np.ndarray:
    """Return the float32 array (t, m) of one line's channels."""
    columns = []
    for j, channel in enumerate(channels):
        cells = channel.split(",")
        try:
            column = np.array(cells, dtype=np.float64)
        except ValueError:
            column = np.array([_number_or_nan(cell) for cell in cells])
        wrong = np.flatnonzero(~fits_float32(column))
        if len(wrong):
            raise _not_a_number(path, number, (i, int(wrong[0]), j), cells[wrong[0]].strip())
        columns.append(column)
        if len(column) != len(columns[0]):
            raise FileFormatError(
                f"{path} expected all channels of a series to be equally long, got "
                f"{len(columns[0])} steps in channel 0 and {len(column)} in channel {j} of series "
                f"{i} (line {number}). Mend that line."
            )
    return np.stack(columns, axis=1).astype(np.float32)


def _number_or_nan(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _not_a_number(path: Path, number: int, at: tuple[int, int, int], cell: str) -> FileFormatError:
    """Return the error for a cell that is missing, no number, or too large."""
    i, step, j = at
    missing = " (a missing value)" if cell.lower() in ("", "?", "nan") else ""
    return FileFormatError(
        f"{path} expected numbers within float32's range, got {cell[:40]!r}{missing} in series "
        f"{i}, channel {j}, step {step} (line {number}). Fill it in or leave that series out."
    )
