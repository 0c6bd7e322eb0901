"""What is said of predictions, against scikit-learn's metrics and cases by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, r2_score

from lamina import LinearClassifier, LinearRegressor
from lamina.errors import InputError
from lamina.inspection.outcomes import Classified, Estimated, Labelled, outcome, per_class

RNG = np.random.default_rng(0)
NAMES = ("ant", "bee", "cow")


@pytest.fixture(scope="module")
def classified():
    true, found = RNG.integers(0, 3, 60), RNG.integers(0, 3, 60)
    probabilities = RNG.dirichlet(np.ones(3), 60)
    return Classified(NAMES, true, found, probabilities)


def test_figures_by_class_are_scikit_learns(classified):
    true, found = classified.true, classified.found
    np.testing.assert_array_equal(classified.confusion, confusion_matrix(true, found))
    eye = np.eye(4, dtype=bool)  # the fourth class has no rows and is never predicted
    theirs = precision_recall_fscore_support(true, found, labels=range(4), zero_division=0)
    np.testing.assert_allclose(np.array(per_class(eye[true], eye[found])).T, theirs)
    assert classified.accuracy == np.mean(true == found)
    assert classified.rows == 60


def test_the_worst_is_what_was_thought_least_likely(classified):
    rows = classified.worst(5)
    given = classified.probabilities[np.arange(60), classified.true]
    wrong = classified.true != classified.found
    assert wrong[rows].all()
    assert given[rows].tolist() == sorted(given[wrong])[:5]
    assert len(classified.worst(100)) == wrong.sum()
    without = Classified(NAMES, classified.true, classified.found, None)
    assert without.worst(2).tolist() == np.flatnonzero(wrong)[:2].tolist()
    assert without.calibration is None


def test_labels_are_right_if_all_of_them_are():
    true = np.array([[1, 0], [1, 1], [0, 0]], bool)
    found = np.array([[1, 0], [0, 0], [0, 1]], bool)
    labelled = Labelled(("x", "y"), true, found, np.where(found, 0.9, 0.2))
    assert labelled.accuracy == pytest.approx(1 / 3)
    assert labelled.worst(5).tolist() == [1, 2]
    assert labelled.worst(1).tolist() == [1]
    # 0.9 for each of 2 labels that are predicted, 0.8 for each of 4 that are not
    assert labelled.calibration.confidence.mean() == pytest.approx((2 * 0.9 + 4 * 0.8) / 6)
    assert labelled.calibration.accuracy.mean() == pytest.approx(0.5)


def test_errors_are_compared_in_spreads_of_their_targets():
    true = np.stack([np.array([0.0, 1, 2, 3]), np.array([0.0, 1000, 2000, 3000])], axis=1)
    found = true + np.array([[0, 0], [1, 0], [0, 100], [0, 0]])
    estimated = Estimated(("a", "b"), true, found)
    assert estimated.worst(2).tolist() == [1, 2]  # 1 of a is more than 100 of b
    np.testing.assert_allclose(estimated.r2, r2_score(true, found, multioutput="raw_values"))
    assert np.isnan(Estimated(("a",), true[:1, :1], found[:1, :1]).r2).all()  # nothing varies


def test_outcomes_are_what_estimators_predict():
    X = RNG.normal(size=(40, 3))
    y = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
    model = LinearClassifier(max_epochs=3, random_state=0, verbose=0).fit(X, y)
    found = outcome(model, X, y)
    assert found.classes == ("no", "yes")
    assert np.array(found.classes)[found.true].tolist() == y.tolist()
    assert np.array(found.classes)[found.found].tolist() == model.predict(X).tolist()
    assert found.accuracy == model.score(X, y)
    hinge = LinearClassifier(loss="hinge", max_epochs=3, random_state=0, verbose=0).fit(X, y)
    found = outcome(hinge, X, y)
    assert found.probabilities is None
    assert np.array(found.classes)[found.found].tolist() == hinge.predict(X).tolist()
    with pytest.raises(InputError, match="got maybe as well"):
        outcome(model, X[:1], ["maybe"])


def test_labels_and_values_keep_their_names():
    pandas = pytest.importorskip("pandas")
    X = RNG.normal(size=(40, 3))
    names = ["tall", "old"]
    y = pandas.DataFrame((X[:, :2] > 0).astype(int), columns=names)
    model = LinearClassifier(max_epochs=3, random_state=0, verbose=0).fit(X, y)
    found = outcome(model, X, y)
    assert found.classes == ("tall", "old")
    np.testing.assert_array_equal(found.found, model.predict(X))
    np.testing.assert_array_equal(found.true, y)
    values = pandas.DataFrame(X[:, :2] * 7, columns=names)
    regressor = LinearRegressor(max_epochs=3, random_state=0, verbose=0).fit(X, values)
    found = outcome(regressor, X, values)
    assert found.names == ("tall", "old")
    np.testing.assert_array_equal(found.found, regressor.predict(X))
    np.testing.assert_array_equal(found.true, values)
