"""scikit-learn's contract, check by check, for every estimator of rows."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from lamina.estimators.persistence import ESTIMATORS as BY_NAME

TO_SEVEN_DIGITS = "check_sample_weight_equivalence_on_dense_data"

# What an estimator needs to take the checks' data, as constructor parameters by its name; all
# others, new ones among them, are checked at their defaults. The checks' rows have any width, so
# they are pictures of one line; small networks are for speed, and learn in more epochs.
LINE = {
    "image_shape": (1, -1, 1),
    "filters": (8,),
    "hidden": (16,),
    "pool": 1,
    "depth": 1,
    "max_epochs": 60,
}
# Or they are series of one channel, read by a small cell.
SERIES = {
    "series_shape": (-1, 1),
    "cell": "gru",
    "hidden": (16,),
    "max_epochs": 60,
    "learning_rate": 0.02,
}
FEW_UNITS = {"hidden": (16,), "max_epochs": 60, "learning_rate": 0.02}
SETTINGS = {
    "MLPClassifier": FEW_UNITS,
    "MLPRegressor": FEW_UNITS,
    "ConvClassifier": LINE,
    "ConvRegressor": LINE,
    "RecurrentClassifier": SERIES,
    "RecurrentRegressor": SERIES,
}

# Where a fit with weights is compared to a fit with repeated rows: dropout draws for each row, and
# the running variance that batch normalisation predicts with is the unbiased one, N / (N - 1),
# whose N counts rows; see test_convolutional.py for what holds with batch normalisation.
BY_ROWS = {"dropout": 0, "batch_norm": False}
WEIGHTED = {
    "ConvClassifier": BY_ROWS,
    "ConvRegressor": BY_ROWS,
    "RecurrentClassifier": {"dropout": 0},
    "RecurrentRegressor": {"dropout": 0},
}

# They are fitted on one text or one series, without a y, on pairs of labels, or take what their
# backbone takes and no rows of another width: not scikit-learn's kind of rows.
OF_THEIR_OWN = ("CharacterModel", "Forecaster", "ImplicitFactorization", "RatingFactorization")
OF_THEIR_OWN += ("TransferClassifier",)
OF_THEIR_OWN += ("NonnegativeFactorization", "TruncatedSVD")  # transformers: see test_topics.py
CHECKED = [name for name in BY_NAME if name not in OF_THEIR_OWN]


@pytest.fixture(scope="module", autouse=True)
def _quickly(compiled_quickly):
    """Compile with few optimisations: a check fits small data of a shape of its own."""


def made(name, **parameters):
    """Return the estimator of that name, as the checks can use it."""
    return BY_NAME[name](**SETTINGS.get(name, {}), **parameters)


def _collected(make):
    """Return ``make()`` without the warning that an estimator has no BaseEstimator above it.

    It has none on purpose, because importing sklearn.base takes a second: see the docstring of
    `lamina.estimators.contract`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Estimator \w+ does not inherit from", UserWarning)
        return make()


# Every check of scikit-learn, but for settings of one check: it compares a fit with weights to a
# fit with repeated rows to seven digits, more than float32 holds, and so gets an estimator that
# computes in float64. scikit-learn likewise gives its own perceptrons settings for this check
# (PER_ESTIMATOR_CHECK_PARAMS).
@_collected(lambda: parametrize_with_checks([made(name) for name in CHECKED]))
def test_every_check(estimator, check):
    if check.func.__name__ == TO_SEVEN_DIGITS:
        settings = WEIGHTED.get(type(estimator).__name__, {})
        estimator = clone(estimator).set_params(precision="float64", **settings)
    check(estimator)


@pytest.mark.parametrize("name", CHECKED)
def test_weights_equal_repeated_rows_in_float32(name):
    rng = np.random.default_rng(42)
    X, y = rng.uniform(size=(15, 30)), rng.integers(0, 3, 15)
    weight = rng.integers(0, 5, 15)
    assert (weight == 0).any()
    weighted, repeated, plain = (
        made(name, random_state=0, **WEIGHTED.get(name, {})) for _ in range(3)
    )
    weighted.fit(X, y, sample_weight=weight)
    repeated.fit(X.repeat(weight, axis=0), y.repeat(weight))
    plain.fit(X, y)
    method = "predict_proba" if is_classifier(weighted) else "predict"
    expected = getattr(repeated, method)(X)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(getattr(weighted, method)(X), expected, rtol=1e-3, atol=1e-3 * scale)
    assert np.abs(getattr(plain, method)(X) - expected).max() > 0.01 * scale
