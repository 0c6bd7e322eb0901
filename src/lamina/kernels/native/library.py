"""The compiled library: which one suits this processor, whether it can be used, calls into it.

``LAMINA_KERNELS``
    ``auto``, the default, takes native kernels where they were measured to be faster than XLA's
    (`lamina.kernels.native.choices`); ``native`` takes them wherever they apply, as does the name
    of an instruction set (``avx512``, ``avx2``, ``neon``); ``xla`` leaves all to XLA. With
    ``auto`` and ``native`` bfloat16 is computed by AMX, on processors that have it.
``LAMINA_NUM_THREADS``
    The most threads that a native kernel works with; 0 for as many as XLA has. Where it is not set
    the least of ``OMP_NUM_THREADS`` and ``LOKY_MAX_CPU_COUNT`` counts: joblib gives each of its
    processes a share of the cores by the first, so a parallel search does not use cores twice.
    Read where a program is traced: set it before the first call.
``LAMINA_KERNELS_FOLDER``
    Where the libraries lie, if not beside this file: those built to watch themselves.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lamina.errors import InputError, check_choice
from lamina.kernels.native import digest
from lamina.placement import devices_in_use

LANES = {"avx512": 16, "avx2": 8, "neon": 4}
"""The floats in a register of each instruction set that kernels are written for."""
CHOICES = ("auto", "native", "xla", *LANES)
NONE = (0,)
"""The shape that tells a kernel that an array is not there, or not wanted."""
SHARES = ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
"""Bounds on threads that others set for all of a process."""


class _Found(NamedTuple):
    library: ctypes.CDLL | None
    instruction_set: str
    explanation: str


class _UnusableError(Exception):
    """There is no native kernel here; the message says why."""


def choice() -> str:
    """Return what ``LAMINA_KERNELS`` says, one of `CHOICES`."""
    return check_choice("LAMINA_KERNELS", os.environ.get("LAMINA_KERNELS") or "auto", CHOICES)


def is_active() -> bool:
    """Tell whether native kernels can be used here at all.

    Not over several devices: there each would do the work of all, since XLA cannot know how a
    foreign kernel's work may be split.
    """
    return choice() != "xla" and devices_in_use() == 1 and _found().library is not None


def is_active_in_half() -> bool:
    """Tell whether there are native kernels in bfloat16 here."""
    return is_active() and _found_half().library is not None


def explanation() -> str:
    """Return in a few words which kernels are used and why."""
    if choice() == "xla":
        return "XLA (LAMINA_KERNELS=xla)"
    return _found().explanation


def explanation_of_half() -> str:
    """Return in a few words what computes in bfloat16, or why nothing does."""
    return _found_half().explanation if is_active() else "none without native kernels"


def instruction_set() -> str:
    """Return the name of the library in use; empty for none."""
    return _found().instruction_set


def lanes(dtype: Any = "float32") -> int:
    """Return how many floats the vectors hold of the library for a dtype, float32 or bfloat16."""
    return LANES["avx512" if dtype == "bfloat16" else instruction_set() or "avx2"]


def threads() -> int:
    """Return the bound on a kernel's threads that the environment sets, 0 for none."""
    told = os.environ.get("LAMINA_NUM_THREADS")
    if told:
        if not told.isdigit():
            raise InputError(
                f"LAMINA_NUM_THREADS expected a whole number of threads, got {told!r}."
            )
        return int(told)
    # OpenMP allows a number for each level of nesting: "4,2".
    shares = [os.environ.get(name, "").partition(",")[0].strip() for name in SHARES]
    return min((int(share) for share in shares if share.isdigit() and int(share)), default=0)


def named(name: str, X: Any) -> str:
    """Return a kernel's name for X's dtype, float32 or bfloat16."""
    return f"half_{name}" if X.dtype == "bfloat16" else name


def or_none(array: Any, dtype: Any = "float32") -> Any:
    """Return an array, or what tells a kernel that it is not there."""
    import jax.numpy as jnp

    return jnp.zeros(NONE, dtype) if array is None else array


def static(flag: bool) -> tuple[()] | None:
    """Return a flag for a backward rule as a tree without leaves: None is false.

    What a forward rule saves may be traced, as in the gradient of a jitted function; the structure
    of it never is.
    """
    return () if flag else None


