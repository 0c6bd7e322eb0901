"""The step that compiles the native kernels when Lamina is installed or a wheel of it is made.

Where it cannot, the installation goes on without them: XLA's kernels run, and ``lamina --version``
says so.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from build import DIGEST, INTO, CannotBuildError, build

OLDEST_GLIBC = 17
"""The 2.x that every tag of Linux wheels has as its least."""


class NativeKernels(BuildHookInterface):
    """Compile, and mark the wheel as one for this platform and any Python 3."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before files are collected; libraries of another build never get into a wheel."""
        if self.target_name != "wheel":
            return
        try:
            libraries = build()
        except CannotBuildError as error:
            self.app.display_warning(f"Lamina runs on XLA's kernels alone: {error}.")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag(libraries)}"
        files = [*libraries, INTO / DIGEST["FILE"]]
        root = Path(self.root)
        build_data["artifacts"] += [file.relative_to(root).as_posix() for file in files]


def platform_tag(libraries: list[Path]) -> str:
    """Return the platform that these libraries run on.

    ``manylinux_2_x`` says that they need glibc 2.x and nothing else that a system may lack: the
    newest version that they name of any symbol. Where they need this system's C++ library, or the
    system has another C library, it is this system's own tag.
    """
    system, _, machine = sysconfig.get_platform().replace(".", "_").partition("-")
    contents = b"".join(library.read_bytes() for library in libraries)
    versions = [int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", contents)]
    if system != "linux" or not versions or b"libstdc++.so" in contents:
        return f"{system}_{machine}".replace("-", "_")
    return f"manylinux_2_{max(OLDEST_GLIBC, *versions)}_{machine}"
