"""Text on disk: a `.txt` file in UTF-8, whole, as one string."""

from __future__ import annotations

import os
from pathlib import Path

from lamina.errors import FileFormatError
from lamina.formats.dataset import Dataset
from lamina.formats.files import reading


def read_text(path: str | os.PathLike[str]) -> Dataset:
    """Read a text file in UTF-8.

    Parameters
    ----------
    path : path
        A file of text; a byte order mark is left out, every line ends in one LF.

    Returns
    -------
    Dataset
        Of kind "text": ``X`` is the string, ``y`` None.
    """
    path = Path(path)
    text = read_utf8(path)
    if not text.strip():
        raise FileFormatError(
            f"{path} expected text, got {'only white space' if text else 'an empty file'}. "
            f"Export or download it again."
        )
    return Dataset(text, None, "text", str(path))


def read_utf8(path: Path) -> str:
    """Return the text of a file, or raise an error with the position of what is not UTF-8."""
    with reading(path):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
        wrong = content.find(0)  # UTF-8 allows it, but text has none: UTF-16, or no text at all
    except UnicodeDecodeError as error:
        # Where the codec takes off a byte order mark, it counts from behind it.
        text, wrong = "", error.start + len(content) - len(error.object)
    if wrong >= 0:
        line = content.count(b"\n", 0, wrong) + 1
        raise FileFormatError(
            f"{path} expected text in UTF-8, got the byte 0x{content[wrong]:02x} at position "
            f"{wrong} (line {line}). Save it as UTF-8: iconv -f ITS-ENCODING -t UTF-8."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
