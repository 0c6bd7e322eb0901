"""The step that compiles the native kernels when Lamina is installed or a wheel of it is made.

Where it cannot, the installation goes on without them: XLA's kernels run, and ``lamina --version``
says so.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from build import CannotBuildError, build


class NativeKernels(BuildHookInterface):
    """Compile, and mark the wheel as one for this platform and any Python 3."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before files are collected."""
        if self.target_name != "wheel":
            return
        try:
            build()
        except CannotBuildError as error:
            self.app.display_warning(f"Lamina runs on XLA's kernels alone: {error}.")
            return
        build_data["pure_python"] = False
        build_data["tag"] = (
            f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        )
