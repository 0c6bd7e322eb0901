"""Convex problems, where there is one minimum and others have found it: L1, L2 and their blend."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import ElasticNet, LogisticRegression
from sklearn.preprocessing import StandardScaler

from lamina import LinearClassifier, LinearRegressor

ALPHA = 0.02


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), (y - 100) / 50  # with a mean that is not 0


def softmax_objective(W, b, X, y, l1=0.0, l2=0.0):
    """Mean cross-entropy + l1 ‖W‖₁ + ½ l2 ‖W‖², in float64; the intercept is free."""
    W, b = np.asarray(W, np.float64), np.asarray(b, np.float64)
    S = X @ W + b
    S -= S.max(axis=1, keepdims=True)
    cross_entropy = np.log(np.exp(S).sum(axis=1)) - S[np.arange(len(y)), y]
    return cross_entropy.mean() + l1 * np.abs(W).sum() + 0.5 * l2 * (W**2).sum()


@pytest.fixture(scope="module")
def saga(wine):
    """scikit-learn's minimum: it sums losses and scales them by C, so C = 1 / (n α)."""
    X, y = wine
    return LogisticRegression(
        solver="saga", l1_ratio=1, C=1 / (len(X) * ALPHA), tol=1e-8, max_iter=20_000, random_state=0
    ).fit(X, y)


@pytest.mark.parametrize(
    ("optimizer", "rate", "schedule", "epochs"),
    [
        ("gd", 1.0, "constant", 1000),
        ("momentum", 0.1, "constant", 1000),
        ("nesterov", 0.1, "constant", 1000),
        ("rmsprop", 0.05, "cosine", 1500),
        ("adam", 0.1, "cosine", 1000),
        ("adamw", 0.1, "cosine", 1000),
    ],
)
def test_l1_finds_the_minimum_of_saga(optimizer, rate, schedule, epochs, wine, saga):
    X, y = wine
    model = LinearClassifier(
        penalty="l1",
        alpha=ALPHA,
        optimizer=optimizer,
        learning_rate=rate,
        schedule=schedule,
        batch_size=len(X),
        max_epochs=epochs,
        random_state=0,
    ).fit(X, y)
    least = softmax_objective(saga.coef_.T, saga.intercept_, X, y, l1=ALPHA)
    found = softmax_objective(model.coef_, model.intercept_, X, y, l1=ALPHA)
    assert abs(found - least) < 1e-6
    assert ((model.coef_ == 0) == (saga.coef_.T == 0)).mean() > 0.97
    assert 0.6 < (model.coef_ == 0).mean() < 0.9
    assert_allclose(
        model.intercept_ - model.intercept_.mean(),
        saga.intercept_ - saga.intercept_.mean(),
        atol=0.01,
    )


def test_l1_in_minibatches_comes_close(wine, saga):
    X, y = wine
    model = LinearClassifier(
        penalty="l1",
        alpha=ALPHA,
        optimizer="adam",
        learning_rate=0.05,
        schedule="cosine",
        batch_size=45,
        max_epochs=500,
        random_state=0,
    ).fit(X, y)
    least = softmax_objective(saga.coef_.T, saga.intercept_, X, y, l1=ALPHA)
    assert softmax_objective(model.coef_, model.intercept_, X, y, l1=ALPHA) - least < 1e-4
    assert (model.coef_ == 0).mean() > 0.5


def test_l2_finds_the_minimum_of_logistic_regression(wine):
    X, y = wine
    witness = LogisticRegression(C=1 / (len(X) * ALPHA), tol=1e-10, max_iter=5000).fit(X, y)
    model = LinearClassifier(alpha=ALPHA, precision="float64", max_epochs=100).fit(X, y)
    least = softmax_objective(witness.coef_.T, witness.intercept_, X, y, l2=ALPHA)
    found = softmax_objective(model.coef_, model.intercept_, X, y, l2=ALPHA)
    assert abs(found - least) < 1e-9
    assert_allclose(model.coef_, witness.coef_.T, atol=1e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("float64", 1e-6)])
def test_lbfgs_solves_the_normal_equations_of_ridge(precision, tolerance, diabetes):
    X, y = diabetes
    n, m = X.shape
    W = np.linalg.solve(X.T @ X / n + 0.1 * np.eye(m), X.T @ (y - y.mean()) / n)
    model = LinearRegressor(
        alpha=0.1, optimizer="lbfgs", scale_target=False, precision=precision, max_epochs=100
    ).fit(X, y)
    assert_allclose(model.coef_[:, 0], W, rtol=tolerance, atol=tolerance / 10)
    assert_allclose(model.intercept_, y.mean(), rtol=tolerance)  # X has mean 0; b is not shrunk


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_elastic_net_finds_the_minimum_of_coordinate_descent(optimizer, diabetes):
    """``½ mean (y - ŷ)² + α (ρ ‖w‖₁ + ½ (1 - ρ) ‖w‖²)`` is scikit-learn's own objective."""
    X, y = diabetes
    witness = ElasticNet(alpha=0.1, l1_ratio=0.7, tol=1e-10, max_iter=100_000).fit(X, y)
    model = LinearRegressor(
        penalty="elastic_net",
        alpha=0.1,
        l1_ratio=0.7,
        optimizer=optimizer,
        learning_rate={"gd": 0.2, "adam": 0.02}[optimizer],
        batch_size=len(X),
        schedule={"gd": "constant", "adam": "cosine"}[optimizer],
        scale_target=False,
        max_epochs=800,
        random_state=0,
    ).fit(X, y)
    assert_allclose(model.coef_[:, 0], witness.coef_, atol=2e-4)
    assert_allclose(model.intercept_, witness.intercept_, atol=2e-4)
    assert ((model.coef_[:, 0] == 0) == (witness.coef_ == 0)).all()
    assert (witness.coef_ == 0).any()
