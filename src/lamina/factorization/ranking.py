"""How good lists of recommended items are, as the textbooks define it.

A list ``i_1 … i_n`` is recommended to a user, whose relevant items are the set R. With the grade
``g_j > 0`` of a relevant item, and ``r_j = 1`` where ``i_j ∈ R``, else 0::

    precision@k        Σ_{j≤k} r_j / k
    recall@k           Σ_{j≤k} r_j / |R|
    hit rate@k         1 where some r_j = 1 with j ≤ k
    reciprocal rank@k  1 / min{j ≤ k : r_j = 1}; its mean over users is the MRR
    AP@k               Σ_{j≤k} r_j · precision@j / min(k, |R|); its mean over users is the MAP
    NDCG@k             DCG / ideal DCG, DCG = Σ_{j≤k} gain(g_j) / log₂(j + 1)
    coverage@k         the share of the catalogue that stands in some user's first k

Each function but `catalogue_coverage` returns one value a user, NaN for a user without relevant
items, of whom nothing can be said: ``numpy.nanmean`` is the mean over the others.

Arguments are the same everywhere. ``recommended`` is an integer array of shape (q, n), best first,
-1 where a list is shorter; no item stands twice in a row. ``relevant`` is a SciPy sparse matrix of
shape (q, items) whose positive entries are the grades. A list with fewer than k items is what it
is: the missing ones are misses.

Sources: Manning, Raghavan and Schütze 2008, Introduction to information retrieval, chapter 8;
Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques; Burges et al. 2005,
Learning to rank using gradient descent (the exponential gain); Liang et al. 2018, Variational
autoencoders for collaborative filtering (recall over ``min(k, |R|)``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import InputError, check_choice, check_number

if TYPE_CHECKING:
    from jaxtyping import Float, Int

GAINS = {
    "binary": lambda grade: np.float64(grade > 0),
    "linear": lambda grade: grade,
    "exponential": lambda grade: np.exp2(grade) - 1,
}
"""What a grade is worth in a DCG."""


def precision(
    recommended: Int[np.ndarray, "q n"], relevant: Any, k: int
) -> Float[np.ndarray, " q"]:
    """Return the share of relevant items among the first k; the denominator is always k."""
    hits, R = _hits_within(recommended, relevant, k)
    return _known(hits.sum(axis=1) / k, R)


def recall(
    recommended: Int[np.ndarray, "q n"], relevant: Any, k: int, *, capped: bool = False
) -> Float[np.ndarray, " q"]:
    """Return the share of the relevant items that the first k hold.

    Parameters
    ----------
    recommended, relevant, k
        See the module.
    capped : bool
        Divide by ``min(k, |R|)`` in place of ``|R|``, so that a perfect list has recall 1 for a
        user with more than k relevant items too, as in Liang et al. 2018.
    """
    hits, R = _hits_within(recommended, relevant, k)
    return _known(_ratio(hits.sum(axis=1), np.minimum(R, k) if capped else R), R)


def hit_rate(recommended: Int[np.ndarray, "q n"], relevant: Any, k: int) -> Float[np.ndarray, " q"]:
    """Return 1 where a relevant item is among the first k, else 0."""
    hits, R = _hits_within(recommended, relevant, k)
    return _known(np.asarray(hits.any(axis=1), np.float64), R)


def reciprocal_rank(
    recommended: Int[np.ndarray, "q n"], relevant: Any, k: int
) -> Float[np.ndarray, " q"]:
    """Return one over the place of the first relevant item, 0 where none is among the first k."""
    hits, R = _hits_within(recommended, relevant, k)
    return _known(np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0), R)


def average_precision(
    recommended: Int[np.ndarray, "q n"], relevant: Any, k: int, *, capped: bool = True
) -> Float[np.ndarray, " q"]:
    """Return the mean over relevant items of the precision at their places, 0 for those not found.

    Parameters
    ----------
    recommended, relevant, k
        See the module.
    capped : bool
        Divide by ``min(k, |R|)``, so that a perfect list has 1; False divides by ``|R|`` as in
        Manning et al., equation 8.8, whose lists go on to the end.
    """
    hits, R = _hits_within(recommended, relevant, k)
    at_hits = hits * np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    return _known(_ratio(at_hits.sum(axis=1), np.minimum(R, k) if capped else R), R)


def ndcg(
    recommended: Int[np.ndarray, "q n"], relevant: Any, k: int, *, gain: str = "binary"
) -> Float[np.ndarray, " q"]:
    """Return the discounted cumulated gain of the first k over that of the best possible k.

    Parameters
    ----------
    recommended, relevant, k
        See the module.
    gain : {"binary", "linear", "exponential"}
        What a grade g is worth: 1, g, or ``2^g - 1``. With 0 and 1 as grades they are the same.

    Notes
    -----
    The best list holds the user's ``min(k, |R|)`` best grades in descending order.
    """
    worth = GAINS[check_choice("gain", gain, GAINS)]
    relevant = _grades(relevant)
    found = _found(recommended, relevant, k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    rows, grades = _rows_of(relevant), relevant.data
    order = np.lexsort((-grades, rows))
    place = np.arange(len(rows)) - relevant.indptr[rows]
    within = place < k
    best = np.bincount(
        rows[within],
        worth(grades[order][within]) * discount[place[within]],
        minlength=len(found),
    )
    return _known(_ratio(worth(found) @ discount, best), np.diff(relevant.indptr))


def catalogue_coverage(recommended: Int[np.ndarray, "q n"], items: int, k: int) -> float:
    """Return the share of all ``items`` that is recommended to somebody among the first k."""
    recommended = _lists(recommended, items, k)[:, :k]
    return len(np.unique(recommended[recommended >= 0])) / items


def figures(
    recommended: Int[np.ndarray, "q n"], relevant: Any, k: int
) -> dict[str, Float[np.ndarray, " q"]]:
    """Return every metric of a user's list by its name, such as ``"ndcg@10"``, one value a user."""
    metrics = {
        "precision": precision,
        "recall": recall,
        "ndcg": ndcg,
        "map": average_precision,
        "mrr": reciprocal_rank,
        "hit_rate": hit_rate,
    }
    relevant = _grades(relevant)
    return {f"{name}@{k}": metric(recommended, relevant, k) for name, metric in metrics.items()}


