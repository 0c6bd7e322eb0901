"""Cases (als) and (top): an iteration of implicit-feedback least squares; the ten best items."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.case import Finding, Options, missing
from benchmarks.interleave import Ratio, apart, interleaved, seconds
from benchmarks.task import SEED, cores

CONFIDENCE, RIDGE = 10.0, 0.5
TASTES = 32
PART = 10
"""implicit's Cholesky solver takes minutes: it is timed on one row in so many, and scaled."""
MOST_WORSE = 1e-3
"""By how much Lamina's objective may be above implicit's, as a share of it."""
BEST = 10
LEAST_SAME = 0.999
MEGABYTE = 1e6


@dataclass(frozen=True)
class Clicks:
    """Synthetic clicks: power laws of users and items, users of mixed tastes.

    Parameters
    ----------
    users, items, entries : int
        Sizes; about as many entries.
    rank : int
        Factors of a user and an item.
    """

    users: int
    items: int
    entries: int
    rank: int

    def draw(self) -> Any:
        """Return a CSR matrix of ones."""
        from scipy.sparse import csr_matrix

        rng = np.random.default_rng(SEED)
        counts = np.exp(rng.normal(0, 1.1, self.users))
        counts = np.clip(counts / counts.sum() * self.entries, 10, self.items // 4)
        counts = (counts * 1.2 * self.entries / counts.sum()).astype(int)  # some are drawn twice
        user = np.repeat(np.arange(self.users, dtype=np.int32), counts)
        share = np.cumsum((np.arange(self.items) + 20.0) ** -0.9)
        place = np.searchsorted(share, rng.random(len(user)) * share[-1])
        order = np.stack([rng.permutation(self.items) for _ in range(TASTES)]).astype(np.int32)
        taste = rng.integers(0, TASTES, (2, self.users))[rng.integers(0, 2, len(user)), user]
        item = np.where(rng.random(len(user)) < 0.75, order[taste, place], order[0, place])
        found = csr_matrix((np.ones(len(user), np.float32), (user, item)))
        found.resize(self.users, self.items)
        found.sum_duplicates()
        found.data[:] = 1
        return found

    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the users' and the items' factors that all peers start from."""
        rng = np.random.default_rng(SEED)
        shapes = (self.users, self.rank), (self.items, self.rank)
        users, items = (0.01 * rng.random(shape, np.float32) for shape in shapes)
        return users, items


class Lamina:
    """Lamina's half-iterations, its arrays on the device."""

    def __init__(
        self, clicks: Any, start: tuple[np.ndarray, np.ndarray], kernels: str, solver: str
    ):
        import jax.numpy as jnp

        self.kernels, self.solver = kernels, solver
        self.users, self.items = map(jnp.asarray, start)
        entries = jnp.ones(clicks.nnz, jnp.float32)
        self.weight, self.rhs = (CONFIDENCE - 1) * entries, CONFIDENCE * entries
        turned = clicks.T.tocsr()
        self.sides = [(m.indptr, jnp.asarray(m.indices)) for m in (clicks, turned)]

    def step(self) -> None:
        """Take one iteration."""
        os.environ["LAMINA_KERNELS"] = self.kernels
        self.users = self._half(0, self.items, self.users)
        self.items = self._half(1, self.users, self.items).block_until_ready()

    def _half(self, side: int, fixed: Any, start: Any) -> Any:
        from lamina.kernels.least_squares import solve_rows

        ridge = np.full(len(start), RIDGE, np.float32)
        entries = (*self.sides[side], self.weight, self.rhs)
        return solve_rows(fixed, *entries, ridge, 1.0, start, solver=self.solver)


class Implicit:
    """implicit's half-iterations, as its `fit` calls them."""

    def __init__(self, clicks: Any, start: tuple[np.ndarray, np.ndarray], use_cg: bool):
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        threadpool_limits(1, "blas")  # as it asks for; Lamina's products are not NumPy's
        self.model = AlternatingLeastSquares(
            start[0].shape[1], regularization=RIDGE, use_cg=use_cg, num_threads=cores()
        )
        self.users, self.items = (array.copy() for array in start)
        self.clicks = (clicks * np.float32(CONFIDENCE)).tocsr()
        self.turned = self.clicks.T.tocsr()

    def step(self) -> None:
        """Take one iteration."""
        solve = partial(self.model.solver, regularization=RIDGE, num_threads=cores())
        solve(self.clicks, self.users, self.items)
        solve(self.turned, self.items, self.users)


class PartOfImplicit(Implicit):
    """The same on one row in `PART`."""

    def __init__(self, clicks: Any, start: tuple[np.ndarray, np.ndarray], use_cg: bool):
        super().__init__(clicks, start, use_cg)
        self.fixed = self.users, self.items
        self.users, self.items = (np.ascontiguousarray(array[::PART]) for array in self.fixed)
        whole = 2 * self.clicks.nnz
        self.clicks, self.turned = self.clicks[::PART], self.turned[::PART]
        self.scale = whole / (self.clicks.nnz + self.turned.nnz)

    def step(self) -> None:
        """Take one iteration."""
        solve = partial(self.model.solver, regularization=RIDGE, num_threads=cores())
        solve(self.clicks, self.users, self.fixed[1])
        solve(self.turned, self.items, self.fixed[0])


Peer = Callable[[Any, tuple[np.ndarray, np.ndarray]], Any]
OURS, ITS = "Lamina, 3 CG steps", "implicit, 3 CG steps"
LAMINA: dict[str, Peer] = {
    OURS: partial(Lamina, kernels="auto", solver="cg"),
    "Lamina, exact": partial(Lamina, kernels="auto", solver="exact"),
    "Lamina, 3 CG steps, by XLA": partial(Lamina, kernels="xla", solver="cg"),
}
IMPLICIT: dict[str, Peer] = {
    ITS: partial(Implicit, use_cg=True),
    f"implicit, Cholesky, 1 row in {PART} scaled": partial(PartOfImplicit, use_cg=False),
}


def objective(clicks: Any, users: Any, items: Any) -> float:
    """Return Σ c (1 − x·y)² over entries + Σ (x·y)² over all others + the ridge's terms."""
    users, items = (np.asarray(array, np.float64) for array in (users, items))
    total = ((users.T @ users) * (items.T @ items)).sum()
    total += RIDGE * ((users**2).sum() + (items**2).sum())
    for first in range(0, clicks.shape[0], 5000):
        part = clicks[first : first + 5000].tocoo()
        scores = np.einsum("ij,ij->i", users[first + part.row], items[part.col])
        total += (CONFIDENCE * (1 - scores) ** 2 - scores**2).sum()
    return float(total)


@dataclass(frozen=True)
class Iteration:
    """The case: one iteration, users then items, each peer from its own last factors.

    Parameters
    ----------
    name : str
        What ``--only`` calls it.
    clicks : Clicks
        What is factorised.
    """

    name: str
    clicks: Clicks

    def measure(self, options: Options) -> Finding:
        """Time all peers in turns."""
        sizes = shortened(self.clicks) if options.quick else self.clicks
        rounds = 1 if options.quick else min(3, options.rounds)
        makers = LAMINA | ({} if missing(("implicit",)) else IMPLICIT)
        clicks, start = sizes.draw(), sizes.start()
        with TemporaryDirectory() as folder:
            save(clicks, Path(folder))
            peaks = {name: apart(peak_bytes, Path(folder), sizes, name) for name in ("", *makers)}
        peers = {name: make(clicks, start) for name, make in makers.items()}
        found = interleaved({name: seconds(p.step) for name, p in peers.items()}, rounds, 1)
        losses = {name: objective(clicks, peer.users, peer.items) for name, peer in peers.items()
                  if not hasattr(peer, "scale")}  # fmt: skip
        if ITS in losses and losses[OURS] > (1 + MOST_WORSE) * losses[ITS]:
            sys.exit(
                f"{self.name} expected an objective near {losses[ITS]:.5e}, got {losses[OURS]:.5e}."
            )
        rows = []
        for name, times in found.items():
            scale = getattr(peers[name], "scale", 1.0)
            times = [scale * time for time in times]
            memory = (peaks[name] - peaks[""]) / MEGABYTE
            loss = f"{losses[name]:.5e}" if name in losses else ""
            rows.append((name, f"{median(times):.2f}", *Ratio.of(times, found[OURS]).cells,
                         loss, f"{memory:,.0f}"))  # fmt: skip
        if missing(("implicit",)):
            rows.append(("implicit", "not installed", "", "", "", ""))
        text = (
            f"Alternating least squares on {clicks.nnz:,} synthetic clicks of {sizes.users:,} "
            f"users on {sizes.items:,} items, power laws both, rank {sizes.rank}: seconds for one "
            f"iteration, users then items, from the same start, {cores()} threads (implicit's "
            f"BLAS: one, as it asks). {rounds} rounds after a warm-up. *Objective*: after all of "
            "them, in float64. *Memory*: the peak of a process that does one iteration, less "
            "that of one that loads the same modules and the clicks."
        )
        header = ("", "s", "ratio", "min – max", "objective", "memory, MB")
        return Finding(f"({self.name}) implicit-feedback least squares", text, header, tuple(rows))


def shortened(sizes: Clicks) -> Clicks:
    """Return a hundredth."""
    parts = (sizes.users // 100, sizes.items // 100, sizes.entries // 100)
    return replace(sizes, users=parts[0], items=parts[1], entries=parts[2])


def save(clicks: Any, folder: Path) -> None:
    """Write a CSR matrix of ones."""
    np.save(folder / "indptr.npy", clicks.indptr)
    np.save(folder / "indices.npy", clicks.indices)


def peak_bytes(folder: Path, sizes: Clicks, name: str) -> float:
    """Return this process's peak memory after an iteration of the peer; of none, before it."""
    import jax  # noqa: F401
    from scipy.sparse import csr_matrix

    import lamina.kernels.least_squares  # noqa: F401

    if not missing(("implicit",)):
        import implicit.cpu.als  # noqa: F401

    indptr, indices = (np.load(folder / f"{part}.npy") for part in ("indptr", "indices"))
    shape = sizes.users, sizes.items
    clicks = csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape)
    if name:
        (LAMINA | IMPLICIT)[name](clicks, sizes.start()).step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


@dataclass(frozen=True)
class Recommendation:
    """The case: the ten best items that a user has not seen, for many users.

    Parameters
    ----------
    name : str
        What ``--only`` calls it.
    clicks : Clicks
        What was seen.
    users : int
        How many users ask.
    """

    name: str
    clicks: Clicks
    users: int

    def measure(self, options: Options) -> Finding:
        """Time all peers in turns, with the factors that Lamina found in one iteration."""
        from lamina.kernels.top_n import top_n

        sizes = shortened(self.clicks) if options.quick else self.clicks
        rounds = 1 if options.quick else options.rounds
        clicks = sizes.draw()
        model = Lamina(clicks, sizes.start(), "auto", "cg")
        model.step()
        asking = min(self.users, sizes.users)
        users, items, seen = (
            np.asarray(model.users)[:asking],
            np.asarray(model.items),
            clicks[:asking],
        )

        def ours() -> np.ndarray:
            return np.asarray(top_n(users, items, BEST, (seen.indptr, seen.indices))[0])

        runs: dict[str, Callable[[], np.ndarray]] = {"Lamina": ours}
        if not missing(("implicit",)):
            its = Implicit(clicks[:1], (users, items), True).model
            its.user_factors, its.item_factors = users, items
            runs["implicit"] = lambda: its.recommend(np.arange(asking), seen, N=BEST)[0]
        ids = {name: run() for name, run in runs.items()}
        same = {name: float((found == ids["Lamina"]).mean()) for name, found in ids.items()}
        if min(same.values()) < LEAST_SAME:
            sys.exit(f"{self.name} expected the same items from all, got {same}.")
        found = interleaved({name: seconds(run) for name, run in runs.items()}, rounds)
        rows = [
            (name, f"{1e3 * median(times):,.0f}", *Ratio.of(times, found["Lamina"]).cells,
             f"{same[name]:.4%}")
            for name, times in found.items()
        ]  # fmt: skip
        if len(runs) == 1:
            rows.append(("implicit", "not installed", "", "", ""))
        text = (
            f"The {BEST} best of {sizes.items:,} items for {asking:,} users at once, rank "
            f"{sizes.rank}, without those that they have seen, by the same factors. {rounds} "
            "rounds. *Same*: the share of items that are Lamina's, at the same place."
        )
        header = ("", "ms", "ratio", "min – max", "same")
        return Finding(f"({self.name}) recommendation", text, header, tuple(rows))


CLICKS = Clicks(200_000, 50_000, 20_000_000, 64)
CASES = (Iteration("als", CLICKS), Recommendation("top", CLICKS, 10_000))
