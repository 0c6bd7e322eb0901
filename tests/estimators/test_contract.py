"""scikit-learn's contract, check by check, for every estimator."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from lamina.estimators.persistence import ESTIMATORS as BY_NAME

ESTIMATORS = tuple(BY_NAME.values())
TO_SEVEN_DIGITS = "check_sample_weight_equivalence_on_dense_data"


def _collected(make):
    """Return ``make()`` without the warning that an estimator has no BaseEstimator above it.

    It has none on purpose, because importing sklearn.base takes a second: see the docstring of
    `lamina.estimators.contract`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Estimator \w+ does not inherit from", UserWarning)
        return make()


# Every check of scikit-learn at the default settings, but for one setting of one check: it compares
# a fit with weights to a fit with repeated rows to seven digits, more than float32 holds, and so
# gets an estimator that computes in float64. scikit-learn likewise gives its own perceptrons
# settings for this check (PER_ESTIMATOR_CHECK_PARAMS).
@_collected(lambda: parametrize_with_checks([E() for E in ESTIMATORS]))
def test_every_check(estimator, check):
    if check.func.__name__ == TO_SEVEN_DIGITS:
        estimator = clone(estimator).set_params(precision="float64")
    check(estimator)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_weights_equal_repeated_rows_in_float32(Estimator):
    rng = np.random.default_rng(42)
    X, y = rng.uniform(size=(15, 30)), rng.integers(0, 3, 15)
    weight = rng.integers(0, 5, 15)
    assert (weight == 0).any()
    weighted, repeated, plain = (clone(Estimator(random_state=0)) for _ in range(3))
    weighted.fit(X, y, sample_weight=weight)
    repeated.fit(X.repeat(weight, axis=0), y.repeat(weight))
    plain.fit(X, y)
    method = "predict_proba" if is_classifier(weighted) else "predict"
    expected = getattr(repeated, method)(X)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(getattr(weighted, method)(X), expected, rtol=1e-3, atol=1e-3 * scale)
    assert np.abs(getattr(plain, method)(X) - expected).max() > 0.01 * scale
