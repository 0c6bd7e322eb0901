"""CIFAR-10 and CIFAR-100: 32×32 colour images, in the binary and in the Python (pickle) version.

A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. An image is 3072 bytes: the red plane, the green, the
blue, each row by row. The binary version puts one label byte before it; in CIFAR-100 it is two, the
coarse label and the fine. Folders, single batches and the ``.tar.gz`` archives are read in place:
nothing is unpacked on disk, and nothing in a pickle runs (`lamina.formats.array_pickle`).
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice
from lamina.formats.array_pickle import text_of, unpickle
from lamina.formats.dataset import Dataset
from lamina.formats.files import unpacked

_PIXELS = 3 * 32 * 32
_AGAIN = "Get the set again from https://www.cs.toronto.edu/~kriz/cifar.html."
_LARGEST = 256 << 20  # bytes in all; the largest part published has 184 MB


class _Layout(NamedTuple):
    """One of the published versions: the names of its files, and where a label stands."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    class_names: str
    classes: int
    label_bytes: int  # bytes before each image, the last of them the label; 0: a pickle


_BINARY_10 = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_PYTHON_10 = tuple(f"data_batch_{i}" for i in range(1, 6))
# fmt: off
_LAYOUTS = (
    _Layout("cifar-10-batches-bin", "cifar-10-binary.tar.gz",
            _BINARY_10, ("test_batch.bin",), "batches.meta.txt", classes=10, label_bytes=1),
    _Layout("cifar-10-batches-py", "cifar-10-python.tar.gz",
            _PYTHON_10, ("test_batch",), "batches.meta", classes=10, label_bytes=0),
    _Layout("cifar-100-binary", "cifar-100-binary.tar.gz",
            ("train.bin",), ("test.bin",), "fine_label_names.txt", classes=100, label_bytes=2),
)
# fmt: on


def read_cifar(path: str | Path, part: str | None = None) -> Dataset:
    """Return the images and labels of CIFAR-10, or of CIFAR-100 with its fine labels.

    Parameters
    ----------
    path : str or Path
        A folder of batches, an archive of them, a folder that holds either as published, or one
        batch.
    part : {"train", "test"}, optional
        Which part, "train" where not given; a single batch has no parts.

    Returns
    -------
    Dataset
        ``X`` uint8 of shape (n, 32, 32, 3); ``y`` of shape (n,): class names where the file of
        class names is there, else int64.
    """
    path = Path(path)
    single = _is_batch(path)
    if single and part is not None:
        raise InputError(f"part expected a folder or an archive to choose from; got {path}.")
    part = check_choice("part", part or "train", ("train", "test"))
    place = path.parent if single else _place(path)
    layout = _layout_of([path.name] if single else _names_in(place))
    if layout is None:
        raise InputError(f"{path} expected batches of CIFAR-10 or CIFAR-100; got none. {_AGAIN}")
    wanted = (path.name,) if single else layout.train if part == "train" else layout.test
    files = _read_files(place, {*wanted, layout.class_names})
    missing = [name for name in wanted if name not in files]
    if missing:
        raise InputError(f"{path} expected the batch {missing[0]} as well; got none. {_AGAIN}")
    batches = [_batch(str(place / name), files.pop(name), layout) for name in wanted]
    X, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    if layout.class_names in files:
        source = str(place / layout.class_names)
        y = _class_names(source, files[layout.class_names], layout)[y]
    return Dataset(X, y, "images", str(path))


def is_cifar(path: str | Path) -> bool:
    """Tell whether ``path`` is a folder, an archive or a batch of CIFAR-10 or CIFAR-100."""
    path = Path(path)
    published = path.name in {layout.archive for layout in _LAYOUTS} and path.is_file()
    return published or _is_batch(path) or _layout_of(_names_or_none(path)) is not None


def has_test_part(path: str | Path) -> bool:
    """Tell whether ``path`` is a folder or an archive with CIFAR's test images among others."""
    names = _names_or_none(Path(path))
    layout = _layout_of(names)
    return layout is not None and set(names).issuperset(layout.test)


def _layout_of(names: Iterable[str]) -> _Layout | None:
    """Return the first layout that has a batch among these file names."""
    present = set(names)
    return next((each for each in _LAYOUTS if present & {*each.train, *each.test}), None)


def _is_batch(path: Path) -> bool:
    return path.is_file() and _layout_of([path.name]) is not None


