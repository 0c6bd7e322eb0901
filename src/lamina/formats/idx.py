"""The IDX format of the MNIST files: a four-byte magic, the shape, then the numbers, big-endian.

Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*,
http://yann.lecun.com/exdb/mnist/ ("File formats"). Files may be compressed by gzip.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import IO

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice
from lamina.formats.dataset import Dataset
from lamina.formats.files import reading, unpacked

# The magic's third byte names the type of the numbers.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PARTS = {"train": "train", "test": "t10k"}
_IMAGES = re.compile(r"images(?P<dot>[-.])idx3")
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20


def read_idx_array(path: str | Path) -> np.ndarray:
    """Return the array of one IDX file, in the machine's own byte order.

    Memory stays within the file's real size: bytes are streamed and counted against the header,
    never reserved on its word.

    Parameters
    ----------
    path : str or Path
        An IDX file; gzip is recognised by its content, whatever the name.

    Returns
    -------
    array of the file's shape
        dtype uint8, int8, int16, int32, float32 or float64, as stored.
    """
    path = Path(path)
    with reading(path), path.open("rb") as raw:
        if raw.read(2) != _GZIP_MAGIC:
            raw.seek(0)
            return _parse(path, raw)
    with unpacked(path) as stream:
        return _parse(path, stream)


def read_idx(path: str | Path, part: str | None = None) -> Dataset:
    """Return the images, and the labels where they are found, of an MNIST-like set.

    Parameters
    ----------
    path : str or Path
        A folder with ``train-images-idx3-ubyte`` and its three companions (``-`` or ``.`` before
        ``idx``, ``.gz`` or not), or one file of images, whose labels are looked for beside it.
    part : {"train", "test"}, optional
        Which part of a folder, "train" where not given; a file has no parts.

    Returns
    -------
    Dataset
        ``X`` uint8 of shape (n, h, w, 1); ``y`` int64 of shape (n,), or None without a label file.
    """
    path = Path(path)
    if path.is_dir():
        images_path = _folder_images(path, check_choice("part", part or "train", _PARTS))
        if images_path is None:
            wanted = f"{_PARTS[part or 'train']}-images-idx3-ubyte"
            raise InputError(f"{path} expected a file {wanted} or {wanted}.gz; got none.")
    elif part is not None:
        raise InputError(f"part expected a folder to choose from; got the file {path}.")
    else:
        images_path = path
    images = read_idx_array(images_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise FileFormatError(
            f"{images_path} expected images, uint8 of shape (n, h, w); got {images.dtype} of shape "
            f"{images.shape}. Name the file of images, or read it with read_idx_array."
        )
    return Dataset(images[..., None], _labels(images_path, len(images)), "images", str(path))


def is_idx_folder(path: str | Path) -> bool:
    """Tell whether a folder holds MNIST-like images of either part."""
    return any(_folder_images(Path(path), part) is not None for part in _PARTS)


def has_test_part(path: str | Path) -> bool:
    """Tell whether a folder holds MNIST-like images of both parts."""
    return all(_folder_images(Path(path), part) is not None for part in _PARTS)


def _parse(path: Path, stream: IO[bytes]) -> np.ndarray:
    """Return the array that ``stream`` holds: header, exactly as many bytes as it says, the end."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise FileFormatError(
            f"{path} expected an IDX file (it begins with 00 00, a type and the number of "
            f"dimensions); got {magic.hex(' ') or 'an empty file'}."
        )
    dtype, ndim = np.dtype(_DTYPES[magic[2]]), magic[3]
    header = stream.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise FileFormatError(f"{path} is truncated: it ends within its header.")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    expected = math.prod(shape) * dtype.itemsize
    content = bytearray()
    while len(content) <= expected:  # one byte past the end, to see that nothing follows
        chunk = stream.read(min(_CHUNK, expected + 1 - len(content)))
        if not chunk:
            break
        content += chunk
    if len(content) != expected:
        got = "more" if len(content) > expected else f"only {len(content)}"
        raise FileFormatError(
            f"{path} expected {expected} bytes after its header (shape {shape}, {dtype.name}); got "
            f"{got}. Get the file again from its source."
        )
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has, or an absurd empty shape
        raise FileFormatError(f"{path} has a shape that no array can have: {error}.") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _either(path: Path) -> Path | None:
    """Return ``path``, with or without ``.gz``, whichever file is there."""
    plain = path.with_name(path.name.removesuffix(".gz"))
    choices = (path, plain, plain.with_name(plain.name + ".gz"))
    return next((choice for choice in choices if choice.is_file()), None)


def _folder_images(folder: Path, part: str) -> Path | None:
    """Return the file of this part's images, or None."""
    found = (_either(folder / f"{_PARTS[part]}-images{dot}idx3-ubyte") for dot in "-.")
    return next((path for path in found if path is not None), None)


def _labels(images_path: Path, n: int) -> np.ndarray | None:
    """Return the ``n`` labels stored beside the images, or None where no file has their name."""
    name = _IMAGES.sub(r"labels\g<dot>idx1", images_path.name)
    path = _either(images_path.with_name(name)) if name != images_path.name else None
    if path is None:
        return None
    labels = read_idx_array(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise FileFormatError(
            f"{path} expected labels, whole numbers of shape (n,); got {labels.dtype} of shape "
            f"{labels.shape}."
        )
    if len(labels) != n:
        raise FileFormatError(
            f"{path} expected {n} labels, one for each image of {images_path.name}; got "
            f"{len(labels)}. The two files belong to different sets."
        )
    return labels.astype(np.int64)
