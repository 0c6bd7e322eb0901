"""Ten million interactions of a million users with a hundred thousand items: seconds and memory.

Usage: python -m benchmarks.interactions [ImplicitFactorization | RatingFactorization] [iterations]
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
from scipy.sparse import csr_array

import lamina

USERS, ITEMS, ENTRIES, RANK = 1_000_000, 100_000, 10_000_000, 16


def made() -> csr_array:
    """Return ENTRIES different pairs; items are drawn by Zipf's law, ratings go from 1 to 5."""
    rng = np.random.default_rng(0)
    keys = np.empty(0, np.int64)
    while len(keys) < ENTRIES:
        items = np.minimum(ITEMS ** rng.random(ENTRIES), ITEMS - 1).astype(np.int64)
        users = rng.integers(0, USERS, ENTRIES)
        keys = np.unique(np.concatenate([keys, users * ITEMS + items]))
    keys = np.sort(rng.choice(keys, ENTRIES, replace=False))
    indptr = np.searchsorted(keys, np.arange(USERS + 1) * ITEMS)
    values = rng.integers(1, 6, ENTRIES).astype(np.float32)
    return csr_array((values, (keys % ITEMS).astype(np.int32), indptr), (USERS, ITEMS))


def main(name: str = "ImplicitFactorization", iterations: str = "2") -> None:
    """Fit, recommend for everybody, and print what it took."""
    import warnings

    warnings.simplefilter("ignore", UserWarning)  # of users without interactions
    matrix = made()
    print(f"{matrix.shape[0]:,} × {matrix.shape[1]:,}, {matrix.nnz:,} entries, rank {RANK}")
    began = time.perf_counter()
    model = getattr(lamina, name)(rank=RANK, iterations=int(iterations), random_state=0)
    model.fit(matrix)
    fitted = time.perf_counter()
    each = ", ".join(f"{seconds:.1f}" for seconds in model.history_["seconds"])
    print(f"{name}: fit {fitted - began:.1f} s, iterations {each} s")
    asked = np.arange(0, USERS, 100)
    model.recommend(asked, n=10)
    lists = time.perf_counter() - fitted
    print(f"lists of 10 for {len(asked):,} users: {lists:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"most memory in use: {peak:.2f} GiB")


if __name__ == "__main__":
    main(*sys.argv[1:])
