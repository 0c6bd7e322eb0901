"""Cases (f), (j), (m), (mk…): peak memory of a process that trains the network of another case."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from math import prod
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.case import Finding, Options
from benchmarks.emulation import BUILD, is_missing
from benchmarks.interleave import Ratio, apart, interleaved
from benchmarks.networks import CASES as TRAININGS
from benchmarks.networks import Training
from benchmarks.peers import LAMINA, LAMINA_IN_HALF
from benchmarks.task import Peer

MOST_ROUNDS = 3
MEGABYTE = 1e6


@dataclass(frozen=True)
class Memory:
    """The case: each peer in processes of its own, one that trains and one that only gets ready.

    Parameters
    ----------
    name : str
        What ``--only`` calls it.
    training : Training
        What is trained, for one epoch.
    """

    name: str
    training: Training

    def measure(self, options: Options) -> Finding:
        """Measure all peers in turns."""
        case = replace(self.training, task=replace(self.training.task, epochs=1))
        if options.quick:
            case = case.shortened()
        with TemporaryDirectory() as folder:
            return self._measure(case, options, Path(folder))

    def _measure(self, case: Training, options: Options, folder: Path) -> Finding:
        source = apart(write_data, case, options.data, folder)
        peers = case.entrants()
        excuses = [(peer.name, case.excuse(peer)) for peer in case.peers if peer not in peers]
        if apart(is_missing):
            excuses.append((LAMINA_IN_HALF.name, f"not built: {BUILD}"))
        else:
            peers.insert(1, LAMINA_IN_HALF)
        measures: dict[str, Callable[[], float]] = {}
        for peer in peers:
            for train in (False, True):
                peak = partial(apart, peak_bytes, case, peer, folder, train)
                measures[f"{peer.name}{train}"] = peak
        rounds = 1 if options.quick else min(MOST_ROUNDS, options.rounds)
        found = interleaved(measures, rounds)
        rows = [(*excuse, "", "", "", "") for excuse in excuses]
        ours = found[f"{LAMINA.name}{True}"]
        for peer in reversed(peers):
            idle, trained = (found[f"{peer.name}{train}"] for train in (False, True))
            sizes = (median(idle), median(trained), median(trained) - median(idle))
            cells = (f"{size / MEGABYTE:,.0f}" for size in sizes)
            rows.insert(0, (peer.name, *cells, *Ratio.of(trained, ours).cells))
        size = case.samples * prod(case.sample) * np.dtype(np.float32).itemsize
        text = (
            f"Peak resident memory (`ru_maxrss`) of a process that trains {case.title} for one "
            f"epoch ({source}; X alone is {size / MEGABYTE:,.0f} MB), "
            "beside one that imports the same and holds the data but does not train. "
            f"{rounds} rounds. Ratio: the peer's peak / Lamina's; above 1, Lamina needs less. "
            "bfloat16: by AMX, or by its tiles emulated, which take the same memory."
        )
        header = ("", "idle, MB", "trained, MB", "difference, MB", "ratio", "min – max")
        return Finding(f"({self.name}) peak memory", text, header, tuple(rows), timed=False)


def write_data(case: Training, data: Path | None, folder: Path) -> str:
    """Write X and y as training processes read them, and return what they are."""
    X, y, source = case.data(data)
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    return source


def peak_bytes(case: Training, peer: Peer, folder: Path, train: bool) -> float:
    """Return this process's peak memory after getting ready for ``peer``, or after training."""
    for module in peer.modules:
        import_module(module)
    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    if train:
        peer.fit(case.task, X, y)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


CASES = tuple(
    Memory(name, TRAININGS[of])
    for name, of in {"f": "b", "j": "g", "m": "l", "mk1": "k1", "mk2": "k2", "mk5": "k5"}.items()
)
