"""What readers and writers share: writing all or nothing, and the errors common to them."""

from __future__ import annotations

import gzip
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lamina.errors import FileFormatError, InputError, did_you_mean


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
