"""Compile the native kernels: ``python native/build.py`` from the repository's root.

One library for each instruction set that kernels are written for on this machine's architecture,
and a small one that tells which of them the processor has. Needs nothing but a C++ compiler:
``CXX``, or else g++, clang++ or c++.
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
SOURCES = ("recurrence.cc", "convolution.cc", "dense.cc", "least_squares.cc", "top_n.cc")
INSTRUCTION_SETS = {
    "x86_64": {"avx512": ["-march=x86-64-v4"], "avx2": ["-march=x86-64-v3"]},
    "aarch64": {"neon": ["-march=armv8-a"]},
}
# Sums may be fused but not reordered, and what is not a number stays so: no -ffast-math.
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
FLAGS += ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-isystem", str(HERE / "third_party")]


class CannotBuildError(Exception):
    """There is no compiler or no kernel for this machine; the message says which."""


def build(into: Path = INTO) -> list[Path]:
    """Compile the libraries that are older than their sources, and return the paths of all.

    Raises
    ------
    CannotBuildError
        With one sentence that says what is missing, or what the compiler said.
    """
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if os.name != "posix" or machine not in INSTRUCTION_SETS:
        raise CannotBuildError(f"no kernels are written for {machine} on {os.name}")
    sets = INSTRUCTION_SETS[machine]
    libraries = {name: into / f"{name}.so" for name in sets}
    processor = into / "processor.so"
    paths = [*libraries.values(), processor]
    newest = max(
        file.stat().st_mtime for file in HERE.rglob("*") if file.suffix in (".cc", ".h", ".py")
    )
    if all(path.exists() and path.stat().st_mtime > newest for path in paths):
        return paths
    compiler = _compiler()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = {name: [f"{folder}/{name}-{source}.o" for source in SOURCES] for name in sets}
        jobs = [
            [compiler, *FLAGS, *sets[name], "-c", str(HERE / source), "-o", to]
            for name in sets
            for source, to in zip(SOURCES, objects[name], strict=True)
        ]
        list(pool.map(_run, jobs))
        for name, path in libraries.items():
            _link(compiler, path, objects[name])
    _link(compiler, processor, [*FLAGS, str(HERE / "processor.cc")])
    return paths


def _link(compiler: str, path: Path, inputs: list[str]) -> None:
    unfinished = path.with_suffix(".part")  # a process that uses the old library keeps it
    _run([compiler, "-shared", *inputs, "-o", str(unfinished), "-lpthread"])
    unfinished.replace(path)


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and shutil.which(name):
            return name
    raise CannotBuildError("no C++ compiler was found (CXX, g++, clang++, c++)")


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CannotBuildError(f"{' '.join(command)} failed:\n{result.stderr[-4000:]}")
    if result.stderr:
        print(result.stderr, file=sys.stderr)


if __name__ == "__main__":
    try:
        print(*build(), sep="\n")
    except CannotBuildError as error:
        sys.exit(f"The native kernels were not built: {error}.")
