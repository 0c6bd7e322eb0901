"""One door for every stream: look at a path, find what reads it piece by piece."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.formats.arrays import INPUT_NAMES, TARGET_NAMES
from lamina.formats.files import nearest_beside
from lamina.formats.image_folder import is_image_folder
from lamina.formats.streams.arrays import ArrayStream, NpyFile
from lamina.formats.streams.images import ImageStream
from lamina.formats.streams.parquet import ParquetStream
from lamina.formats.streams.pieces import Stream

WEIGHT_NAMES = ("sample_weight", "weight", "w")


def stream(
    data: Any,
    target: Any = None,
    *,
    drop: str | Sequence[str] = (),
    sample_weight: Any = None,
    size: tuple[int, int] | None = None,
    part: str | None = None,
) -> Stream:
    """Return a data set that stays on disk and is read piece by piece, each time it is needed.

    Parameters
    ----------
    data : path, or array-like of shape (n, ...)
        A ``.parquet`` file or a folder of such; a folder of images, as `lamina.formats.read` takes
        it; a ``.npy`` file, or a folder with ``X.npy``, ``y.npy`` and perhaps
        ``sample_weight.npy``. Or anything with ``shape``, ``dtype`` and slices, such as a
        ``numpy.memmap``.
    target : str, list of str, path or array-like, optional
        For tables, the column to predict, or several. For arrays, an array of n entries or the
        ``.npy`` file that holds it. Folders know theirs.
    drop : str or list of str
        For tables: columns to leave out.
    sample_weight : str, path or array-like, optional
        Weights of the samples, given as ``target`` is.
    size : (height, width), optional
        For a folder of images: resize them.
    part : {"train", "test"}, optional
        For a folder of images that has both.

    Returns
    -------
    Stream
        For ``fit``, ``predict``, ``evaluate`` and as ``validation_data``.

    Raises
    ------
    InputError
        For a path with nothing there, a file that is not read piece by piece, and options that it
        has no use for.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import MLPClassifier
    >>> from lamina.formats import stream
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> data = stream(X, target=X[:, 0] > 0)
    >>> model = MLPClassifier(max_epochs=20, random_state=0).fit(data)
    >>> model.evaluate(data)["accuracy"] > 0.9
    True
    """
    of_table = {"drop": drop or None}
    of_images = {"size": size, "part": part}
    beside = {"target": target, "sample_weight": sample_weight}
    if not isinstance(data, str | os.PathLike):
        _refuse(type(data).__name__, **of_table, **of_images)
        return _of_arrays(data, target, sample_weight, f"X ({type(data).__name__})")
    path = Path(data)
    suffix = path.suffix.lower()
    if not path.exists():
        raise InputError(
            f"{path} expected a file or folder, got nothing in {path.parent.absolute()}."
            f"{nearest_beside(path)}"
        )
    if path.is_file() and suffix == ".npy":
        _refuse(path, **of_table, **of_images)
        return _of_arrays(NpyFile(path), target, sample_weight, str(path))
    tables = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if tables and tables[0].suffix.lower() == ".parquet":
        _refuse(path, **of_images)
        dropped = [drop] if isinstance(drop, str) else list(drop)
        return ParquetStream(tables, target, dropped, sample_weight, str(path))
    if path.is_file():
        convert = {
            ".csv": "Write it as Parquet: pandas.read_csv(path, chunksize=…), part by part.",
            ".npz": "Save its arrays as X.npy and y.npy in a folder.",
        }.get(suffix, "Convert it.")
        raise InputError(
            f"{path} expected .parquet, .npy, or a folder of images, of Parquet files or with "
            f"X.npy and y.npy, to be read piece by piece, got {suffix or path.name!r}. {convert}"
        )
    inputs = _beside(path, INPUT_NAMES)
    if inputs is not None:
        _refuse(path, **beside, **of_table, **of_images)
        y, weight = _beside(path, TARGET_NAMES), _beside(path, WEIGHT_NAMES)
        return _of_arrays(NpyFile(inputs), y, weight, str(inputs))
    if not is_image_folder(path):
        raise InputError(
            f"{path} expected images as files, Parquet files, or X.npy and y.npy, to be read piece "
            "by piece, got IDX or CIFAR files, which are small. Leave out the streaming."
        )
    _refuse(path, **beside, **of_table)
    return ImageStream(path, size, part)


def _of_arrays(X: Any, y: Any, weight: Any, source: str) -> ArrayStream:
    if not all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__")):
        raise InputError(
            f"stream expected a path or an array with shape, dtype and slices, got "
            f"{type(X).__name__}. Use numpy.asarray(X), or fit on the iterable itself."
        )
    return ArrayStream(X, _opened(y), _opened(weight), source)


def _opened(array: Any) -> Any:
    """Return what a path names, or what was given."""
    if array is None:
        return None
    if isinstance(array, str | os.PathLike):
        return NpyFile(Path(array))
    return array if hasattr(array, "dtype") and hasattr(array, "shape") else np.asarray(array)


def _beside(folder: Path, names: Sequence[str]) -> Path | None:
    paths = (folder / f"{name}.npy" for name in names)
    return next((path for path in paths if path.is_file()), None)


def _refuse(subject: Any, **options: Any) -> None:
    for name, given in options.items():
        if given is not None:
            raise InputError(f"{subject} expected no {name}, got {given!r}. Leave it out.")
