"""Files from the web, kept only if their size and checksum are those that were published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from lamina.errors import FileFormatError, InputError
from lamina.formats.files import written_whole

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte


class RemoteFile(NamedTuple):
    """A file to download: its name, where it is, its MD5 as published and its size in bytes."""

    name: str
    url: str
    md5: str
    size: int

    def is_in(self, folder: Path) -> bool:
        """Tell whether the file is in a folder, in its full size."""
        path = folder / self.name
        return path.is_file() and path.stat().st_size == self.size


def download(
    file: RemoteFile, folder: Path, remedy: str, progress: Callable[[str, int, int], None]
) -> None:
    """Bring one file into a folder, whole or not at all.

    Parameters
    ----------
    file : RemoteFile
    folder : Path
        Where to put it.
    remedy : str
        What to do where this fails, for the error.
    progress : callable
        Called with the file's name, the bytes done and its size in bytes.
    """
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with written_whole(folder / file.name) as draft:
        with draft.open("xb") as out:
            for chunk in _stream(file.url, remedy):
                done += len(chunk)
                if done > file.size:
                    break
                digest.update(chunk)
                out.write(chunk)
                progress(file.name, done, file.size)
        if done != file.size or digest.hexdigest() != file.md5:
            got = "more bytes" if done > file.size else f"{done} with MD5 {digest.hexdigest()}"
            raise FileFormatError(
                f"{file.url} expected {file.size} bytes with MD5 {file.md5}, got {got}. Nothing of "
                f"it was kept. {remedy}"
            )


def _stream(url: str, remedy: str) -> Iterator[bytes]:
    """Yield the bytes at an address, every trouble of the network told as one error."""
    import http.client  # these bring ssl along, which only a download needs
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            while chunk := response.read(_CHUNK):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url} could not be reached ({reason}). {remedy}") from error
