"""The estimators inside scikit-learn's machinery: pipelines, searches, calibration, pandas."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lamina
from lamina import LinearClassifier, MLPClassifier


def accuracy_in_numpy(model, X, y):
    """Score a net of one hidden layer without compiling anything."""
    first, last = model.weights_["dense_0"], model.weights_["dense_1"]
    A = np.maximum(X @ first["W"] + first["b"], 0)
    return np.mean(model.classes_[np.argmax(A @ last["W"] + last["b"], axis=1)] == y)


def test_grid_search_of_31_fits_compiles_one_training_program(digits, compilations):
    grid = {"learning_rate": [1e-4, 1e-3, 1e-2], "alpha": [1e-4, 1e-1]}
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = MLPClassifier(hidden=(17,), max_epochs=3, random_state=0)
    search = GridSearchCV(model, grid, cv=folds, scoring=accuracy_in_numpy)
    search.fit(*digits)
    assert len(compilations) == 1
    assert search.best_params_ == {"learning_rate": 1e-2, "alpha": 1e-4}
    means = search.cv_results_["mean_test_score"]
    assert len(set(means.round(6))) == 6  # each of the numbers reached the program
    clone(model).set_params(hidden=(16,)).fit(*digits)
    assert len(compilations) == 2  # so another network counts


def test_schedules_clipping_rates_and_l1_strengths_share_a_program(digits, compilations):
    model = MLPClassifier(hidden=(18,), penalty="l1", clip_norm=1.0, max_epochs=1, random_state=0)
    weights = []
    for changes in (
        {},
        {"schedule": "one_cycle"},
        {"clip_norm": 0.1},
        {"learning_rate": 0.01},
        {"alpha": 0.01},
    ):
        fitted = clone(model).set_params(**changes).fit(*digits)
        weights.append(fitted.weights_["dense_0"]["W"])
    assert len(compilations) == 1
    assert all(np.abs(weights[0] - other).max() > 1e-6 for other in weights[1:])


@pytest.mark.parametrize(
    ("model", "accuracy"),
    [(LinearClassifier(random_state=0), 0.955), (MLPClassifier(random_state=0), 0.975)],
    ids=["linear", "mlp"],
)
def test_digits_cross_validated(digits, model, accuracy):
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    assert cross_val_score(model, *digits, cv=folds).mean() >= accuracy


def test_pipeline_scales_before_it_fits(digits):
    X, y = digits
    far = X * 1000 + 5000
    pipeline = make_pipeline(StandardScaler(), LinearClassifier(max_epochs=50, random_state=0))
    scaled = StandardScaler().fit_transform(far)
    alone = LinearClassifier(max_epochs=50, random_state=0).fit(scaled, y)
    found = pipeline.fit(far, y)
    np.testing.assert_array_equal(found.predict_proba(far), alone.predict_proba(scaled))
    assert found.score(far, y) > 0.98


def test_pipeline_passes_sample_weight_on(iris):
    X, y = iris
    weight = np.where(y == 2, 0.0, 1.0)
    pipeline = make_pipeline(StandardScaler(), LinearClassifier(random_state=0))
    pipeline.fit(X, y, linearclassifier__sample_weight=weight)
    assert not (pipeline.predict(X) == 2).any()
    assert (pipeline.fit(X, y).predict(X) == 2).sum() > 40


def test_clone_takes_parameters_and_leaves_what_was_learned(iris):
    model = MLPClassifier(hidden=(5, 4), alpha=0.3, class_weight={0: 2.0}, max_epochs=1)
    model.fit(*iris)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.hidden == (5, 4)
    with pytest.raises(NotFittedError, match=r"MLPClassifier is not fitted yet\. Call fit"):
        copy.predict(iris[0])


def test_set_params_names_a_parameter_that_is_none_of_its_own():
    with pytest.raises(ValueError, match="Invalid parameter 'hiden'"):
        MLPClassifier().set_params(hiden=(3,))


def test_repr_shows_what_differs_from_the_defaults():
    model = MLPClassifier(hidden=(32,), penalty=None, dropout=0.0)
    assert repr(model) == "MLPClassifier(penalty=None, hidden=(32,))"
    assert eval(repr(model), vars(lamina) | {"MLPClassifier": MLPClassifier}).hidden == (32,)


def test_calibration_gives_probabilities_to_the_hinge_loss(digits):
    X, y = digits
    svm = LinearClassifier(loss="hinge", max_epochs=20, random_state=0)
    calibrated = CalibratedClassifierCV(svm, cv=3).fit(X[:1000], y[:1000])
    P = calibrated.predict_proba(X[1000:])
    np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-6)
    assert calibrated.score(X[1000:], y[1000:]) > 0.85
    sure = P.max(axis=1) > 0.7
    right = P.argmax(axis=1) == y[1000:]
    assert right[sure].mean() > right[~sure].mean() + 0.05


def test_hinge_has_no_probabilities_before_or_after_fit(iris):
    model = LinearClassifier(loss="hinge", random_state=0)
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model.fit(*iris), "predict_proba")
    with pytest.raises(AttributeError, match=r"got hinge\. Use loss='softmax', or Calibrated"):
        model.predict_proba(iris[0])
    assert hasattr(LinearClassifier(), "predict_proba")


def frame_of(iris):
    X, y = iris
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    species = np.array(["setosa", "versicolor", "virginica"])[y]
    return pd.DataFrame(X, columns=names), pd.Series(species, name="species")


def test_pandas_names_are_kept(iris):
    X, y = frame_of(iris)
    model = LinearClassifier(random_state=0).fit(X, y)
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    assert model.target_names_ == ("species",)
    assert set(model.predict(X)) == {"setosa", "versicolor", "virginica"}
    assert (model.predict(X) == y).mean() > 0.95


def test_pandas_names_that_differ_are_refused(iris):
    X, y = frame_of(iris)
    model = LinearClassifier(random_state=0).fit(X, y)
    renamed = X.rename(columns={"petal width": "petal colour"})
    with pytest.raises(ValueError, match=r"(?s)unseen at fit time.*petal colour.*petal width"):
        model.predict(renamed)
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(X[X.columns[::-1]])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X.to_numpy())


def test_names_are_forgotten_when_fitted_again_without_them(iris):
    X, y = frame_of(iris)
    model = LinearClassifier(random_state=0).fit(X, y).fit(X.to_numpy(), y.to_numpy())
    assert not hasattr(model, "feature_names_in_")
    assert model.target_names_ is None
    assert model.predict(X.to_numpy()).shape == (150,)
