"""What readers and writers share: bounded unpacking, writing all or nothing, common errors."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from lamina.errors import FileFormatError, InputError, did_you_mean

ALWAYS_UNPACKED, MOST_EXPANSION = 256 << 20, 200
"""Bytes that any file may unpack to, and how many for each of its own beyond that.

Deflate turns a megabyte of the right kind into a gigabyte; data sets into some dozens."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell what goes wrong in opening or decompressing ``path`` as one error of Lamina's."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileFormatError(
            f"{path} expected a whole gzip file, got: {error}. Compress or download it again."
        ) from error
    except OSError as error:
        raise InputError(
            f"{path} expected a file that can be read, got: {error.strerror or error}. "
            f"Check the path.{nearest_beside(path)}"
        ) from error


def check_expansion(subject: object, unpacked: int, packed: int, remedy: str) -> None:
    """Raise if a file of ``packed`` bytes unpacks, or claims to, to more than data ever do."""
    most = max(ALWAYS_UNPACKED, MOST_EXPANSION * packed)
    if unpacked > most:
        raise FileFormatError(
            f"{subject} expected at most {most:,} bytes from its {packed:,} compressed ones, got "
            f"more. It is damaged, or made to fill memory. {remedy}"
        )


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Yield a gzip file's content, only so much of it as `check_expansion` allows."""
    with reading(path), path.open("rb") as raw, gzip.open(raw) as stream:
        yield cast(IO[bytes], _Bounded(stream, path))


class _Bounded(io.BufferedIOBase):
    """What a gzip file holds, until that is too much."""

    def __init__(self, stream: gzip.GzipFile, path: Path):
        self._stream, self._path, self._packed = stream, path, path.stat().st_size
        self._most = max(ALWAYS_UNPACKED, MOST_EXPANSION * self._packed)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, at the price of unpacking it again."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes; never reserve memory for more than there may be."""
        left = self._most + 1 - self._stream.tell()
        return self._checked(
            self._stream.read(left if size is None or size < 0 else min(size, left))
        )

    def read1(self, size: int = -1) -> bytes:
        """Read bytes, as few as come at once."""
        return self._checked(self._stream.read1(size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._stream.seek(min(offset, self._most + 1), whence)
        self._checked(b"")
        return self._stream.tell()

    def tell(self) -> int:
        """Tell the place."""
        return self._stream.tell()

    def _checked(self, content: bytes) -> bytes:
        remedy = "If you trust it, unpack it first."
        check_expansion(self._path, self._stream.tell(), self._packed, remedy)
        return content


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a draft beside ``path``, which becomes ``path`` at the end unless anything fails."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # gone already where all went well
            draft.unlink()


def check_can_write(path: Path) -> None:
    """Raise unless a file of this name can be written, which changes no file that is there."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        draft.touch()
        draft.unlink()
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> InputError:
    """Return the error for a place that cannot be written to."""
    return InputError(
        f"{path} expected a place that can be written to, got: {error.strerror or error}. "
        f"Choose another."
    )


def no_test_part(path: Path) -> InputError:
    """Return the error for a source that has no test part."""
    return InputError(
        f"{path} expected to hold a test part, got a source without one. "
        f"Leave part out, or split it yourself."
    )


def nearest_beside(path: Path, *more: str) -> str:
    """Return ``" Did you mean 'iris.csv'?"`` for a missing path, from its neighbours and ``more``.

    Empty for a path that is there.
    """
    if path.exists():
        return ""
    with suppress(OSError):
        more += tuple(entry.name for entry in path.parent.iterdir())
    return did_you_mean(path.name, more)