def _hits_within(recommended, relevant, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the first k are relevant (q, k), and how many relevant items users have."""
    relevant = _grades(relevant)
    return _found(recommended, relevant, k) > 0, np.diff(relevant.indptr)


def _grades(relevant: Any) -> Any:
    """Return the relevant items as CSR with positive entries only, sorted and added up."""
    if getattr(relevant, "format", None) is None or relevant.ndim != 2:
        raise InputError(
            "relevant expected a SciPy sparse matrix of users by items, got "
            f"{type(relevant).__name__}. Make one: scipy.sparse.csr_array(relevant)."
        )
    relevant = relevant.tocsr().astype(np.float64)  # a copy: what follows works in place
    if not np.isfinite(relevant.data).all():
        raise InputError("relevant expected finite grades, got NaN or infinity.")
    relevant.data[relevant.data < 0] = 0
    relevant.sum_duplicates()
    relevant.eliminate_zeros()
    return relevant


def _lists(recommended: Any, items: int, k: int) -> np.ndarray:
    check_number("k", k, at_least=1, whole=True)
    recommended = np.asarray(recommended)
    if recommended.ndim != 2 or recommended.dtype.kind not in "iu":
        raise InputError(
            "recommended expected item numbers, an integer array of shape (users, n); got "
            f"{recommended.dtype} of shape {recommended.shape}."
        )
    if k > recommended.shape[1]:
        raise InputError(
            f"k expected at most the {recommended.shape[1]} columns of recommended, got {k}. "
            "Ask for longer lists, and fill short ones up with -1."
        )
    if recommended.size and (recommended.max() >= items or recommended.min() < -1):
        raise InputError(
            f"recommended expected item numbers from 0 to {items - 1}, or -1 for none; got "
            f"{recommended.min()} to {recommended.max()}."
        )
    return recommended


def _found(recommended: Any, relevant: Any, k: int) -> np.ndarray:
    """Return the grades of the first k recommended items (q, k), 0 for one that is not relevant."""
    users, items = relevant.shape
    recommended = _lists(recommended, items, k)[:, :k].astype(np.int64)
    if len(recommended) != users:
        raise InputError(
            f"recommended expected a row for each of the {users} rows of relevant, got "
            f"{len(recommended)}."
        )
    ordered = np.sort(recommended, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise InputError("recommended expected each item at most once a row, got one repeated.")
    keys = np.append(_rows_of(relevant) * items + relevant.indices, users * items)
    wanted = np.arange(users)[:, None] * items + recommended
    at = np.searchsorted(keys, wanted)
    same = (keys[at] == wanted) & (recommended >= 0)
    return np.where(same, np.append(relevant.data, 0)[at], 0)


def _rows_of(matrix: Any) -> np.ndarray:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)


def _known(values: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Return the values, NaN for users without relevant items."""
    return np.where(R > 0, values, np.nan)
