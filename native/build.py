"""Compile the native kernels: ``python native/build.py`` from the repository's root.

One library for each instruction set that kernels are written for on this machine's architecture,
one for each that half precision is written for, and a small one that tells which of them the
processor has. Needs nothing but a C++ compiler: ``CXX``, or else g++, clang++ or c++.

``--sanitize``, ``--check`` and ``--emulate-tiles`` are for tests (CONTRIBUTING.md): libraries that
watch themselves, programs that drive the kernels without Python, and half precision for processors
that lack it.
"""

from __future__ import annotations

import argparse
import os
import platform
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
INTO = HERE.parent / "src" / "lamina" / "kernels" / "native"
SOURCES = (
    "identity.cc",
    "recurrence.cc",
    "convolution.cc",
    "products.cc",
    "dense.cc",
    "normalization.cc",
    "relu.cc",
    "global_average.cc",
    "embedding.cc",
    "descent.cc",
    "least_squares.cc",
    "top_n.cc",
)
HALF_SOURCES = (
    "identity.cc",
    "half_dense.cc",
    "half_recurrence.cc",
    "half_recurrence_pullback.cc",
    "half_convolution.cc",
)
CHECK = ("tests/check.cc", "processor.cc")
INSTRUCTION_SETS = {
    "x86_64": {"avx512": ["-march=x86-64-v4"], "avx2": ["-march=x86-64-v3"]},
    "aarch64": {"neon": ["-march=armv8-a"]},
}
HALF_SETS = {"x86_64": {"amx": ["-march=x86-64-v4", "-mamx-tile", "-mamx-bf16"]}, "aarch64": {}}
"""Those that multiply in bfloat16; a compiler may be too old for them."""
EMULATED = {"emulated": ["-march=x86-64-v4"]}
# Sums may be fused but not reordered, and what is not a number stays so: no -ffast-math.
FLAGS = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
FLAGS += ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-isystem", str(HERE / "third_party")]
# The C++ library inside, where the system has it to link: then a wheel needs no newer one.
STATIC = ["-static-libstdc++", "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections"]

DIGEST = runpy.run_path(str(INTO / "digest.py"))


class CannotBuildError(Exception):
    """There is no compiler or no kernel for this machine; the message says which."""


def build(
    into: Path = INTO,
    machine: str = "",
    sanitize: str = "",
    only: str = "",
    emulate: bool = False,
) -> list[Path]:
    """Compile the libraries, unless those there have these sources, and return their paths.

    Parameters
    ----------
    into : Path
        Their folder.
    machine : str
        The architecture to compile for, if not this machine's; then ``CXX`` names the compiler.
    sanitize : str
        As in the compiler's ``-fsanitize``; with it, nothing is optimised much.
    only : str
        The one instruction set to compile for.
    emulate : bool
        Compile only half precision, with what AMX's instructions do in plain C++.

    Raises
    ------
    CannotBuildError
        With one sentence that says what is missing, or what the compiler said.
    """
    sets = EMULATED if emulate else _instruction_sets(machine, only)
    digest = DIGEST["of_sources"](HERE)
    libraries = {name: into / f"{name}.so" for name in sets}
    processor = into / "processor.so"
    paths = [*libraries.values(), processor]
    sources = f"{digest} {sanitize}".strip()
    if processor.exists() and all(_is_of(path, sources) for path in libraries.values()):
        return paths
    compiler = _compiler()
    flags = [*FLAGS, *_watched(sanitize), f'-DLAMINA_SOURCES="{sources}"']
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        understood = _understood(compiler, sets, Path(folder))
        objects = _compile(compiler, flags, understood, Path(folder))
        for name in objects:
            inputs = ["-shared", *_watched(sanitize), *objects[name]]
            _link(compiler, libraries[name], inputs, not sanitize)
    _link(compiler, processor, ["-shared", *FLAGS, str(HERE / "processor.cc")], not sanitize)
    (into / DIGEST["FILE"]).write_text(digest + "\n")
    return [*(libraries[name] for name in objects), processor]


def build_check(
    into: Path,
    machine: str = "",
    sanitize: str = "",
    only: str = "",
    emulate: bool = False,
) -> list[Path]:
    """Compile programs that check the kernels without Python, one for each instruction set."""
    sets = EMULATED if emulate else _instruction_sets(machine, only, half=False)
    compiler = _compiler()
    flags = [*FLAGS, *_watched(sanitize), '-DLAMINA_SOURCES=""', "-fvisibility=default"]
    flags += ["-DLAMINA_HALF"] * emulate
    into.mkdir(parents=True, exist_ok=True)
    paths = {name: into / f"check-{name}" for name in sets}
    with tempfile.TemporaryDirectory() as folder:
        objects = _compile(compiler, flags, sets, Path(folder), CHECK)
        for name, path in paths.items():
            _link(compiler, path, [*_watched(sanitize), *objects[name]], static=False)
    return list(paths.values())


