"""Regressors against closed forms and scikit-learn, on real targets and with outliers."""

import numpy as np
import pytest
from sklearn.linear_model import HuberRegressor, Ridge
from sklearn.model_selection import KFold, cross_val_score

from lamina import LinearRegressor, MLPRegressor, NetworkRegressor
from lamina.functions.losses import Huber
from lamina.layers import Dense, Sequential


def with_ones(X):
    return np.column_stack([X, np.ones(len(X))])


def test_linear_without_penalty_is_least_squares(diabetes):
    X, y = diabetes
    model = LinearRegressor(penalty=None, precision="float64").fit(X, y)
    solution = np.linalg.lstsq(with_ones(X), y, rcond=None)[0]
    np.testing.assert_allclose(model.predict(X), with_ones(X) @ solution, atol=1e-8)
    np.testing.assert_allclose(model.coef_[:, 0] * y.std(), solution[:-1], atol=1e-7)
    single = LinearRegressor(penalty=None).fit(X, y)
    np.testing.assert_allclose(single.predict(X), model.predict(X), rtol=1e-5)


@pytest.mark.parametrize("alpha", [1e-2, 1.0])
def test_linear_with_l2_is_ridge(diabetes, alpha):
    X, y = diabetes
    z = (y - y.mean()) / y.std()
    model = LinearRegressor(alpha=alpha, precision="float64").fit(X, y)
    ridge = Ridge(alpha=alpha * len(X)).fit(X, z)  # ½ mean: n times less
    np.testing.assert_allclose(model.coef_[:, 0], ridge.coef_, atol=1e-8)
    np.testing.assert_allclose(model.intercept_, ridge.intercept_, atol=1e-8)
    assert model.score(X, y) == pytest.approx(ridge.score(X, z), abs=1e-8)


def test_linear_with_weights_is_weighted_least_squares(diabetes):
    X, y = diabetes
    weight = np.random.default_rng(0).uniform(0, 3, len(X))
    model = LinearRegressor(penalty=None, precision="float64").fit(X, y, sample_weight=weight)
    root = np.sqrt(weight)
    solution = np.linalg.lstsq(with_ones(X) * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(model.predict(X), with_ones(X) @ solution, atol=1e-6)


@pytest.mark.parametrize("Estimator", [LinearRegressor, MLPRegressor])
def test_the_targets_mean_and_scale_count_weights(diabetes, Estimator):
    X, y = diabetes
    weight = np.arange(442) % 3.0
    model = Estimator(max_epochs=1).fit(X, y, sample_weight=weight)
    repeated = y.repeat(weight.astype(int))
    assert model.target_mean_[0] == pytest.approx(repeated.mean(), rel=1e-9)
    assert model.target_scale_[0] == pytest.approx(repeated.std(), rel=1e-9)


def test_linear_cross_validated_reaches_ridge(diabetes):
    folds = KFold(5, shuffle=True, random_state=0)
    found = cross_val_score(LinearRegressor(), *diabetes, cv=folds).mean()
    assert found >= cross_val_score(Ridge(0.1), *diabetes, cv=folds).mean() - 0.002
    assert found > 0.48


def test_mlp_learns_what_no_linear_map_can():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (600, 2)).astype(np.float32)
    y = 50 + 10 * np.sin(2 * X[:, 0]) * X[:, 1] + rng.normal(0, 0.1, 600)
    train, test = slice(0, 450), slice(450, 600)
    linear = LinearRegressor().fit(X[train], y[train]).score(X[test], y[test])
    net = MLPRegressor(hidden=(64, 64), learning_rate=5e-3, random_state=0)
    assert linear < 0.2
    assert net.fit(X[train], y[train]).score(X[test], y[test]) > 0.97


