"""A folder of images as a stream: one image is a piece, so that any order is as fast as another."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lamina.formats.class_folders import folder_of_part, list_files
from lamina.formats.image_folder import IMAGE_SUFFIXES, check_image_size, clash, read_pixels
from lamina.formats.streams.pieces import Part, Stream


class ImageStream(Stream):
    """The images of a folder, sorted by class and name; see `lamina.formats.read`.

    Parameters
    ----------
    path : Path
        The folder.
    size : (height, width), optional
        Resize them; without it all must be of the first one's size.
    part : {"train", "test"} or None
        Which part of a folder that has both.
    """

    kind = "images"

    def __init__(self, path: Path, size: tuple[int, int] | None, part: str | None) -> None:
        check_image_size(size)
        root = folder_of_part(path, part)
        files, labels = list_files(root, IMAGE_SUFFIXES, "images")
        self.source, self._root, self._size = str(path), root, size
        self._files = [str(file.relative_to(root)) for file in files]
        self._labels = np.array(labels) if labels else None
        self.has_targets = bool(labels)
        self.lengths = np.ones(len(files), np.int64)
        self._shape = read_pixels(files[0], size).shape

    @property
    def row_names(self) -> tuple[str, ...]:
        """The files."""
        return tuple(self._files)

    def read(self, piece: int) -> Part:
        """Return one image, uint8 of shape (1, h, w, c)."""
        file = self._root / self._files[piece]
        pixels = read_pixels(file, self._size)
        if pixels.shape != self._shape:
            raise clash(self._root, self._root / self._files[0], self._shape, file, pixels.shape)
        return Part(pixels[None], *self.read_targets(piece))

    def read_targets(self, piece: int) -> tuple[np.ndarray | None, None]:
        """Return the folder's name."""
        return None if self._labels is None else self._labels[piece : piece + 1], None

    def place(self, piece: int) -> str:
        """Return the file."""
        return str(self._root / self._files[piece])
