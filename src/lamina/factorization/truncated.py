"""The first k singular triples of a large matrix, by random projection.

With ``Ω`` (m, k + p) of Gaussian numbers, ``Q`` an orthonormal basis of the range of
``(X Xᵀ)^q X Ω`` holds nearly all of the first k left singular vectors; the rest is a small SVD::

    Qᵀ X = Ũ Σ Vᵀ,    X ≈ (Q Ũ) Σ Vᵀ

X is only ever multiplied, so that it may be sparse.

Source: Halko, Martinsson and Tropp 2011, Finding structure with randomness, algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

OVERSAMPLES = 10
"""p: dimensions beyond k that are thrown away at the end."""


class Triples(NamedTuple):
    """``X ≈ (U * s) @ Vt``, s descending."""

    U: Float[np.ndarray, "n k"]
    s: Float[np.ndarray, " k"]
    Vt: Float[np.ndarray, "k m"]


def truncated_svd(
    X: Any, k: int, rng: np.random.Generator, *, power_iterations: int = 5
) -> Triples:
    """Return the first k singular triples of ``X``, nearly.

    Parameters
    ----------
    X : array or SciPy sparse matrix of shape (n, m)
        In the precision to compute in.
    k : int
        At most ``min(n, m)``.
    rng : numpy.random.Generator
        Draws Ω.
    power_iterations : int
        q. Each makes small singular values count less against large ones, ``σ^(2q + 1)``. In
        between, bases are made well-conditioned, without which rounding would take the small: by
        LU's lower factor, which has the same range as algorithm 4.4's Q and takes less time.

    Notes
    -----
    Signs as in scikit-learn's ``svd_flip``: the largest entry of each right vector is positive.
    """
    from scipy.linalg import lu

    width = min(k + OVERSAMPLES, *X.shape)
    Y = X @ rng.standard_normal((X.shape[1], width)).astype(X.dtype)
    for _ in range(power_iterations):
        Y = lu(Y, permute_l=True)[0]
        Y = lu(X.T @ Y, permute_l=True)[0]
        Y = X @ Y
    Q, _ = np.linalg.qr(Y)
    U, s, Vt = np.linalg.svd((X.T @ Q).T, full_matrices=False)
    U, s, Vt = Q @ U[:, :k], s[:k], Vt[:k]
    largest = np.abs(Vt).argmax(axis=1)
    signs = np.where(Vt[np.arange(k), largest] < 0, -1, 1).astype(X.dtype)
    return Triples(U * signs, s, Vt * signs[:, None])