def planted(outliers):
    """Return X, y = 3 x₀ - 2 x₁ + 5 with the given share of targets far off."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = X @ [3.0, -2.0] + 5 + rng.normal(0, 0.05, 400)
    wrong = rng.random(400) < outliers
    y[wrong] += 60
    return X, y


def planes_apart(model):
    """Return how far the fitted plane is from the planted one at the corners of a square."""
    corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    return np.abs(model.predict(corners) - (corners @ [3.0, -2.0] + 5)).max()


def test_absolute_loss_passes_outliers_by():
    X, y = planted(outliers=0.15)
    settings = {"penalty": None, "learning_rate": 0.02, "max_epochs": 300, "random_state": 0}
    robust = LinearRegressor(loss="absolute", optimizer="adam", **settings).fit(X, y)
    squared = LinearRegressor(penalty=None).fit(X, y)
    assert planes_apart(squared) > 5
    assert planes_apart(robust) < 0.1


def test_huber_loss_agrees_with_scikit_learn():
    X, y = planted(outliers=0.1)
    # Of a fixed scale: scikit-learn's estimates its σ, so hand it the same ratio to δ.
    model = LinearRegressor(loss=Huber(0.02), penalty=None, precision="float64").fit(X, y)
    assert planes_apart(model) < 0.3
    assert planes_apart(LinearRegressor(loss="squared", penalty=None).fit(X, y)) > 5
    other = HuberRegressor(epsilon=1.35, alpha=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), other.predict(X), atol=0.3)


def test_huber_of_a_large_delta_is_least_squares(diabetes):
    X, y = diabetes
    wide = LinearRegressor(loss=Huber(1e3), penalty=None, precision="float64").fit(X, y)
    squared = LinearRegressor(penalty=None, precision="float64").fit(X, y)
    np.testing.assert_allclose(wide.predict(X), squared.predict(X), atol=1e-8)


def test_several_targets_are_as_many_least_squares(diabetes):
    X, y = diabetes
    Y = np.column_stack([y, 1000 * X[:, 0] - 7, np.sqrt(y)])
    model = LinearRegressor(penalty=None, precision="float64").fit(X, Y)
    solution = np.linalg.lstsq(with_ones(X), Y, rcond=None)[0]
    np.testing.assert_allclose(model.predict(X), with_ones(X) @ solution, rtol=1e-7, atol=1e-6)
    assert model.predict(X).shape == (442, 3)
    assert model.coef_.shape == (10, 3)


def test_several_targets_keep_their_names(diabetes):
    pd = pytest.importorskip("pandas")
    X, y = diabetes
    Y = pd.DataFrame({"now": y, "later": -y})
    model = LinearRegressor(random_state=0).fit(X, Y)
    assert model.target_names_ == ("now", "later")
    found = model.predict(X)
    np.testing.assert_allclose(found[:, 0], -found[:, 1], rtol=1e-3)


def test_unscaled_targets_are_trained_as_they_are(diabetes):
    X, y = diabetes
    model = LinearRegressor(scale_target=False, penalty=None, precision="float64").fit(X, y)
    assert model.target_mean_.tolist() == [0]
    assert model.target_scale_.tolist() == [1]
    solution = np.linalg.lstsq(with_ones(X), y, rcond=None)[0]
    np.testing.assert_allclose(model.coef_[:, 0], solution[:-1], atol=1e-6)
    assert model.history_["loss"][-1] == pytest.approx(
        0.5 * np.mean((y - model.predict(X)) ** 2), rel=1e-6
    )


def test_a_constant_target_is_predicted(diabetes):
    X, _ = diabetes
    model = LinearRegressor().fit(X, np.full(442, 3.5))
    np.testing.assert_allclose(model.predict(X), 3.5, atol=1e-6)


def test_the_metric_is_in_the_units_of_y(diabetes):
    X, y = diabetes
    model = LinearRegressor(penalty=None, precision="float64").fit(X, y, validation_data=(X, y))
    rmse = np.sqrt(np.mean((y - model.predict(X)) ** 2))
    assert model.history_["val_rmse"][-1] == pytest.approx(rmse, rel=1e-6)
    assert model.evaluate(X, y)["rmse"] == pytest.approx(rmse, rel=1e-6)


@pytest.mark.parametrize(
    ("dtype", "answer"), [("float32", "float32"), ("float64", "float64"), ("int64", "float32")]
)
def test_predictions_have_the_targets_floating_type(diabetes, dtype, answer):
    X, y = diabetes
    model = LinearRegressor(max_epochs=1).fit(X, y.astype(dtype))
    assert model.predict(X).dtype == answer


def test_any_network_regresses(diabetes):
    X, y = diabetes
    plain = NetworkRegressor(
        network=Sequential([Dense(1, init="zeros")]), optimizer="lbfgs", precision="float64"
    )
    same = LinearRegressor(penalty=None, schedule="constant", precision="float64")
    np.testing.assert_allclose(plain.fit(X, y).predict(X), same.fit(X, y).predict(X), atol=1e-8)
