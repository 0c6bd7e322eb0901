"""One door for every data set: look at a path, find its reader."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lamina.errors import InputError, check_choice
from lamina.formats import cifar, idx, image_folder, sound_folder, ts_file
from lamina.formats.arrays import has_test_arrays, read_npz
from lamina.formats.dataset import Dataset
from lamina.formats.files import nearest_beside, no_test_part
from lamina.formats.known import KNOWN_DATASETS, load_bundled, locate
from lamina.formats.long_series import read_long_series
from lamina.formats.readings import LongTable, Reading, SoundFrames, TextColumn
from lamina.formats.tables import SUFFIXES, read_table
from lamina.formats.text_column import read_text_column
from lamina.formats.text_file import read_text

_IDX = re.compile(r"idx\d-ubyte(\.gz)?$")


def read(
    path: str | os.PathLike[str],
    target: str | Iterable[str] | None = None,
    part: str | None = None,
    drop: str | Iterable[str] = (),
    size: tuple[int, int] | None = None,
    skip_bad: bool = False,
    reading: Reading | None = None,
) -> Dataset:
    """Read a data set from a file, a folder, or a known set's name.

    Parameters
    ----------
    path : path or str
        A table (``.csv``, ``.tsv``, ``.parquet``), arrays (``.npz``, ``.npy``), MNIST's IDX files
        or CIFAR's batches (a file, or their folder), a folder of images, labelled series (``.ts``,
        or a folder with a training and a test file), a sound or a folder of sounds (``.wav``), text
        (``.txt``); or a known set's name, ``iris`` or ``fashion-mnist``, where nothing has that
        path.
    target, drop : str or list of str
        For a table: what to predict, and which columns to leave out.
    part : {"train", "test"} or None
        Which part of a source that is split; "train" and None mean the training part, or everything
        where there is no split.
    size : (height, width) or None
        For a folder of images: resize them. Other images must have this size already.
    skip_bad : bool
        For a folder of images: leave out the files that cannot be read.
    reading : LongTable, TextColumn or SoundFrames, optional
        For a table: that its rows are steps of series, or texts, and which column is what. For
        sounds: what describes a frame, and the sampling rate that they must have.

    Returns
    -------
    Dataset
        As its reader describes it.

    Raises
    ------
    InputError
        For a path with nothing there, a file that no reader knows, and options that it has no use
        for.
    """
    check_choice("part", part or "train", ("train", "test"))
    path = _located(path)
    _check_reading(path, reading)
    if _is_table(path):
        if part == "test":
            raise no_test_part(path)
        dataset = _read_table(path, target, drop, reading)
    elif target is not None or drop:
        raise InputError(
            f"{path} expected no target and no columns to drop, as it is not a table's file, got "
            f"target={target!r}, drop={drop!r}. Leave them out: its labels come with it."
        )
    elif not path.exists():
        if part == "test":
            raise no_test_part(path)
        dataset = load_bundled(str(path))
    elif _is_arrays(path):
        dataset = read_npz(path, part)
    elif _is_series(path):
        dataset = _read_series(path, part, reading)
    elif _is_text(path):
        if part == "test":
            raise no_test_part(path)
        dataset = read_text(path)
    else:
        dataset = _read_images(path, part, size, skip_bad)
    _check_size(dataset, size)
    return dataset


def has_test_part(path: str | os.PathLike[str]) -> bool:
    """Tell whether a source carries its own test part beside its training part."""
    path = _located(path)
    if _is_table(path):
        return False
    if _is_arrays(path):
        return has_test_arrays(path)
    return any(reader.has_test_part(path) for reader in (idx, cifar, ts_file, image_folder))


def is_table(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a table's file, whose columns have names."""
    return _is_table(_located(path))


