"""A folder of files with one sub-folder a class, or of files only: what is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lamina.errors import InputError, check_choice

_PARTS = ("train", "test")


def has_test_part(path: str | Path) -> bool:
    """Tell whether a folder holds ``train`` and ``test``, each with sub-folders."""
    return all(next(_sub_folders(Path(path) / part), None) is not None for part in _PARTS)


def folder_of_part(path: Path, part: str | None) -> Path:
    """Return the folder of a part, "train" where not given; the folder itself if it has none."""
    if part is None and not has_test_part(path):
        return path
    root = path / check_choice("part", part or "train", _PARTS)
    if not has_test_part(path):
        raise InputError(f"{path} expected the sub-folders train and test to read {part!r}.")
    return root


def list_files(folder: Path, suffixes: tuple[str, ...], noun: str) -> tuple[list[Path], list[str]]:
    """Return the files with these suffixes, sorted, and each one's label; none if flat.

    Hidden files, links to folders and links that leave the folder are passed over.

    Parameters
    ----------
    folder : Path
        A folder with one sub-folder a class, or with such files only, which have no labels then.
    suffixes : tuple of str
        In small letters, as ``.png``.
    noun : str
        What the files are, for messages: "images".
    """
    root = folder.resolve()
    loose = sorted(entry for entry in folder.iterdir() if _belongs(entry, root, suffixes))
    files: list[Path] = []
    labels: list[str] = []
    for class_folder in _sub_folders(folder):
        found: list[Path] = []
        for parent, folders, names in os.walk(class_folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = (Path(parent, name) for name in names)
            found += [path for path in paths if _belongs(path, root, suffixes)]
        files += sorted(found)
        labels += [class_folder.name] * len(found)
    if loose and files:
        raise InputError(
            f"{folder} expected {noun} in sub-folders, one a class, or {noun} only; got both: "
            f"{loose[0].name} and {files[0].relative_to(folder)}. Move one of them."
        )
    if not loose and not files:
        raise InputError(
            f"{folder} expected {noun} ({' '.join(suffixes)}), in sub-folders, one a class, or "
            "directly in it; got none."
        )
    return loose or files, labels


def _sub_folders(folder: Path) -> Iterator[Path]:
    """Yield the sub-folders, sorted, without hidden ones and links."""
    if folder.is_dir():
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
                yield entry


def _belongs(path: Path, root: Path, suffixes: tuple[str, ...]) -> bool:
    """Tell whether a file is visible, has a suffix, and lies within ``root``, links resolved."""
    return (
        path.suffix.lower() in suffixes
        and not path.name.startswith(".")
        and path.is_file()
        and path.resolve().is_relative_to(root)
    )
