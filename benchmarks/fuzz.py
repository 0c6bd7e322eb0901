"""Readers of files under atheris, which mutates files towards code that none has reached yet.

``python -m benchmarks.fuzz --seconds 60`` goes through all rows of `benchmarks.strangers`, each in
a process of its own with at most 2 GiB of memory and 10 seconds a file; ``--only npz,csv`` some of
them. A file that crashes a reader, hangs it or takes too much memory is left in ``--folder``. It
needs atheris (``pip install atheris``; Linux), which nothing else does.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.strangers import STRANGERS

MEMORY, SECONDS_A_FILE, LONGEST = 2048, 10, 1 << 14
"""MiB, seconds, and bytes of a file."""


def fuzz(kind: str, folder: Path, seconds: int) -> None:
    """Let atheris run in this process; it ends the process."""
    import atheris

    stranger = STRANGERS[kind]
    corpus = folder / kind.replace(" ", "-")
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["lamina", "zipfile", "tarfile", "pickletools"]):
        for number, content in enumerate(stranger.valid()):
            (corpus / f"valid-{number}").write_bytes(content)
            with TemporaryDirectory() as place:
                if (error := stranger.try_with(content, Path(place))) is not None:
                    raise AssertionError(f"a valid {kind} was refused: {error}")
    place = TemporaryDirectory()

    def one(content: bytes) -> None:
        stranger.try_with(content, Path(place.name))

    limits = [f"-max_total_time={seconds}", f"-timeout={SECONDS_A_FILE}"]
    limits += [f"-rss_limit_mb={MEMORY}", f"-max_len={LONGEST}", f"-artifact_prefix={corpus}-"]
    atheris.Setup([sys.argv[0], str(corpus), "-print_final_stats=1", *limits], one)
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz each reader and print a table; 1 if any failed."""
    chosen = parser().parse_args(arguments)
    if chosen.one:
        fuzz(chosen.one, chosen.folder, chosen.seconds)
    print("| reader | files tried | outcome |\n|---|---:|---|")
    failed = 0
    for kind in chosen.only.split(","):
        command = [sys.executable, "-m", "benchmarks.fuzz", "--one", kind]
        command += ["--seconds", str(chosen.seconds), "--folder", str(chosen.folder)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        log = chosen.folder / f"{kind.replace(' ', '-')}.log"
        log.write_text(done.stdout + done.stderr)
        tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        tried = int(tried[1]) if tried else 0
        outcome = "no crash, no hang" if done.returncode == 0 else f"FAILED, see {log}"
        failed += done.returncode != 0
        print(f"| {kind} | {tried:,} | {outcome} |", flush=True)
    return int(failed > 0)


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    found = argparse.ArgumentParser("python -m benchmarks.fuzz", description=__doc__)
    found.add_argument("--seconds", type=int, default=60, help="for each reader (default: 60)")
    found.add_argument("--only", default=",".join(STRANGERS), help="some of the readers")
    found.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="of what is found")
    found.add_argument("--one", help=argparse.SUPPRESS)
    return found


if __name__ == "__main__":
    sys.exit(main())
