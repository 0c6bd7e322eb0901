"""The digest by which Python and the compiled libraries know that they belong together.

``native/build.py`` writes it into each library and into ``digest.txt`` beside them. It runs this
file where Lamina is not installed, so nothing of Lamina is imported here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

FILE = "digest.txt"


def of_sources(native: Path) -> str:
    """Return the digest of what libraries are made of: C++ files and how they are compiled."""
    files = [path for path in native.rglob("*") if path.suffix in (".cc", ".h")]
    digest = hashlib.sha256()
    for path in sorted([*files, native / "build.py"]):
        if "tests" not in path.relative_to(native).parts:
            digest.update(path.relative_to(native).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def sources() -> Path | None:
    """Return the folder of the sources; None where Lamina is not run from a checkout."""
    native = Path(__file__).resolve().parents[4] / "native"
    return native if (native / "identity.cc").exists() else None


def expected(beside: Path) -> str:
    """Return the digest that the libraries in the folder ``beside`` must have.

    In a checkout that of its sources, which may have changed since; in an installed wheel, which
    has no sources, that of the build.
    """
    native, file = sources(), beside / FILE
    if native is not None:
        return of_sources(native)
    return file.read_text().strip() if file.exists() else "none"
