"""Native kernels against XLA's, kind by kind: ``python -m benchmarks.kernels`` writes the choices.

For each kernel and kind of work a row of sizes is measured, forward and backward together, native
and XLA's in turns. The table that Lamina reads, ``choices.json``, keeps of that between how many
multiplications native was the faster one: the span of sizes that gains the most.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.interleave import apart, interleaved
from benchmarks.machine import cpu_model
from benchmarks.page import table
from benchmarks.task import cores

DENSE = [
    *((n, m, 10) for n, m in ((32, 32), (32, 64), (32, 256), (128, 256), (128, 1024), (256, 3072))),
    (2048, 3072, 10),
    *((32, 32, 64), (32, 64, 100), (64, 64, 128), (64, 128, 128), (128, 128, 256)),
    *((128, 784, 256), (256, 784, 512), (256, 1024, 1024), (512, 1024, 1024)),
]
"""n, m, k."""
CONVOLUTION = [
    *((1, 8, 1, 8, 1), (8, 14, 1, 16, 1), (64, 28, 1, 32, 1), (128, 28, 1, 32, 1)),
    *((1, 8, 8, 8, 1), (8, 14, 16, 16, 1), (32, 32, 3, 32, 1), (64, 14, 32, 64, 1)),
    (64, 28, 64, 64, 1),
    *((1, 8, 8, 8, 8), (8, 14, 32, 32, 32), (32, 28, 32, 32, 32), (8, 14, 64, 64, 4)),
]
"""n, height and width, channels, filters, groups; all 3 × 3, with relu."""
RECURRENCE = [(1, 4, 2, 8), (1, 50, 8, 32), (16, 10, 8, 32), (32, 30, 16, 64), (64, 50, 32, 128)]
"""n, t, m, h."""
CELLS = {"rnn_tanh": 1, "lstm": 4, "gru": 3}
MOST = 2.0
"""The ratio from which on more of it says no more, so that one disturbed size decides nothing."""
LEAST_SECONDS = 0.005
"""A measurement repeats a call until it takes so long."""


class Duel(NamedTuple):
    """One size: the kernel's name, its kind of work, its multiplications, and how to run it."""

    kernel: str
    kind: str
    products: int
    native: Callable[..., Any]
    xla: Callable[..., Any]
    arrays: tuple[Any, ...]


class Found(NamedTuple):
    """What was measured of a size: seconds, the least of all rounds. Other programs only add."""

    kernel: str
    kind: str
    products: int
    native: float
    xla: float


