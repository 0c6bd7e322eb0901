"""Run the ``sh`` and ``python`` blocks of Markdown pages, in order, in one temporary folder a page.

Usage: python docs/run_blocks.py PAGE...
A block right after ``<!-- not run: REASON -->`` is left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"(<!-- not run:[^\n]*-->\n)?^```(sh|python)\n(.*?)^```", re.M | re.S)


def run_page(page: Path) -> int:
    """Run a page's blocks and return how many; a block that fails ends the process."""
    ran = 0
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        for left_out, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
            if left_out:
                continue
            print(f"\n--- {page.name}, {language}\n{code.rstrip()}", flush=True)
            command = ["bash", "-euc", code] if language == "sh" else [sys.executable, "-c", code]
            environment = {**os.environ, "PATH": path}
            done = subprocess.run(command, cwd=folder, env=environment, check=False)
            if done.returncode:
                sys.exit(f"{page}: a {language} block ended with status {done.returncode}")
            ran += 1
    return ran


if __name__ == "__main__":
    total = sum(run_page(Path(name)) for name in sys.argv[1:])
    if not total:
        sys.exit("no block was run")
    print(f"\n{total} blocks ran")