def _place(path: Path) -> Path:
    """Return the folder or archive with the batches: ``path``, or what a publisher put in it."""
    if path.is_dir() and _layout_of(_names_in(path)) is None:
        inside = (path / name for each in _LAYOUTS for name in (each.folder, each.archive))
        return next((place for place in inside if place.exists()), path)
    return path


def _names_in(place: Path) -> list[str]:
    """Return the names of the files in a folder, or in an archive."""
    if place.is_dir():
        return [entry.name for entry in place.iterdir() if entry.is_file()]
    return list(_walk_archive(place, None))


def _names_or_none(path: Path) -> list[str]:
    """Return the names in a folder or an archive, none where it is neither or damaged."""
    try:
        return _names_in(_place(path))
    except InputError:
        return []


def _read_files(place: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """Return the content of those wanted files that a folder or an archive has."""
    if not place.is_dir():
        return _walk_archive(place, wanted)
    paths = [place / name for name in wanted if (place / name).is_file()]
    for path in paths:
        _check_size(path, path.stat().st_size)
    return {path.name: path.read_bytes() for path in paths}


def _walk_archive(path: Path, wanted: Collection[str] | None) -> dict[str, bytes]:
    """Return the wanted files of an archive by name; for None, all names without content.

    Only base names of regular files count and nothing is written, so that a member's folders and
    links lead nowhere.
    """
    if not path.name.lower().endswith((".tar.gz", ".tgz", ".tar")) or not path.is_file():
        raise InputError(f"{path} expected a CIFAR folder, archive or batch; got none. {_AGAIN}")
    files: dict[str, bytes] = {}
    try:
        with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if not member.isfile() or name in files:
                    continue
                if wanted is None:
                    files[name] = b""
                elif name in wanted and (content := archive.extractfile(member)):
                    _check_size(path / name, member.size + sum(map(len, files.values())))
                    files[name] = content.read()
    except FileFormatError:
        raise
    except Exception as error:  # tarfile and zlib raise whatever damaged bytes make them trip on
        raise FileFormatError(f"{path} is not a whole tar archive ({error}). {_AGAIN}") from error
    return files


def _opened(path: Path) -> AbstractContextManager[IO[bytes]]:
    """Return an archive's content, unpacked where it is gzip's."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return unpacked(path) if packed else path.open("rb")


def _check_size(path: Path, size: int) -> None:
    if size > _LARGEST:
        raise FileFormatError(f"{path} expected at most {_LARGEST} bytes; got {size}. {_AGAIN}")


def _batch(source: str, content: bytes, layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (n, 32, 32, 3) and the labels (n,) of one batch."""
    if layout.label_bytes:
        record = layout.label_bytes + _PIXELS
        if not content or len(content) % record:
            raise FileFormatError(
                f"{source} expected whole records of {record} bytes; got {len(content)} bytes, so "
                f"it is truncated. {_AGAIN}"
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, record)
        labels, pixels = records[:, layout.label_bytes - 1], records[:, layout.label_bytes :]
    else:
        document = unpickle(source, content)
        pixels, labels = document.get("data"), document.get("labels")
        if isinstance(labels, list) and all(type(label) is int for label in labels):
            labels = np.array(labels)
        if not (isinstance(pixels, np.ndarray) and isinstance(labels, np.ndarray)):
            raise FileFormatError(f"{source} expected an array of data and labels. {_AGAIN}")
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _PIXELS) or not len(labels):
            raise FileFormatError(
                f"{source} expected data of {_PIXELS} uint8 for each label; got {pixels.dtype} of "
                f"shape {pixels.shape} for {labels.size} labels. {_AGAIN}"
            )
    bad = labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= layout.classes
    if labels.ndim != 1 or bad:
        raise FileFormatError(
            f"{source} expected labels from 0 to {layout.classes - 1}; got others. {_AGAIN}"
        )
    X = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(X), labels.astype(np.int64)


def _class_names(source: str, content: bytes, layout: _Layout) -> np.ndarray:
    """Return the class names (K,) in the order of the labels."""
    if layout.label_bytes:
        names: Any = content.split()
    else:
        names = unpickle(source, content).get("label_names")
    if not isinstance(names, list) or len(names) != layout.classes:
        raise FileFormatError(f"{source} expected {layout.classes} class names. {_AGAIN}")
    return np.array([text_of(name) for name in names])
