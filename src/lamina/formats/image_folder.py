"""A folder of pictures: one sub-folder a class, or pictures only, to predict for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import FileFormatError, InputError, check_number
from lamina.formats.cifar import is_cifar
from lamina.formats.class_folders import folder_of_part, has_test_part, list_files
from lamina.formats.dataset import Dataset
from lamina.formats.idx import is_idx_folder

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "IMAGE_SUFFIXES",
    "check_image_size",
    "clash",
    "has_test_part",
    "is_image_file",
    "is_image_folder",
    "read_image_file",
    "read_image_folder",
    "read_pixels",
]

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm",
)  # fmt: skip
_GREY_MODES = ("1", "L", "LA", "La")
_DEEP_MODES = ("I", "F")  # and I;16 with its variants


def read_image_folder(
    path: str | Path,
    size: tuple[int, int] | None = None,
    skip_bad: bool = False,
    part: str | None = None,
) -> Dataset:
    """Return the pictures of a folder, sorted by class and name.

    Parameters
    ----------
    path : str or Path
        A folder with one sub-folder a class; or with ``train`` and ``test`` that each hold such
        sub-folders; or with pictures only, which then have no labels. Hidden files, links to
        folders and links that leave the folder are passed over.
    size : tuple of (int, int), optional
        Height and width to resize every picture to (bilinear); without it all must be of one size.
    skip_bad : bool, default False
        Skip the pictures that cannot be read, with one warning that counts them.
    part : {"train", "test"}, optional
        Which part of a folder that has both, "train" where not given.

    Returns
    -------
    Dataset
        ``X`` uint8 of shape (n, h, w, c), c = 1 if all are grey and 3 if all are in colour; ``y``
        the sub-folders' names (n,), or None; ``row_names`` relative to ``path``.

    Notes
    -----
    Transparency is dropped and palettes are looked up; of an animation the first picture counts;
    a camera's note of rotation (EXIF) is not applied.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} expected a folder of images; got no such folder.")
    check_image_size(size)
    files, labels = list_files(folder_of_part(path, part), IMAGE_SUFFIXES, "images")
    X, kept = _read_all(path, files, size, skip_bad)
    y = np.array(labels)[kept] if labels else None
    names = tuple(files[i].relative_to(path).as_posix() for i in kept)
    return Dataset(X, y, "images", str(path), names)


def check_image_size(size: tuple[int, int] | None) -> None:
    """Raise unless a size to resize to is a height and a width."""
    if size is None:
        return
    if len(size) != 2:
        raise InputError(f"size expected (height, width); got {size!r}.")
    check_number("height, in size,", size[0], whole=True, at_least=1)
    check_number("width, in size,", size[1], whole=True, at_least=1)


def read_image_file(path: str | Path, size: tuple[int, int] | None = None) -> Dataset:
    """Return one image, to predict for: ``X`` uint8 of shape (1, h, w, c)."""
    pixels = read_pixels(Path(path), size)
    return Dataset(pixels[None], None, "images", str(path), (Path(path).name,))


def is_image_file(path: str | Path) -> bool:
    """Tell whether ``path`` is a file with an image's name."""
    path = Path(path)
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES


def is_image_folder(path: str | Path) -> bool:
    """Tell whether ``path`` is a folder that no other reader of images claims."""
    return Path(path).is_dir() and not is_idx_folder(path) and not is_cifar(path)


def _read_all(
    root: Path, files: list[Path], size: tuple[int, int] | None, skip_bad: bool
) -> tuple[np.ndarray, list[int]]:
    """Return the images (n, h, w, c) that could be read, and the index of each in ``files``."""
    X = np.empty((0, 0, 0, 0), np.uint8)
    kept: list[int] = []
    bad: list[FileFormatError] = []
    for index, file in enumerate(files):
        try:
            pixels = read_pixels(file, size)
        except FileFormatError as error:
            if not skip_bad:
                raise FileFormatError(f"{error} --skip-bad skips and counts such files.") from error
            bad.append(error)
            continue
        if not kept:
            X = np.empty((len(files), *pixels.shape), np.uint8)
        elif pixels.shape != X.shape[1:]:
            raise clash(root, files[kept[0]], X.shape[1:], file, pixels.shape)
        X[len(kept)] = pixels
        kept.append(index)
    if not kept:
        raise FileFormatError(f"{root} has no image that can be read; the first: {bad[0]}")
    if bad:
        warnings.warn(
            f"{root}: skipped {len(bad)} of {len(files)} images; the first: {bad[0]}", stacklevel=3
        )
    return X[: len(kept)], kept


def clash(
    root: Path, first: Path, its_shape: tuple[int, ...], second: Path, other_shape: tuple[int, ...]
) -> InputError:
    """Return the error for two images that do not fit one array."""
    (h, w, c), (other_h, other_w, other_c) = its_shape, other_shape
    a, b = first.relative_to(root).as_posix(), second.relative_to(root).as_posix()
    if c != other_c:
        grey, colour = (a, b) if c == 1 else (b, a)
        return InputError(
            f"{root} expected all images grey or all in colour; got {grey} grey and {colour} in "
            "colour. Convert the grey ones, e.g. PIL.Image.open(f).convert('RGB').save(f)."
        )
    return InputError(
        f"{root} expected images of one size; got {a} of {h}x{w} and {b} of {other_h}x{other_w} "
        "(height x width). Resize all with --size HxW, or size=(h, w)."
    )


def read_pixels(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """Return one image as uint8 (h, w, 1) or (h, w, 3)."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _pixels(path, image, size)
    except FileFormatError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them trip on
        reason = str(error).replace(repr(str(path)), "this file").rstrip(".")
        raise FileFormatError(f"{path} could not be read as an image: {reason}.") from error


def _pixels(path: Path, image: Image.Image, size: tuple[int, int] | None) -> np.ndarray:
    """Return the image's first frame as grey or RGB, resized."""
    from PIL import Image

    if image.mode.startswith(_DEEP_MODES):
        raise FileFormatError(
            f"{path} expected 8 bits a channel; got Pillow's mode {image.mode}, of 16 or 32 bits. "
            "Convert it to 8 bits, scaled as its brightness needs."
        )
    converted = image.convert("L" if image.mode in _GREY_MODES else "RGB")
    if size is not None:
        converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(converted, np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1)
