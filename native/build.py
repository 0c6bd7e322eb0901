"""Compile the native kernels: ``python native/build.py`` from the repository's root.

One library for each instruction set that kernels are written for on this machine's architecture, and
a small one that tells which of them the processor has. Needs a C++ compiler (``CXX``, else g++ or
clang++) and the headers that come with jaxlib.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
INTO = HERE.parent / "src" / "lamina" / "kernels" / "native"
SOURCES = ("recurrence.cc", "convolution.cc")
INSTRUCTION_SETS = {
    "x86_64": {"avx512": ["-march=x86-64-v4"], "avx2": ["-march=x86-64-v3"]},
    "aarch64": {"neon": ["-march=armv8-a"]},
}
# Sums may be fused but not reordered, and what is not a number stays so: no -ffast-math.
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
FLAGS += ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]


class CannotBuildError(Exception):
    """There is no compiler, no header, or no kernel for this machine; the message says which."""


def build(into: Path = INTO) -> list[Path]:
    """Compile all libraries into a folder and return their paths.

    Raises
    ------
    CannotBuildError
        With one sentence that says what is missing or what the compiler said.
    """
    compiler, headers = _compiler(), _headers()
    sets = INSTRUCTION_SETS.get(platform.machine().lower().replace("amd64", "x86_64"))
    if sets is None or os.name != "posix":
        raise CannotBuildError(f"no kernels are written for {platform.machine()} on {os.name}")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = {
            name: [Path(folder) / f"{name}-{source}.o" for source in SOURCES] for name in sets
        }
        jobs = [
            [compiler, *FLAGS, *sets[name], "-isystem", headers, "-c", str(HERE / source), "-o", str(o)]
            for name in sets
            for source, o in zip(SOURCES, objects[name], strict=True)
        ]
        list(pool.map(_run, jobs))
        built = [_link(compiler, into / f"{name}.so", map(str, objects[name])) for name in sets]
    return [*built, _link(compiler, into / "processor.so", [*FLAGS, str(HERE / "processor.cc")])]


def _link(compiler, path, inputs):
    partial = path.with_suffix(".part")  # a library in use keeps its file
    _run([compiler, "-shared", *inputs, "-o", str(partial), "-lpthread"])
    partial.replace(path)
    return path


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and shutil.which(name):
            return name
    raise CannotBuildError("no C++ compiler was found (CXX, g++, clang++)")


def _headers() -> str:
    try:
        import jaxlib
    except ImportError as error:
        raise CannotBuildError("jaxlib, whose headers are needed, is not installed") from error
    return str(Path(jaxlib.__file__).parent / "include")


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CannotBuildError(f"{' '.join(command)} failed:\n{result.stderr[-4000:]}")
    if result.stderr:
        print(result.stderr, file=sys.stderr)


if __name__ == "__main__":
    for path in build():
        print(path)