def is_images(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is an image or a folder of them, which can be read in any size."""
    path = Path(path)
    if image_folder.is_image_file(path):
        return True
    return image_folder.is_image_folder(path) and not _is_series(path)


def can_read_as(path: str | os.PathLike[str], reading: Reading) -> bool:
    """Tell whether a file or folder is of the kind that a reading is about."""
    path = _located(path)
    return _is_sounds(path) if isinstance(reading, SoundFrames) else _is_table(path)


def _check_reading(path: Path, reading: Reading | None) -> None:
    if reading is None or can_read_as(path, reading):
        return
    if isinstance(reading, SoundFrames):
        raise InputError(
            f"{path} expected to be a sound or a folder of sounds (.wav), to be cut into frames, "
            f"got something else. Leave out what is told of sounds."
        )
    raise InputError(
        f"{path} expected to be a table ({', '.join(SUFFIXES)}), to be read by its columns, got "
        f"something else. Leave out the columns' names."
    )


def _read_table(
    path: Path,
    target: str | Iterable[str] | None,
    drop: str | Iterable[str],
    reading: Reading | None,
) -> Dataset:
    if isinstance(reading, TextColumn):
        return read_text_column(path, reading.column, target)
    if not isinstance(reading, LongTable):
        return read_table(path, target, drop)
    if target is not None and not isinstance(target, str):
        raise InputError(
            f"{path} expected one target for each series, got {list(target)}. Name one column."
        )
    return read_long_series(path, reading.id, reading.time, target, drop, reading.channels)


def _read_series(path: Path, part: str | None, reading: Reading | None) -> Dataset:
    told: Any = {} if reading is None else asdict(reading)
    if path.is_dir() and ts_file.is_ts_folder(path):
        return ts_file.read_ts_folder(path, part)
    test = "test" if part == "test" else None  # readers refuse "train" where there is no split
    if path.is_dir():
        return sound_folder.read_sound_folder(path, part=test, **told)
    if part == "test":
        raise no_test_part(path)
    if sound_folder.is_sound_file(path):
        return sound_folder.read_wav(path, **told)
    return ts_file.read_ts(path)


def _read_images(
    path: Path, part: str | None, size: tuple[int, int] | None, skip_bad: bool
) -> Dataset:
    test = "test" if part == "test" else None  # readers refuse "train" where there is no split
    if idx.is_idx_folder(path) or (path.is_file() and _IDX.search(path.name)):
        return idx.read_idx(path, test)
    if cifar.is_cifar(path):
        return cifar.read_cifar(path, test)
    if image_folder.is_image_file(path):
        return image_folder.read_image_file(path, size)
    if path.is_file():
        raise InputError(
            f"{path} expected a file ending in {', '.join(SUFFIXES)}, .npz, .npy, .ts, .wav, "
            f".txt or idx3-ubyte, an image, or a batch or archive of CIFAR, got "
            f"{path.suffix or path.name!r}. Convert it, or give the folder that holds the images."
        )
    return image_folder.read_image_folder(path, size, skip_bad, test)


def _located(path: str | os.PathLike[str]) -> Path:
    """Return the path if something is there, or the folder of the known set with this name.

    The name of a set that scikit-learn brings along, which has no folder, is returned as it is.
    """
    path, name = Path(path), str(path)
    if path.exists():
        return path
    if name not in KNOWN_DATASETS:
        raise InputError(
            f"{path} expected a file, a folder or the name of a known data set, got nothing in "
            f"{path.parent.absolute()}.{nearest_beside(path, *KNOWN_DATASETS)}"
        )
    if not KNOWN_DATASETS[name].files:
        return path
    folder = locate(name)
    if folder is None:
        raise InputError(
            f"The known data set {name} expected its files on this machine, got none. "
            f"Get it: lamina datasets fetch {name}"
        )
    return folder


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def _is_arrays(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".npz", ".npy")


def _is_series(path: Path) -> bool:
    if path.is_dir():
        pictures = idx.is_idx_folder(path) or cifar.is_cifar(path)
        return not pictures and (ts_file.is_ts_folder(path) or sound_folder.is_sound_folder(path))
    return path.is_file() and path.suffix.lower() in (".ts", *sound_folder.SOUND_SUFFIXES)


def _is_sounds(path: Path) -> bool:
    if path.is_dir():
        return _is_series(path) and not ts_file.is_ts_folder(path)
    return sound_folder.is_sound_file(path)


def _is_text(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".txt"


def _check_size(dataset: Dataset, size: tuple[int, int] | None) -> None:
    if size is None:
        return
    shape = getattr(dataset.X, "shape", (0,))[1:]
    if dataset.kind != "images" or shape[:2] != tuple(size):
        got = f"{dataset.kind} of shape {shape}" if shape else dataset.kind
        raise InputError(
            f"{dataset.source} expected images of size {tuple(size)}, got {got}. "
            f"Only a folder of images can be resized: leave size out."
        )
