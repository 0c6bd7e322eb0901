"""One door for every data set: look at a path, find its reader."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lamina.errors import InputError, check_choice, did_you_mean
from lamina.formats.arrays import has_test_arrays, read_npz
from lamina.formats.dataset import Dataset
from lamina.formats.tables import SUFFIXES, read_table

_IDX = re.compile(r"idx\d-ubyte(\.gz)?$")


def read(
    path: str | os.PathLike[str],
    target: str | Iterable[str] | None = None,
    part: str | None = None,
    drop: str | Iterable[str] = (),
    size: tuple[int, int] | None = None,
    skip_bad: bool = False,
) -> Dataset:
    """Read a data set from a file, a folder, or a known set's name.

    Parameters
    ----------
    path : path or str
        A table (``.csv``, ``.tsv``, ``.parquet``), arrays (``.npz``, ``.npy``), MNIST's IDX files
        or CIFAR's batches (a file, or their folder), a folder of images; or a known set's name,
        ``fashion-mnist``, where nothing has that path.
    target, drop : str or list of str
        For a table: what to predict, and which columns to leave out.
    part : {"train", "test"} or None
        Which part of a source that is split; "train" and None mean the training part, or everything
        where there is no split.
    size : (height, width) or None
        For a folder of images: resize them. Other images must have this size already.
    skip_bad : bool
        For a folder of images: leave out the files that cannot be read.

    Returns
    -------
    Dataset
        As its reader describes it.
    """
    check_choice("part", part or "train", ("train", "test"))
    path = _located(path)
    if _is_table(path):
        if part == "test":
            raise _no_test_part(path)
        dataset = read_table(path, target, drop)
    elif target is not None or drop:
        raise InputError(
            f"{path} expected no target and no columns to drop, as it is not a table, got "
            f"target={target!r}, drop={drop!r}. Leave them out: its labels come with it."
        )
    elif _is_arrays(path):
        dataset = read_npz(path, part)
    else:
        dataset = _read_images(path, part, size, skip_bad)
    _check_size(dataset, size)
    return dataset


def has_test_part(path: str | os.PathLike[str]) -> bool:
    """Tell whether a source carries its own test part beside its training part."""
    from lamina.formats import cifar, idx, image_folder

    path = _located(path)
    if _is_table(path):
        return False
    if _is_arrays(path):
        return has_test_arrays(path)
    return any(reader.has_test_part(path) for reader in (idx, cifar, image_folder))


def _read_images(
    path: Path, part: str | None, size: tuple[int, int] | None, skip_bad: bool
) -> Dataset:
    from lamina.formats.cifar import is_cifar, read_cifar
    from lamina.formats.idx import is_idx_folder, read_idx
    from lamina.formats.image_folder import read_image_folder

    test = "test" if part == "test" else None  # readers refuse "train" where there is no split
    if is_idx_folder(path) or (path.is_file() and _IDX.search(path.name)):
        return read_idx(path, test)
    if is_cifar(path):
        return read_cifar(path, test)
    if path.is_file():
        raise InputError(
            f"{path} expected a file ending in {', '.join(SUFFIXES)}, .npz, .npy or "
            f"idx3-ubyte, or a batch or archive of CIFAR, got {path.suffix or path.name!r}. "
            f"Convert it, or give the folder that holds the images."
        )
    return read_image_folder(path, size, skip_bad, test)


def _located(path: str | os.PathLike[str]) -> Path:
    """Return the path if something is there, else the folder of the known set with this name."""
    from lamina.formats.known import KNOWN_DATASETS, locate

    path, name = Path(path), str(path)
    if path.exists():
        return path
    if name in KNOWN_DATASETS:
        folder = locate(name)
        if folder is not None:
            return folder
        call = "fetch" if KNOWN_DATASETS[name].files else "load_bundled"
        raise InputError(
            f"The known data set {name} expected its files on this machine, got none. "
            f"Get it with lamina.formats.known.{call}({name!r})."
        )
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise InputError(
        f"{path} expected a file, a folder or the name of a known data set, got nothing in "
        f"{path.parent.absolute()}.{did_you_mean(path.name, [*beside, *KNOWN_DATASETS])}"
    )


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def _is_arrays(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".npz", ".npy")


def _check_size(dataset: Dataset, size: tuple[int, int] | None) -> None:
    if size is None:
        return
    if dataset.kind != "images" or dataset.X.shape[1:3] != tuple(size):
        got = f"{dataset.kind} of shape {dataset.X.shape[1:]}"
        raise InputError(
            f"{dataset.source} expected images of size {tuple(size)}, got {got}. "
            f"Only a folder of images can be resized: leave size out."
        )


def _no_test_part(path: Path) -> InputError:
    return InputError(
        f"{path} expected to hold a test part, got a source without one. "
        f"Leave part out, or split it yourself."
    )
