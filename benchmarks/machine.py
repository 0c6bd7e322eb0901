"""The machine: what it is, what is installed, and how busy other programs kept it."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from benchmarks.task import cores

PACKAGES = ("lamina", "jax", "jaxlib", "optax", "numpy", "scikit-learn", "torch", "skorch")


class Neighbours:
    """What other programs use of the CPU from now on.

    Threads that wait for each other in a spin (OpenMP: PyTorch, skorch) lose whole time slices when
    a core is taken from one of them: on a busy machine their times are too long by large factors.
    """

    def __init__(self) -> None:
        self._began = (time.perf_counter(), _busy_seconds(), _own_seconds())

    def share(self) -> float | None:
        """Return the share of all cores that others have used, or None where that is unknown."""
        then, busy, own = self._began
        now = _busy_seconds()
        if now is None or busy is None:
            return None
        others = (now - busy) - (_own_seconds() - own)
        return max(0.0, others / ((time.perf_counter() - then) * (os.cpu_count() or 1)))


def _busy_seconds() -> float | None:
    """Return the CPU time that all programs have used, and that the host has stolen (Linux)."""
    file = Path("/proc/stat")
    if not file.exists():
        return None
    ticks = [int(number) for number in file.read_text().splitlines()[0].split()[1:9]]
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return the CPU time that this process and those that it has waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def peak(size: int = 1536, rounds: int = 5) -> float:
    """Return the most multiplications a second of NumPy's product of float32 matrices."""
    A = np.ones((size, size), np.float32)
    np.matmul(A, A)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        np.matmul(A, A)
        times.append(time.perf_counter() - began)
    return size**3 / min(times)


def machine() -> str:
    """Return when and where this is measured, and with what."""
    versions = ", ".join(f"{package} {_version(package)}" for package in PACKAGES)
    return "\n".join(
        (
            f"- date: {datetime.date.today().isoformat()}",
            f"- CPU: {cpu_model()}, {cores()} cores; {platform.system()} {platform.machine()}",
            f"- Python {platform.python_version()}, {versions}",
        )
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def cpu_model() -> str:
    """Return the name that Linux gives the CPU, else what Python knows."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
