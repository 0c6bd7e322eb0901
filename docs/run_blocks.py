"""Run the ``sh`` and ``python`` blocks of Markdown pages, in order, in one temporary folder a page.

Usage: python docs/run_blocks.py PAGE...
A page's ``pycon`` blocks, with ``>>>``, are one session; what they show must be what they print.
A block right after ``<!-- not run: REASON -->`` is left out.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"(<!-- not run:[^\n]*-->\n)?^```(sh|python)\n(.*?)^```", re.M | re.S)


SESSION = re.compile(r"^```pycon\n(.*?)^```", re.M | re.S)


def run_session(page: Path) -> int:
    """Compare what a page's session shows with what it prints, and return how many lines it has."""
    shown = "\n".join(SESSION.findall(page.read_text(encoding="utf-8")))
    session = doctest.DocTestParser().get_doctest(shown, {}, page.name, str(page), 0)
    found = doctest.DocTestRunner().run(session)
    if found.failed:
        sys.exit(f"{page}: {found.failed} of {found.attempted} results are not those shown")
    return found.attempted


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
    return ran + run_session(page)


if __name__ == "__main__":
    total = sum(run_page(Path(name)) for name in sys.argv[1:])
    if not total:
        sys.exit("no block was run")
    print(f"\n{total} blocks ran")
