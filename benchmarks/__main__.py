"""The command line: choose cases, run each in a process of its own, write the page."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    descent,
    factorization,
    features,
    memory,
    networks,
    prediction,
    startup,
    streaming,
)
from benchmarks.case import Case, Options
from benchmarks.interleave import apart
from benchmarks.machine import Neighbours, machine
from benchmarks.page import COMMAND, page

CASES: dict[str, Case] = {
    case.name: case
    for case in sorted(
        (
            *networks.CASES.values(),
            startup.CASE,
            *memory.CASES,
            prediction.CASE,
            descent.CASE,
            features.CASE,
            *factorization.CASES,
            streaming.CASE,
        ),
        key=lambda case: case.name,
    )
}
"""All cases by the name that ``--only`` takes. A new one is a row here."""

PAGE = Path(__file__).parent.parent / "docs" / "BENCHMARKS.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks that the command line asks for."""
    chosen = parser().parse_args(arguments)
    names = chosen.only.split(",") if chosen.only else list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        sys.exit(f"--only expected some of {','.join(CASES)}, got {','.join(unknown)}.")
    options = Options(1 if chosen.quick else chosen.rounds, chosen.data, chosen.quick)
    began, findings = time.perf_counter(), []
    where = machine()
    for name in names:
        neighbours = Neighbours()
        finding = apart(CASES[name].measure, options)
        findings.append(replace(finding, others=neighbours.share()))
        print(f"{findings[-1].title}: {time.perf_counter() - began:.0f} s so far", file=sys.stderr)
    text = page(findings, options, where)
    if chosen.only or chosen.quick:
        print(text)
        return
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text)
    print(f"Wrote {PAGE}.", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    found = argparse.ArgumentParser(COMMAND, description=__doc__)
    add = found.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="timed rounds (default: 5)")
    add("--only", metavar="a,b", help=f"some of {','.join(CASES)}; prints the page")
    add("--data", type=Path, default=os.environ.get("LAMINA_DATA_DIR"), metavar="DIR",
        help="where real data sets lie (default: LAMINA_DATA_DIR)")  # fmt: skip
    add("--quick", action="store_true", help="only see that everything runs; prints the page")
    return found


if __name__ == "__main__":
    main()
