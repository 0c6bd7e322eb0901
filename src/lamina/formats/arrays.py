"""NumPy's files: ``.npz`` archives and ``.npy`` arrays, read without unpickling, within bounds."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice
from lamina.formats.dataset import Dataset
from lamina.formats.files import no_test_part, reading

INPUT_NAMES = ("X", "x", "data", "images")
TARGET_NAMES = ("y", "target", "labels")
PARTS = ("train", "test")

# What reading a damaged or hostile file raises, from zipfile, zlib and NumPy's header parser.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    EOFError,
    ValueError,
    RuntimeError,
    OSError,
)
_MOST_DEFLATE = 1032  # deflate cannot make data shorter than 1 / 1032


def read_npz(path: str | os.PathLike[str], part: str | None = None) -> Dataset:
    """Read inputs and targets from a ``.npz`` archive, or inputs alone from a ``.npy`` file.

    Parameters
    ----------
    path : path
        An archive with an array named X, x, data or images, and perhaps y, target or labels; or
        with both parts, in Keras' way: x_train, y_train, x_test, y_test.
    part : {"train", "test"} or None
        Which part to read; None reads the training part, or everything where there are no parts.

    Returns
    -------
    Dataset
        ``kind="images"`` for ``uint8`` arrays of shape (n, h, w) or (n, h, w, c) and floating
        arrays of shape (n, h, w, c), as NHWC; ``kind="array"`` for shape (n, m). Targets of shape
        (n, 1) become (n,).

    Notes
    -----
    Nothing is unpickled, and nothing is allocated before an array's header has been checked
    against the bytes that the file holds for it.
    """
    path = Path(path)
    if part is not None:
        check_choice("part", part, PARTS)
    with reading(path):
        stream = path.open("rb")
    try:
        with stream:
            if path.suffix.lower() != ".npy":
                X, y = _read_archive(path, stream, part)
            elif part == "test":
                raise no_test_part(path)
            else:
                X, y = _read_array(stream, path.stat().st_size, str(path)), None
    except InputError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(
            f"{path} expected a whole {path.suffix or '.npz'} file as NumPy writes it, got: "
            f"{error or type(error).__name__}. Save or download it again."
        ) from error
    X, kind = as_inputs(X, path)
    if y is not None:
        y = _as_targets(y, len(X), path)
    return Dataset(X, y, kind, str(path))


def has_test_arrays(path: str | os.PathLike[str]) -> bool:
    """Whether the file is an archive with inputs of a test part (``x_test``)."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return _pick(_members(archive), INPUT_NAMES, "test") is not None


def _read_archive(
    path: Path, stream: IO[bytes], part: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    with zipfile.ZipFile(stream) as archive:
        members = _members(archive)
        undivided = _pick(members, INPUT_NAMES, None)
        suffix = None if undivided and part != "test" else part or "train"
        inputs = _pick(members, INPUT_NAMES, suffix)
        targets = _pick(members, TARGET_NAMES, suffix)
        if inputs is None:
            if undivided:
                raise no_test_part(path)
            raise FileFormatError(
                f"{path} expected an array named {', '.join(INPUT_NAMES)} or "
                f"x_{part or 'train'}, got {', '.join(members) or 'no arrays'}. "
                f"Save it with np.savez(path, X=X, y=y)."
            )
        X = _read_member(archive, members[inputs], f"{path}: {inputs}")
        if targets is None:
            return X, None
        return X, _read_member(archive, members[targets], f"{path}: {targets}")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays of an archive by their names."""
    infos = archive.infolist()
    return {i.filename.removesuffix(".npy"): i for i in infos if i.filename.endswith(".npy")}


def _pick(members: Iterable[str], names: tuple[str, ...], part: str | None) -> str | None:
    """Return the first of ``names`` (``names_part``, where a part is given) that is there."""
    wanted = [name if part is None else f"{name}_{part}" for name in names]
    return next((name for name in wanted if name in members), None)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, subject: str) -> np.ndarray:
    room = _MOST_DEFLATE * (info.compress_size + 64)
    if info.file_size > room:
        raise FileFormatError(
            f"{subject} expected at most {room:,} bytes from its {info.compress_size:,} compressed "
            f"ones, got a claim of {info.file_size:,}. The file is damaged or hostile."
        )
    with archive.open(info) as stream:
        return _read_array(stream, info.file_size, subject)


def _read_array(stream: IO[bytes], size: int, subject: str) -> np.ndarray:
    """Read one array in NumPy's format from a stream of ``size`` bytes."""
    shape, _, dtype = array_header(stream, size, subject)
    stream.seek(0)
    try:
        return np.lib.format.read_array(stream, allow_pickle=False)
    except MemoryError as error:
        raise InputError(
            f"{subject} expected {math.prod(shape) * dtype.itemsize / 2**30:.1f} GiB of free "
            f"memory, got less. Read a smaller file or use a larger machine."
        ) from error


def array_header(
    stream: IO[bytes], size: int, subject: str
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, whether in Fortran order, and dtype, once they fit a stream of ``size`` bytes.

    The stream then stands at the first number.
    """
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, in_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, in_columns, dtype = np.lib.format.read_array_header_2_0(stream)
    else:  # 3.0 is written for field names only
        raise ValueError(f"version {version} of NumPy's array format")
    if dtype.kind not in "buifUS":
        pickled = "pickled Python objects, which can run code when loaded and are refused"
        raise FileFormatError(
            f"{subject} expected numbers or text, got {pickled if dtype.hasobject else dtype}. "
            f"Save it as a plain numeric array."
        )
    claimed, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if claimed != held:
        raise FileFormatError(
            f"{subject} expected {claimed:,} bytes of data (its header says {dtype} of shape "
            f"{shape}), got {held:,}. The file is truncated or edited: save or download it again."
        )
    return shape, in_columns, dtype


def as_inputs(X: np.ndarray, path: Path) -> tuple[np.ndarray, Literal["images", "array"]]:
    """Return an array as inputs, and of which kind they are."""
    if X.size == 0:
        raise InputError(
            f"{path} expected at least one sample, got X of shape {X.shape}. Save it with data."
        )
    numeric = X.dtype.kind in "buif"
    if X.dtype == np.uint8 and X.ndim == 3:
        return X[..., np.newaxis], "images"
    if X.ndim == 4 and (X.dtype == np.uint8 or X.dtype.kind == "f"):
        return X, "images"
    if X.ndim == 2 and numeric:
        return X, "array"
    raise InputError(
        f"{path} expected X as numbers of shape (n, m), uint8 images of shape (n, h, w) or "
        f"(n, h, w, c), or floating images of shape (n, h, w, c), got {X.dtype} of shape "
        f"{X.shape}. Save it in one of these forms, with X.astype or X.reshape."
    )


def _as_targets(y: np.ndarray, rows: int, path: Path) -> np.ndarray:
    if y.ndim not in (1, 2) or len(y) != rows:
        raise InputError(
            f"{path} expected a target for each of the {rows} rows of X, got y of shape {y.shape}. "
            f"Save X and y with the same rows."
        )
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
