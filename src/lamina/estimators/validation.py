"""Arrays as users pass them to arrays as programs take them.

A clean NumPy array takes a short path that does not import scikit-learn; everything else goes
through scikit-learn's own validation, and so gets its errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.training.batches import laid_out


def check_matrix(estimator: Any, X: Any, dtype: Any, *, reset: bool) -> np.ndarray:
    """Return ``X`` as a C-ordered array of shape (n, m).

    Parameters
    ----------
    estimator : Estimator
        Gets ``n_features_in_`` and ``feature_names_in_`` if ``reset``, else is held to them.
    X : array-like of shape (n, m)
        Numbers, all finite in ``dtype``.
    dtype : NumPy floating type
        What is computed in.
    reset : bool
        Whether this is `fit`.

    Raises
    ------
    ValueError
        For another number of columns, other names, no rows, text, NaN or infinity.
    """
    if _is_clean(X) and (reset or _matches(estimator, X)):
        with np.errstate(over="ignore", invalid="ignore"):
            matrix = laid_out(X, dtype)
            total = matrix.sum()  # NaN and infinity survive a sum; an overflow is looked into
        if np.isfinite(total):
            if reset:
                estimator.n_features_in_ = X.shape[1]
                vars(estimator).pop("feature_names_in_", None)
            return matrix
    from sklearn.utils.validation import validate_data

    with _as_input_error(), np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(validate_data(estimator, X, reset=reset, dtype=dtype, order="C"))


def check_samples(estimator: Any, X: Any, dtype: Any, *, reset: bool) -> np.ndarray:
    """Return ``X`` as an array of shape (n, ...): `check_matrix` for samples of any rank.

    ``n_features_in_`` counts a sample's numbers.

    Raises
    ------
    ValueError
        As `check_matrix`; also for samples of another shape than in training.
    """
    if getattr(X, "ndim", 2) <= 2:
        return check_matrix(estimator, X, dtype, reset=reset)
    X = np.asarray(X)
    if 0 in X.shape:
        raise InputError(f"X expected at least one sample, got an array of shape {X.shape}.")
    known = None if reset else estimator.input_shape_
    if known is not None and X.shape[1:] != known:
        raise InputError(
            f"X expected samples of shape {known}, as in training, got {X.shape[1:]}. "
            "Resize or reshape them."
        )
    return check_matrix(estimator, X.reshape(len(X), -1), dtype, reset=reset).reshape(X.shape)


def check_rows_agree(X: Any, y: Any) -> None:
    """Raise for arrays with other numbers of rows, before anything is learned from either."""
    if (isinstance(y, np.ndarray) and y.ndim) or hasattr(y, "iloc"):
        check_same_length(X, y)


def check_dense_or_sparse(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return ``X`` as a C-ordered array or, if it is sparse, as CSR of the same kind.

    float32 stays float32, all else is float64. Otherwise as `check_matrix`.
    """
    if _is_clean(X):
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        return check_matrix(estimator, X, dtype, reset=reset)
    from sklearn.utils.validation import validate_data

    kinds = [np.float64, np.float32]
    with _as_input_error():
        found: Any = validate_data(
            estimator, X, reset=reset, dtype=kinds, accept_sparse="csr", order="C"
        )
    if not isinstance(found, np.ndarray) and not found.has_canonical_format:
        found = found.copy()
        found.sum_duplicates()
    return found


@contextmanager
def _as_input_error() -> Iterator[None]:
    """Raise scikit-learn's complaints about input as ours, in its words but for its advice."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        text = str(error)
        if " contains NaN" in text:  # what follows recommends other estimators
            text = f"{text.splitlines()[0]} Fill such entries in, or leave their rows out."
        raise InputError(text) from None


def _is_clean(X: Any) -> bool:
    return type(X) is np.ndarray and X.ndim == 2 and X.dtype.kind in "fiub" and X.size > 0


def _matches(estimator: Any, X: np.ndarray) -> bool:
    return X.shape[1] == estimator.n_features_in_ and not hasattr(estimator, "feature_names_in_")


def check_same_length(X: Any, y: Any) -> None:
    """Raise unless ``X`` and ``y`` have as many rows."""
    if len(X) != len(y):
        raise InputError(
            f"y expected one entry for each of the {len(X)} rows of X, got {len(y)}. "
            "Inconsistent lengths usually mean that one of them was filtered."
        )


def check_labels(y: Any) -> np.ndarray:
    """Return class labels as a 1-D array, or binary labels as an array of shape (n, K).

    Raises
    ------
    ValueError
        For real values, NaN, or an array that is neither.
    """
    if type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iubU" and len(y):
        return y
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import assert_all_finite, check_array, column_or_1d

    if y is None:
        raise InputError(
            "fit requires y to be passed, but the target y is None. Pass one label for each row."
        )
    with _as_input_error():
        if getattr(getattr(y, "dtype", None), "kind", "") == "f":
            assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            dense = y.toarray() if hasattr(y, "toarray") else y  # type: ignore
            return check_array(dense, input_name="y")
        labels = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")
        return labels


@contextmanager
def _as_no_numbers() -> Iterator[None]:
    """Tell targets that are words as what they are: classes."""
    try:
        yield
    except ValueError as error:
        word = str(error).partition("could not convert string to float: ")[2]
        if word:
            raise InputError(
                f"y expected numbers, got {word}. To tell classes apart use a classifier "
                "(lamina fit --task classify)."
            ) from error
        raise


def check_values(y: Any) -> np.ndarray:
    """Return real targets as a float64 array of shape (n,) or (n, k)."""
    if y is None:
        raise InputError(
            "fit requires y to be passed, but the target y is None. Pass one value for each row."
        )
    if type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "fiub" and len(y):
        values = y.astype(np.float64)
        if np.isfinite(values.sum()):
            return values
    from sklearn.utils.validation import check_array, column_or_1d

    with _as_input_error(), _as_no_numbers():
        checked = check_array(y, dtype="numeric", ensure_2d=False, input_name="y")
        values = np.asarray(checked, np.float64)
        single = values.ndim == 2 and values.shape[1] == 1
        return column_or_1d(values, warn=True) if single else values


def check_weights(sample_weight: Any, n: int, dtype: Any) -> np.ndarray | None:
    """Return sample weights of mean 1, or None for None.

    Raises
    ------
    InputError
        For a wrong shape, a negative or missing weight, or weights that are all zero.
    """
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, np.float64)
    if weight.ndim == 0:
        weight = np.full(n, weight)
    if weight.shape != (n,):
        raise InputError(
            f"sample_weight expected shape ({n},), one weight for each row, got {weight.shape}."
        )
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise InputError(
            "sample_weight expected finite weights of at least 0, got a negative, NaN or infinite "
            f"one in row {int(np.argmax(~(weight >= 0) | np.isinf(weight)))}."
        )
    if not weight.any():
        raise InputError(
            "sample_weight expected at least one positive weight, got only zeros; "
            "all sample weights are zero."
        )
    return (weight / weight.mean()).astype(dtype)


def seed_from(random_state: Any) -> int:
    """Return a seed below 2³¹: a fresh one for None, the integer, or one drawn from a generator."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return int(random_state) % 2**31
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    raise InputError(
        f"random_state expected None, a whole number of at least 0, or a NumPy generator; "
        f"got {random_state!r}."
    )