def duels() -> list[Duel]:
    """Return all sizes of all kernels."""
    from lamina.kernels import convolution, dense, native, recurrence
    from lamina.kernels.patches import SAME, Geometry

    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)

    found = []
    for n, m, k in DENSE:
        X, W, b = normal(n, m), normal(m, k), normal(k)
        pair = (_of(of, "relu") for of in (native.dense, dense._dense))
        found.append(Duel("dense", *dense.work(X, W), *pair, (X, W, b)))
    for n, size, c, k, groups in CONVOLUTION:
        geometry = Geometry(padding=SAME, groups=groups)
        X, W, b = normal(n, size, size, c), normal(3, 3, c // groups, k), normal(k)
        twins = native.convolution, convolution._convolution
        pair = (_of(of, "relu", geometry, None) for of in twins)
        found.append(Duel("convolution", *convolution.work(X, W, geometry), *pair, (X, W, b)))
    for (n, t, m, h), (cell, gates) in (
        (size, cell) for cell in CELLS.items() for size in RECURRENCE
    ):
        X, b = normal(t, n, m), normal((gates + (cell == "gru")) * h)
        W_x, W_h = normal(m, gates * h), normal(h, gates * h)
        initial = tuple(np.zeros((n, h), np.float32) for _ in range(1 + (cell == "lstm")))
        pair = (_sweep(of, cell, initial) for of in (native.sweep, recurrence._sweep))
        found.append(Duel("recurrence", *recurrence.work(cell, X, W_h), *pair, (X, W_x, W_h, b)))
    return found


def _of(kernel: Any, *rest: Any) -> Callable[..., Any]:
    return lambda X, W, b: kernel(X, W, b, *rest)


def _sweep(kernel: Any, cell: str, initial: Any) -> Callable[..., Any]:
    return lambda *arrays: kernel(cell, False, *arrays, initial, None)[0]


def measure(rounds: int, kernels: Sequence[str]) -> tuple[str, list[Found]]:
    """Return the instruction set in use, and what was found of some kernels."""
    from lamina.kernels.native import library

    if not library.is_active():
        sys.exit(f"benchmarks.kernels expected native kernels, got {library.explanation()}.")
    found = []
    for duel in (duel for duel in duels() if duel.kernel in kernels):
        measures = {name: _seconds(duel, getattr(duel, name)) for name in ("native", "xla")}
        times = interleaved(measures, rounds, warm_ups=1)
        found.append(Found(*duel[:3], min(times["native"]), min(times["xla"])))
    return library.instruction_set(), found


def _seconds(duel: Duel, function: Callable[..., Any]) -> Callable[[], float]:
    """Return the measure "a step of descent", run as networks are trained.

    That is many steps in one compiled loop, or, for convolutions, step by step.
    """
    import jax

    from lamina.kernels.convolution import compiler_options

    every = tuple(range(len(duel.arrays)))

    def step(arrays: Any) -> Any:
        gradients = jax.grad(lambda *arrays: function(*arrays).sum(), every)(*arrays)
        return jax.tree.map(lambda a, da: a - 1e-6 * da, arrays, gradients)

    if duel.kernel == "convolution":
        one = jax.jit(step, compiler_options=compiler_options())

        def run(arrays: Any, steps: int) -> Any:
            for _ in range(steps):
                arrays = one(arrays)
            return arrays
    else:
        run = jax.jit(
            lambda arrays, steps: jax.lax.fori_loop(0, steps, lambda _, a: step(a), arrays)
        )
    arrays = tuple(map(jax.numpy.asarray, duel.arrays))

    def seconds(steps: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(run(arrays, steps))
        return (time.perf_counter() - began) / steps

    seconds(1)
    steps = max(1, math.ceil(LEAST_SECONDS / min(seconds(3), seconds(3))))
    return lambda: seconds(steps)


def span(sizes: Sequence[Found]) -> list[int | None] | None:
    """Return from how many multiplications on, and up to how many, native is the faster one.

    Of all spans of neighbouring sizes that with the greatest product of the ratios XLA / native,
    none of which counts for more than `MOST`; it ends half way, in logarithms, to the next size,
    and None says that no size was beyond.
    """
    sizes = sorted(sizes, key=lambda found: found.products)
    gains = [math.log(min(max(found.xla / found.native, 1 / MOST), MOST)) for found in sizes]
    spans = [(i, j) for i in range(len(sizes)) for j in range(i + 1, len(sizes) + 1)]
    i, j = max(spans, key=lambda ends: sum(gains[slice(*ends)]))
    if sum(gains[i:j]) <= 0:
        return None

    def between(at: int) -> int:
        return round(math.sqrt(sizes[at - 1].products * sizes[at].products))

    return [between(i) if i else 0, between(j) if j < len(sizes) else None]


def choices(found: Sequence[Found]) -> dict[str, dict[str, Any]]:
    """Return the spans by kernel and kind."""
    kinds = dict.fromkeys((one.kernel, one.kind) for one in found)
    table: dict[str, dict[str, Any]] = {}
    for kernel, kind in kinds:
        row = span([one for one in found if (one.kernel, one.kind) == (kernel, kind)])
        table.setdefault(kernel, {})[kind] = row
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the instruction sets that this processor has, print all, and write the table."""
    from lamina.kernels.native.choices import TABLE

    parser = argparse.ArgumentParser("python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds (default: 15)")
    parser.add_argument("--only", default="avx512,avx2,neon", help="some instruction sets")
    parser.add_argument("--kernels", default="dense,convolution,recurrence", help="some kernels")
    parser.add_argument("--dry", action="store_true", help="print only, and write no table")
    told = parser.parse_args(arguments)
    known = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    for name in told.only.split(","):
        os.environ["LAMINA_KERNELS"] = name
        try:
            measured, found = apart(measure, told.rounds, told.kernels.split(","))
        except SystemExit as reason:
            print(reason, file=sys.stderr)
            continue
        rows = [
            (one.kernel, one.kind, f"{one.products:,}", f"{one.native * 1e6:,.0f}",
             f"{one.xla * 1e6:,.0f}", f"{one.xla / one.native:.2f}")
            for one in found
        ]  # fmt: skip
        header = ("kernel", "kind", "multiplications", "native, µs", "XLA, µs", "XLA / native")
        print(f"## {measured}", table(header, rows), sep="\n\n")
        where = f"{datetime.date.today()} on {cpu_model()}, {cores()} cores"
        before = known.get(measured, {}).get("kernels", {})
        known[measured] = {"measured": where, "kernels": before | choices(found)}
        if not told.dry:
            TABLE.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