def call(
    name: str,
    results: Any,
    *arguments: Any,
    aliases: dict[int, int] | None = None,
    **attributes: Any,
) -> Any:
    """Call a native kernel inside a JAX program.

    Parameters
    ----------
    name : str
        Its name in the library.
    results : ShapeDtypeStruct or sequence of them
        What it returns.
    *arguments : arrays
        What it reads.
    aliases : dict from int to int, optional
        Which argument's memory a result takes, by their places, where nobody else needs it.
    **attributes : bool, int or numpy.float32
        Its constants.

    Notes
    -----
    A program over several devices gathers a kernel's arguments on each of them: XLA cannot know how
    a foreign kernel's work may be split.
    """
    import jax
    import numpy as np

    _register(name)
    constants = {
        key: value if isinstance(value, (bool, np.floating)) else np.int64(value)
        for key, value in attributes.items()
    }
    kernel = jax.ffi.ffi_call(
        f"lamina_{name}", results, vmap_method="sequential", input_output_aliases=aliases
    )
    return kernel(*arguments, threads=np.int64(threads()), **constants)


@cache
def _register(name: str) -> None:
    """Make a kernel known to XLA under its name."""
    library = (_found_half() if name.startswith("half_") else _found()).library
    assert library is not None, "kernels ask is_active first"
    _introduce(f"lamina_{name}", getattr(library, name))


def _introduce(name: str, kernel: Any) -> None:
    import jax

    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(kernel), platform="cpu")


@cache
def _found() -> _Found:
    """Return the library for this machine, or why there is none."""
    import jax

    if jax.default_backend() != "cpu":
        return _Found(None, "", f"XLA (on {jax.default_backend()})")
    folder = Path(os.environ.get("LAMINA_KERNELS_FOLDER") or Path(__file__).parent)
    try:
        name = _instruction_set(folder, choice())
        return _Found(_load(folder / f"{name}.so"), name, f"native ({name})")
    except _UnusableError as error:
        return _Found(None, "", f"XLA ({error})")


def _instruction_set(folder: Path, wanted: str) -> str:
    """Return the best instruction set that kernels are written for and this processor has.

    That is ``wanted`` where it names one that the processor has too.
    """
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        best = "neon"
    elif machine in ("x86_64", "amd64"):
        processor = _open(folder / "processor.so")
        processor.instruction_set.restype = ctypes.c_char_p
        best = processor.instruction_set().decode()
    else:
        raise _UnusableError(f"no native kernels are written for {machine} processors")
    if not best:
        raise _UnusableError("this processor lacks AVX2, which the native kernels need")
    if wanted not in LANES or wanted == best:
        return best
    if (wanted, best) != ("avx2", "avx512"):
        raise _UnusableError(f"LAMINA_KERNELS={wanted}, which this processor lacks; it has {best}")
    return wanted


@cache
def _found_half() -> _Found:
    """Return the library for bfloat16, or why there is none; ask where there is one for float32."""
    folder = Path(os.environ.get("LAMINA_KERNELS_FOLDER") or Path(__file__).parent)
    try:
        name = _half_instruction_set(folder, choice())
        return _Found(_load(folder / f"{name}.so"), name, name)
    except _UnusableError as error:
        return _Found(None, "", f"none ({error})")


def _half_instruction_set(folder: Path, wanted: str) -> str:
    """Return the instruction set for bfloat16 that this processor has.

    To ask it is to ask Linux for AMX's registers, once and for all threads of this process.
    """
    if wanted in LANES:
        raise _UnusableError(f"LAMINA_KERNELS={wanted}")
    name = ""
    if platform.machine().lower() in ("x86_64", "amd64"):
        processor = _open(folder / "processor.so")
        processor.half_instruction_set.restype = ctypes.c_char_p
        name = processor.half_instruction_set().decode()
    if name == "refused":
        raise _UnusableError("the system does not let this process use AMX")
    if not name:
        raise _UnusableError("this processor lacks AMX")
    return name


def _load(path: Path) -> ctypes.CDLL:
    """Return a library of the present sources that speaks this JAX's interface."""
    library = _open(path)
    if _text(library, "lamina_sources").split(" ")[0] != digest.expected(path.parent):
        raise _UnusableError(f"{path.name} was built from other sources: {_remedy()}")
    try:
        _introduce(f"lamina_probe in {path}", library.lamina_probe)
    except Exception:  # XLA's own, whose name has changed between versions
        import jax

        raise _UnusableError(
            f"JAX {jax.__version__} does not take the native kernels' interface version "
            f"{_text(library, 'lamina_interface')}: update Lamina"
        ) from None
    return library


def _open(path: Path) -> ctypes.CDLL:
    if not path.exists():
        raise _UnusableError(
            "no native kernels were built, which takes a C++ compiler such as g++ or clang++: "
            f"with one, {_remedy()}"
        )
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise _UnusableError(f"the native kernels do not load: {error}") from None


def _text(library: ctypes.CDLL, name: str) -> str:
    function = getattr(library, name, None)
    if function is None:
        return ""
    function.restype = ctypes.c_char_p
    return function().decode()


def _remedy() -> str:
    return "run python native/build.py" if digest.sources() else "install Lamina again"