def _instruction_sets(machine: str, only: str, half: bool = True) -> dict[str, list[str]]:
    machine = (machine or platform.machine()).lower().replace("amd64", "x86_64")
    if os.name != "posix" or machine not in INSTRUCTION_SETS:
        raise CannotBuildError(f"no kernels are written for {machine} on {os.name}")
    sets = INSTRUCTION_SETS[machine] | (HALF_SETS[machine] if half else {})
    if only and only not in sets:
        raise CannotBuildError(f"{machine} has {' and '.join(sets)}, not {only}")
    return {only: sets[only]} if only else sets


def _sources(name: str) -> tuple[str, ...]:
    is_half = name in EMULATED or any(name in sets for sets in HALF_SETS.values())
    return HALF_SOURCES if is_half else SOURCES


def _understood(
    compiler: list[str], sets: dict[str, list[str]], folder: Path
) -> dict[str, list[str]]:
    """Return the sets without those of half precision that the compiler does not know."""

    def compiles(flags: list[str]) -> bool:
        command = [*compiler, *flags, "-x", "c++", "-c", "/dev/null", "-o", str(folder / "nothing")]
        return not subprocess.run(command, capture_output=True, check=False).returncode

    return {
        name: flags for name, flags in sets.items() if _sources(name) == SOURCES or compiles(flags)
    }


def _is_of(path: Path, sources: str) -> bool:
    return path.exists() and sources.encode() + b"\0" in path.read_bytes()


def _watched(sanitize: str) -> list[str]:
    if not sanitize:
        return ["-O3"]
    return [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all", "-O1", "-g1"]


def _compile(
    compiler: list[str],
    flags: list[str],
    sets: dict[str, list[str]],
    folder: Path,
    more: tuple[str, ...] = (),
) -> dict[str, list[str]]:
    """Return the paths of the objects for each instruction set, of its sources and ``more``."""
    sources = {name: (*_sources(name), *more) for name in sets}
    objects = {
        name: [str(folder / f"{name}-{Path(source).stem}.o") for source in sources[name]]
        for name in sets
    }
    jobs = [
        [*compiler, *flags, *sets[name], "-c", str(HERE / source), "-o", to]
        for name in sets
        for source, to in zip(sources[name], objects[name], strict=True)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_run, jobs))
    return objects


def _link(compiler: list[str], path: Path, inputs: list[str], static: bool) -> None:
    unfinished = path.with_suffix(".part")  # a process that uses the old library keeps it
    command = [*compiler, *inputs, "-o", str(unfinished), "-lpthread"]
    try:
        _run([*command, *STATIC] if static else command)
    except CannotBuildError:
        if not static:
            raise
        _run(command)
    unfinished.replace(path)


def _compiler() -> list[str]:
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        command = shlex.split(name or "")
        if command and shutil.which(command[0]):
            return command
    raise CannotBuildError("no C++ compiler was found (CXX, g++, clang++, c++)")


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CannotBuildError(f"{' '.join(command)} failed:\n{result.stderr[-4000:]}")
    if result.stderr:
        print(result.stderr, file=sys.stderr)


def main() -> None:
    """Do what the command line says, and print what was built."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--into", type=Path, help="the folder for what is built (default: where Lamina looks)")
    add("--machine", default="", help=f"one of {', '.join(INSTRUCTION_SETS)} (default: this one)")
    add("--sanitize", default="", metavar="LIST", help="e.g. address,undefined or thread")
    add("--only", default="", metavar="SET", help="one instruction set, e.g. avx2")
    add("--check", action="store_true", help="build the programs that check kernels, not libraries")
    add("--emulate-tiles", action="store_true", help="build half precision in plain C++ alone")
    told = parser.parse_args()
    unusual = told.check or told.sanitize or told.machine or told.only or told.emulate_tiles
    if told.into is None and unusual:
        parser.error("all but the usual libraries needs --into, a folder of its own")
    make = build_check if told.check else build
    try:
        made = make(told.into or INTO, told.machine, told.sanitize, told.only, told.emulate_tiles)
        print(*made, sep="\n")
    except CannotBuildError as error:
        sys.exit(f"The native kernels were not built: {error}.")


if __name__ == "__main__":
    main()
