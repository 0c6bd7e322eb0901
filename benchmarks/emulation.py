"""Products in bfloat16 where the processor has no AMX: its tiles emulated, number for number.

Slow, but what comes out, and what lies in memory, is what a processor with AMX has.
"""

from __future__ import annotations

from pathlib import Path

EMULATED = Path(__file__).parents[1] / "build" / "emulated" / "emulated.so"
BUILD = "python native/build.py --emulate-tiles --into build/emulated"


def is_needed() -> bool:
    """Tell whether native kernels compute in bfloat16 here only by emulation."""
    from lamina.kernels.native import library

    return library.is_active() and not library.is_active_in_half()


def is_missing() -> bool:
    """Tell whether products in bfloat16 are to be had here in no way."""
    from lamina.kernels.native import library

    return not library.is_active() or (is_needed() and not EMULATED.exists())


def compute_in_bfloat16() -> None:
    """Let this process compute in bfloat16 where it is asked to, whatever its processor has.

    To be called in a process of its own: nothing takes it back.
    """
    from lamina.kernels.native import library
    from lamina.training import precision

    precision.has_bfloat16 = lambda: True
    if is_needed():
        emulated = library._Found(library._load(EMULATED), "emulated", "emulated")
        library._found_half = lambda: emulated
