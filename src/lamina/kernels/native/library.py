"""The compiled library: which one suits this processor, whether it can be used, calls into it.

``LAMINA_KERNELS=xla`` leaves all to XLA; ``native`` and ``auto`` (the default) use native kernels.
``LAMINA_NUM_THREADS`` bounds the threads that a native kernel works with.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lamina.errors import InputError, check_choice

CHOICES = ("auto", "native", "xla")
LANES = {"avx512": 16, "avx2": 8, "neon": 4}
"""The floats in a register of each instruction set that kernels are written for."""
NONE = (0,)
"""The shape that tells a kernel that an array is not there, or not wanted."""
_FOLDER = Path(__file__).parent


class _Found(NamedTuple):
    library: ctypes.CDLL | None
    explanation: str


def choice() -> str:
    """Return what ``LAMINA_KERNELS`` says: "auto", "native" or "xla"."""
    return check_choice("LAMINA_KERNELS", os.environ.get("LAMINA_KERNELS") or "auto", CHOICES)


def is_active() -> bool:
    """Tell whether native kernels can be used here at all."""
    return choice() != "xla" and _found().library is not None


def explanation() -> str:
    """Return in a few words which kernels are used and why."""
    if choice() == "xla":
        return "XLA (LAMINA_KERNELS=xla)"
    return _found().explanation


def lanes() -> int:
    """Return how many floats the library's vectors hold."""
    return LANES[_instruction_set() or "avx2"]


def threads() -> int:
    """Return the bound on a kernel's threads that ``LAMINA_NUM_THREADS`` sets, 0 for none."""
    told = os.environ.get("LAMINA_NUM_THREADS") or "0"
    if not told.isdigit():
        raise InputError(f"LAMINA_NUM_THREADS expected a whole number of threads, got {told!r}.")
    return int(told)


def or_none(array: Any, dtype: str = "float32") -> Any:
    """Return an array, or what tells a kernel that it is not there."""
    import jax.numpy as jnp

    return jnp.zeros(NONE, dtype) if array is None else array


def static(flag: bool) -> tuple[()] | None:
    """Return a flag for a backward rule as a tree without leaves: None is false.

    What a forward rule saves may be traced, as in the gradient of a jitted function; the structure
    of it never is.
    """
    return () if flag else None


def call(name: str, results: Any, *arguments: Any, **attributes: Any) -> Any:
    """Call a native kernel inside a JAX program.

    Parameters
    ----------
    name : str
        Its name in the library.
    results : ShapeDtypeStruct or sequence of them
        What it returns.
    *arguments : arrays
        What it reads.
    **attributes : bool, int or numpy.float32
        Its constants.
    """
    import jax
    import numpy as np

    _register(name)
    constants = {
        key: value if isinstance(value, (bool, np.floating)) else np.int64(value)
        for key, value in attributes.items()
    }
    kernel = jax.ffi.ffi_call(f"lamina_{name}", results, vmap_method="sequential")
    return kernel(*arguments, threads=np.int64(threads()), **constants)


@cache
def _register(name: str) -> None:
    """Make a kernel known to XLA under its name."""
    import jax

    library = _found().library
    assert library is not None, "kernels ask is_active first"
    target = jax.ffi.pycapsule(getattr(library, name))
    jax.ffi.register_ffi_target(f"lamina_{name}", target, platform="cpu")


@cache
def _found() -> _Found:
    """Return the library for this machine, or why there is none."""
    import jax

    if jax.default_backend() != "cpu":
        return _Found(None, f"XLA (on {jax.default_backend()})")
    instruction_set = _instruction_set()
    if instruction_set is None:
        return _Found(None, f"XLA (no native kernels for this {platform.machine()} processor)")
    path = _FOLDER / f"{instruction_set}.so"
    if not path.exists():
        return _Found(None, "XLA (no native kernels were built: installing needs a C++ compiler)")
    try:
        return _Found(ctypes.CDLL(str(path)), f"native ({instruction_set})")
    except OSError as error:
        return _Found(None, f"XLA (the native kernels do not load: {error})")


def _instruction_set() -> str | None:
    """Return the best instruction set that kernels are written for and this processor has."""
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return "neon"
    path = _FOLDER / "processor.so"
    if machine not in ("x86_64", "amd64") or not path.exists():
        return None
    processor = ctypes.CDLL(str(path))
    processor.instruction_set.restype = ctypes.c_char_p
    return processor.instruction_set().decode() or None
