"""Which kernel is the faster one, native or XLA's, by measurement.

``choices.json`` says for each instruction set, kernel and kind of work between how many
multiplications the native kernel was the faster one, forward and backward together, and on what
machine that was found. ``python -m benchmarks.kernels`` writes it; nobody edits it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from lamina.kernels.native import library

TABLE = Path(__file__).parent / "choices.json"


def is_faster(kernel: str, kind: str, products: int, dtype: Any = "float32") -> bool:
    """Tell whether there is a native kernel to run, and it is the faster one.

    Parameters
    ----------
    kernel, kind : str
        A kernel that has a twin, and the kind of its work. What is not in the table is native.
    products : int
        The multiplications of one forward pass.
    dtype : dtype
        Of the weights. In bfloat16 the native kernel is taken wherever there is one: XLA's own on a
        CPU convert to float32 and back.
    """
    if dtype == "bfloat16":
        return library.is_active_in_half()
    if dtype != "float32" or not library.is_active():
        return False
    if library.choice() != "auto":
        return True
    least, below = bounds(kernel, kind)
    return least <= products < below


def bounds(kernel: str, kind: str) -> tuple[float, float]:
    """Return from how many multiplications on, and up to how many, the native kernel is faster."""
    row = _measured()[1]["kernels"].get(kernel, {}).get(kind, [0, None])
    if row is None:
        return 0, 0
    least, below = row
    return least, float("inf") if below is None else below


def explanation() -> str:
    """Return `library.explanation`, and where the choices were measured."""
    if not library.is_active() or library.choice() != "auto":
        return library.explanation()
    name, (measured, table) = library.instruction_set(), _measured()
    borrowed = "" if name == measured else f" for {measured}"
    return f"native ({name}) where faster than XLA: measured{borrowed} {table['measured']}"


def _measured() -> tuple[str, dict[str, Any]]:
    """Return the row of the table that counts here; the first where nobody has measured this."""
    table, name = _table(), library.instruction_set()
    return (name, table[name]) if name in table else next(iter(table.items()))


@cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text())
