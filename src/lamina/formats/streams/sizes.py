"""How much memory a source takes when it is read whole."""

from __future__ import annotations

from pathlib import Path

from lamina.errors import InputError
from lamina.formats.arrays import INPUT_NAMES
from lamina.formats.class_folders import folder_of_part, list_files
from lamina.formats.image_folder import IMAGE_SUFFIXES, is_image_folder, read_pixels
from lamina.formats.tables import SUFFIXES

FLOAT32 = 4


def only_streams(path: str | Path) -> bool:
    """Tell whether a path is a folder of Parquet files or of arrays."""
    path = Path(path)
    if not path.is_dir():
        return False
    arrays = any((path / f"{name}.npy").is_file() for name in INPUT_NAMES)
    return arrays or next(path.glob("*.parquet"), None) is not None


def bytes_once_read(path: str | Path) -> int:
    """Return about how many bytes a source takes as stored and as the network takes it.

    0 for what is not there or of another kind: its reader will say so.
    """
    path = Path(path)
    name = path.name.lower()
    if path.is_file() and name.endswith(".parquet"):
        return 2 * _parquet_bytes(path)
    if path.is_file() and name.endswith((".npy", *SUFFIXES)):
        return 2 * path.stat().st_size
    if path.is_dir() and is_image_folder(path):
        try:
            files, _ = list_files(folder_of_part(path, None), IMAGE_SUFFIXES, "images")
            return len(files) * read_pixels(files[0], None).size * (1 + FLOAT32)
        except InputError:
            return 0
    return 0


def _parquet_bytes(path: Path) -> int:
    import pyarrow
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError):
        return 0
    return sum(found.row_group(i).total_byte_size for i in range(found.num_row_groups))
