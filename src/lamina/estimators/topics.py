"""Rows as sums of a few patterns: truncated SVD and nonnegative factorisation as transformers.

    X ≈ W H        transform: X → W (n, k);    inverse_transform: W → W H

With X a document-term matrix, a row of H is a topic and a row of W says which topics a document is
of. Sparse X stays sparse. What is computed: `lamina.factorization.truncated` and
`lamina.factorization.nonnegative`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError, check_choice, check_number
from lamina.estimators import validation
from lamina.estimators.contract import Estimator
from lamina.factorization.nonnegative import (
    LOSSES,
    Penalty,
    factorize,
    fold_in,
    initial_factors,
)
from lamina.factorization.truncated import truncated_svd

INITS = ("auto", "nndsvd", "nndsvda", "random")


@dataclass(kw_only=True, eq=False, repr=False)
class Decomposition(Estimator):
    """A transformer whose ``components_`` are the H of ``X ≈ W H``."""

    n_components: int = field(default=2, kw_only=False)
    random_state: Any = None

    def fit(self, X, y=None):
        """Find ``components_``.

        Parameters
        ----------
        X : array or SciPy sparse matrix of shape (n, m)
            float32 is computed in float32, all else in float64.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used.
        """
        check_number("n_components", self.n_components, at_least=1, whole=True)
        X = self._matrix(X, reset=True)
        self._learn(X, np.random.default_rng(validation.seed_from(self.random_state)))
        return self

    def fit_transform(self, X, y=None):
        """Fit, and return ``transform(X)``."""
        return self.fit(X).transform(X)

    def transform(self, X):
        """Return the rows' W, of shape (n, k)."""
        self._check_fitted()
        return self._contained(self._fold(self._matrix(X, reset=False)), X)

    def inverse_transform(self, X):
        """Return ``W H`` for ``X = W`` (n, k)."""
        self._check_fitted()
        W = np.asarray(X)
        if W.ndim != 2 or W.shape[1] != len(self.components_):
            raise InputError(
                f"inverse_transform expected {len(self.components_)} columns, one a component, got "
                f"shape {W.shape}."
            )
        return W @ self.components_

    def top_terms(self, feature_names: Sequence[str] | None = None, n: int = 10) -> list[list[str]]:
        """Return each component's n features of the largest weight, the largest first.

        Parameters
        ----------
        feature_names : sequence of str, optional
            One a column of X, such as a vectorizer's ``get_feature_names_out()``; None takes the
            names that X had in `fit`.
        n : int
            How many.
        """
        self._check_fitted()
        check_number("n", n, at_least=1, whole=True)
        if feature_names is None:
            feature_names = getattr(self, "feature_names_in_", None)
        if feature_names is None or len(feature_names) != self.n_features_in_:
            got = "none" if feature_names is None else str(len(feature_names))
            raise InputError(
                f"feature_names expected {self.n_features_in_} names, one a column, got {got}. "
                "Pass a vectorizer's get_feature_names_out()."
            )
        best = np.argsort(-self.components_, axis=1, kind="stable")[:, :n]
        return [[str(feature_names[j]) for j in row] for row in best]

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return the names of the columns of W: the class's, in small letters, and a number."""
        self._check_fitted()
        name = type(self).__name__.lower()
        return np.array([f"{name}{j}" for j in range(len(self.components_))], dtype=object)

    def set_output(self, *, transform: str | None = None):
        """Say what `transform` returns, ``"default"``, ``"pandas"`` or ``"polars"``."""
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one ``.safetensors`` file; read it with `lamina.load`."""
        from lamina.estimators.persistence import save

        save(self, path)

    @property
    def weights_(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the matrices by name, as other models have them."""
        return {"components": {"H": self.components_}}

    # What a subclass says

    def _learn(self, X: Any, rng: np.random.Generator) -> None:
        raise NotImplementedError

    def _fold(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    # What all share

    def _matrix(self, X: Any, *, reset: bool) -> Any:
        return validation.check_dense_or_sparse(self, X, reset=reset)

    def _check_fitted(self) -> None:
        if not hasattr(self, "components_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet. Call fit before using it."
            )

    def _contained(self, W: np.ndarray, X: Any) -> Any:
        """Return W in the container that `set_output` or scikit-learn's configuration asks for."""
        if not hasattr(self, "_sklearn_output_config") and "sklearn" not in sys.modules:
            return W
        from sklearn.utils._set_output import _wrap_data_with_container

        return _wrap_data_with_container("transform", W, X, self)

    _sklearn_auto_wrap_output_keys = frozenset({"transform"})

    def _learned(self) -> dict[str, Any]:
        names = getattr(self, "feature_names_in_", None)
        return {"feature_names_in": None if names is None else [str(name) for name in names]}

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"components/H": self.components_}

    def _adopt(self, learned: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        H = arrays["components/H"]
        if H.ndim != 2 or H.dtype not in (np.float32, np.float64) or not np.isfinite(H).all():
            raise FileFormatError("components/H expected a matrix of finite float32 or float64")
        names = learned["feature_names_in"]
        if names is not None and len(names) != H.shape[1]:
            raise FileFormatError(f"feature_names_in expected {H.shape[1]} names, got {len(names)}")
        if len(H) != self.n_components:
            raise FileFormatError(f"components/H expected {self.n_components} rows, got {len(H)}")
        self.components_, self.n_features_in_ = H, H.shape[1]
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def __sklearn_tags__(self):
        from sklearn.utils import TransformerTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "transformer"
        tags.transformer_tags = TransformerTags(preserves_dtype=["float64", "float32"])
        tags.target_tags.required = False
        tags.input_tags.sparse = True
        return tags

    def get_metadata_routing(self):
        """Return that no method takes more than X."""
        from sklearn.utils.metadata_routing import MetadataRequest

        return MetadataRequest(owner=self)


@dataclass(kw_only=True, eq=False, repr=False)
class TruncatedSVD(Decomposition):
    """The first k singular vectors of X, which is not centred: latent semantic analysis.

    ``X ≈ U Σ Vᵀ`` is the nearest matrix of rank k in least squares; W is ``X V`` and H is ``Vᵀ``.

    Parameters
    ----------
    n_components : int
        k, at most ``min(n, m)``; some 100 for latent semantic analysis.
    n_iter : int
        Power iterations of the randomised solver; more where singular values fall slowly.
    random_state : int, NumPy generator or None
        Seeds the solver.

    Attributes
    ----------
    components_ : array of shape (k, m)
        Vᵀ; the entry of largest magnitude of each row is positive.
    singular_values_ : array of shape (k,)
        Descending.
    explained_variance_, explained_variance_ratio_ : arrays of shape (k,)
        Variance of the columns of W over the rows, and its share of that of X.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import TruncatedSVD
    >>> X = np.outer([1.0, 2.0, 2.0], [4.0, 0.0, 3.0])
    >>> model = TruncatedSVD(n_components=1, random_state=0).fit(X)
    >>> model.singular_values_.round(6), model.components_.round(6)
    (array([15.]), array([[0.8, 0. , 0.6]]))
    """

    n_iter: int = 5

    def _learn(self, X: Any, rng: np.random.Generator) -> None:
        check_number("n_iter", self.n_iter, at_least=0, whole=True)
        n, m = X.shape
        if self.n_components > min(n, m):
            raise InputError(
                f"n_components expected at most min(n_samples, n_features), with n_samples = {n} "
                f"and n_features = {m}; got {self.n_components}. Ask for fewer components."
            )
        found = truncated_svd(X, self.n_components, rng, power_iterations=self.n_iter)
        self.components_, self.singular_values_ = found.Vt, found.s
        self.explained_variance_ = np.var(X @ found.Vt.T, axis=0)
        total = _total_variance(X)
        self.explained_variance_ratio_ = self.explained_variance_ / (total or 1)
        self.history_: dict[str, list[float]] = {}

    def _fold(self, X: Any) -> np.ndarray:
        return X @ self.components_.T

    def _arrays(self) -> dict[str, np.ndarray]:
        return super()._arrays() | {name: getattr(self, f"{name}_") for name in _SPECTRUM}

    def _adopt(self, learned: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        super()._adopt(learned, arrays)
        for name in _SPECTRUM:
            values = arrays[name]
            if values.shape != (len(self.components_),) or not np.isfinite(values).all():
                raise FileFormatError(f"{name} expected {len(self.components_)} finite numbers")
            setattr(self, f"{name}_", values)


_SPECTRUM = ("singular_values", "explained_variance", "explained_variance_ratio")


@dataclass(kw_only=True, eq=False, repr=False)
class NonnegativeFactorization(Decomposition):
    """``X ≈ W H`` with no entry below zero: parts that only add up.

    The objective is scikit-learn's::

        loss(X, W H) + α_W m (r Σ W + (1 - r)/2 ‖W‖²) + α_H n (r Σ H + (1 - r)/2 ‖H‖²)

    Parameters
    ----------
    n_components : int
        k, at most ``max(n, m)``.
    loss : {"frobenius", "kullback-leibler"}
        ``½‖X - W H‖²``, found by hierarchical alternating least squares; or ``Σ x ln(x/wh) - x +
        wh``, which suits counts and whose topics are those of PLSA, by multiplicative updates.
    alpha_W, alpha_H : float >= 0
        Strength of the penalties.
    l1_ratio : float in [0, 1]
        r, the share of L1, which makes entries exactly zero with the least squares loss.
    init : {"auto", "nndsvd", "nndsvda", "random"}
        See `lamina.factorization.nonnegative.initial_factors`; ``"auto"`` is nndsvda, and random
        for more than ``min(n, m)`` components.
    max_iter : int
        The most iterations of `fit`, and of `transform` for each row.
    tol : float >= 0
        Stop when ten iterations took less than this share of the first objective off it.
    random_state : int, NumPy generator or None
        Seeds the start.

    Attributes
    ----------
    components_ : array of shape (k, m)
        H.
    reconstruction_err_ : float
        ``√(2 loss)`` of the data at the end of fit; for frobenius the norm ``‖X - W H‖``.
    n_iter_ : int
        Iterations; ``max_iter`` where the objective was still falling.
    history_ : dict of list
        ``"objective"``, at the start and after each tenth iteration.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import NonnegativeFactorization
    >>> X = np.array([[2.0, 1.0, 0.0, 0.0], [4.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]])
    >>> model = NonnegativeFactorization(n_components=2, random_state=0).fit(X)
    >>> model.top_terms(["hull", "sail", "fin", "fluke"], n=2)
    [['hull', 'sail'], ['fluke', 'fin']]
    """

    n_components: int = field(default=10, kw_only=False)
    loss: str = "frobenius"
    alpha_W: float = 0.0
    alpha_H: float = 0.0
    l1_ratio: float = 0.0
    init: str = "auto"
    max_iter: int = 200
    tol: float = 1e-4

    def _learn(self, X: Any, rng: np.random.Generator) -> None:
        check_choice("loss", self.loss, LOSSES)
        check_choice("init", self.init, INITS)
        check_number("alpha_W", self.alpha_W, at_least=0)
        check_number("alpha_H", self.alpha_H, at_least=0)
        check_number("l1_ratio", self.l1_ratio, at_least=0, at_most=1)
        check_number("max_iter", self.max_iter, at_least=1, whole=True)
        check_number("tol", self.tol, at_least=0)
        n, m = X.shape
        limit = min(n, m) if self.init in ("nndsvd", "nndsvda") else max(n, m)
        if self.n_components > limit:
            raise InputError(
                f"n_components expected at most {limit} for n_samples = {n}, n_features = {m} and "
                f"init={self.init!r}, got {self.n_components}. Ask for fewer components."
            )
        init = self.init
        if init == "auto":
            init = "nndsvda" if self.n_components <= min(n, m) else "random"
        start = initial_factors(X, self.n_components, init, rng)
        loss = LOSSES[self.loss](X)
        penalties = self._penalty(self.alpha_W, m), self._penalty(self.alpha_H, n)
        found = factorize(loss, *start, penalties, max_iter=self.max_iter, tol=self.tol)
        self.components_, self.n_iter_ = found.H, found.iterations
        end = found.objectives[-1] - penalties[0](found.Wt) - penalties[1](found.H)
        self.reconstruction_err_ = float(np.sqrt(2 * max(end, 0.0)))
        self.history_ = {"objective": found.objectives}

    def _fold(self, X: Any) -> np.ndarray:
        penalty = self._penalty(self.alpha_W, self.n_features_in_)
        H, loss = self.components_.astype(X.dtype, copy=False), LOSSES[self.loss](X)
        found = fold_in(loss, H, penalty, max_iter=self.max_iter, tol=self.tol)
        return np.ascontiguousarray(found.T)

    def _penalty(self, alpha: float, size: int) -> Penalty:
        return Penalty(alpha * self.l1_ratio * size, alpha * (1 - self.l1_ratio) * size)

    def _matrix(self, X: Any, *, reset: bool) -> Any:
        X = super()._matrix(X, reset=reset)
        entries = X if isinstance(X, np.ndarray) else X.data
        if entries.size and entries.min() < 0:
            raise InputError(
                "Negative values in data passed to NonnegativeFactorization: X expected no entry "
                f"below 0, got {entries.min():g}. Shift or clip X, or use TruncatedSVD."
            )
        return X

    def _learned(self) -> dict[str, Any]:
        kept = {"n_iter": self.n_iter_, "reconstruction_err": self.reconstruction_err_}
        return super()._learned() | kept

    def _adopt(self, learned: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        super()._adopt(learned, arrays)
        if self.components_.min() < 0:
            raise FileFormatError("components/H expected no entry below 0")
        self.n_iter_ = int(learned["n_iter"])
        self.reconstruction_err_ = float(learned["reconstruction_err"])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


def _total_variance(X: Any) -> float:
    """Return the sum of the columns' variances."""
    squares = X * X if isinstance(X, np.ndarray) else X.multiply(X)
    means = np.asarray(X.mean(axis=0), np.float64).ravel()
    return float(squares.sum() / X.shape[0] - means @ means)
