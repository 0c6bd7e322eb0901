"""The solvers: a planted rank is found, objectives fall, and rows solve their normal equations."""

from itertools import islice

import numpy as np
import pytest
from scipy.sparse import csr_array

from lamina.factorization import bayes, implicit, ratings
from lamina.factorization.factors import pair_scores, rows_of
from lamina.factorization.implicit import Weighting
from lamina.factorization.interactions import Interactions
from lamina.factorization.ratings import BIAS_RIDGE, Fixed, Ridge


@pytest.fixture(scope="module")
def planted():
    """Return two thirds of a matrix of rank 2 with biases and little noise, and the rest."""
    rng = np.random.default_rng(0)
    n, m = 40, 30
    truth = 3 + rng.normal(size=(n, 1)) + rng.normal(size=(1, m)) / 2
    truth = truth + rng.normal(size=(n, 2)) @ rng.normal(size=(2, m))
    rows, cols = np.divmod(rng.permutation(n * m), m)
    values = truth[rows, cols] + 0.05 * rng.normal(size=n * m)
    cut = n * m * 2 // 3
    train = Interactions.of((rows[:cut], cols[:cut], values[:cut]))
    return train, (rows[cut:], cols[cut:], truth[rows[cut:], cols[cut:]])


@pytest.fixture(scope="module")
def clicks():
    """Return a sparse matrix of counts with an empty user and an empty item."""
    rng = np.random.default_rng(1)
    matrix = rng.integers(1, 4, (15, 12)) * (rng.random((15, 12)) < 0.4)
    matrix[3], matrix[:, 5] = 0, 0
    return Interactions.of(csr_array(matrix))


def last(solver, iterations):
    return list(islice(solver, iterations))


@pytest.mark.parametrize("solver", ["als", "bayes"])
def test_a_planted_rank_is_recovered(planted, solver):
    train, (rows, cols, truth) = planted
    made = (
        ratings.alternate(train, 2, Ridge(0.01, 0.0), seed=0)
        if solver == "als"
        else bayes.alternate(train, 4, seed=0)
    )
    model = last(made, 60)[-1][0]
    error = pair_scores(model, rows, cols) - truth
    assert np.sqrt(np.mean(error**2)) < 0.1 < truth.std() / 10


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_the_objective_of_ratings_never_rises(planted, exponent):
    train, _ = planted
    losses = [f["loss"] for _, f in last(ratings.alternate(train, 3, Ridge(0.5, exponent), 0), 12)]
    assert np.all(np.diff(losses) <= 1e-5 * losses[0])
    assert losses[-1] < 0.9 * losses[0]


def test_a_users_row_solves_its_normal_equations(planted):
    train, _ = planted
    items = last(ratings.alternate(train, 3, Ridge(0.5, 0.5), 0), 2)[-1][0].items
    found = ratings.solve_side(train.by_user, Fixed(items, 2.5, Ridge(0.5, 0.5)))
    for u in (0, 17):
        at = train.by_user.indices[train.by_user.indptr[u] : train.by_user.indptr[u + 1]]
        r = train.by_user[[u]].data - 2.5 - items.bias[at]
        Y = np.concatenate([np.ones((len(at), 1)), items.factors[at]], axis=1).astype(np.float64)
        ridge = 0.5 * len(at) ** 0.5 * np.diag([BIAS_RIDGE, 1, 1, 1])
        x = np.linalg.solve(Y.T @ Y + ridge, Y.T @ r)
        np.testing.assert_allclose([found.bias[u], *found.factors[u]], x, rtol=2e-4, atol=2e-4)


def test_the_free_energy_never_rises(planted):
    train, _ = planted
    losses = [figures["loss"] for _, figures, _ in last(bayes.alternate(train, 3, seed=1), 40)]
    assert np.all(np.diff(losses) <= 1e-6)
    assert losses[-1] < losses[0] - 0.5


def test_the_noise_is_found(planted):
    train, _ = planted
    noise = last(bayes.alternate(train, 2, seed=0), 100)[-1][1]["noise"]
    assert noise == pytest.approx(0.05, rel=0.25)


def test_a_posterior_of_one_row_is_bayes_rule(planted, monkeypatch):
    """Check against the formula for one row, with the chunks cut so small that there are many."""
    train, _ = planted
    monkeypatch.setattr(bayes, "NUMBERS_AT_ONCE", 5 * 5 * 7)
    K = 5
    other = bayes._first(train.shape[1], K - 2, seed=0)
    variance = np.array([0.5, 1.0, 0.3, 0.2, 0.1])
    prior = bayes.Prior(variance, bayes.ITEM_BIAS)
    found, sums = bayes.update(train.by_user, 3.0, other, prior, 0.7)
    u, free = 38, [0, 2, 3, 4]
    at = slice(*train.by_user.indptr[u : u + 2])
    columns, r = train.by_user.indices[at], train.by_user.data[at] - 3.0
    second = np.zeros((K, K))
    above, across = np.triu_indices(K)
    second[above, across] = second[across, above] = other.moments[columns].sum(axis=0)
    right = (other.mean[columns].T @ r - second[:, 1])[free] / 0.7
    precision = second[np.ix_(free, free)] / 0.7 + np.diag(1 / variance[free])
    np.testing.assert_allclose(found.mean[u][free], np.linalg.solve(precision, right), rtol=1e-5)
    assert found.mean[u][1] == 1
    packed = np.zeros((K, K))
    packed[above, across] = found.moments[u]
    covariance = (
        packed[np.ix_(free, free)]
        - np.triu(np.outer(found.mean[u], found.mean[u]))[np.ix_(free, free)]
    )
    np.testing.assert_allclose(covariance, np.triu(np.linalg.inv(precision)), rtol=1e-4, atol=1e-6)
    x, y = found.mean, other.mean
    rows = rows_of(train.by_user.indptr)
    pairs = np.sum(x[rows] * y[train.by_user.indices], axis=1)
    twice = np.where(above == across, 1, 2)
    expected = np.sum(found.moments[rows] * other.moments[train.by_user.indices] @ twice)
    expected -= 2 * (train.by_user.data - 3.0) @ pairs
    assert sums.fit == pytest.approx(expected, rel=1e-5)


def test_the_implicit_objective_is_the_dense_one_and_never_rises(clicks):
    weighting = Weighting(unobserved=0.3, regularization=0.02, exponent=0.7, steps=0)
    made = last(implicit.alternate(clicks, 4, weighting, seed=0), 8)
    losses = [figures["loss"] for _, figures in made]
    assert np.all(np.diff(losses) <= 1e-6 * losses[0])
    assert losses[-1] < losses[0]
    P, Q = made[-1][0].users.factors, made[-1][0].items.factors
    W = clicks.by_user.toarray()
    scores = P @ Q.T
    dense = np.sum(W * (scores - 1) ** 2) + 0.3 * np.sum(scores**2)
    for factors, counts, others in ((P, (W > 0).sum(1), 12), (Q, (W > 0).sum(0), 15)):
        ridge = 0.02 * (np.maximum(counts, 1) + 0.3 * others) ** 0.7
        dense += ridge @ np.sum(factors**2, axis=1)
    assert losses[-1] == pytest.approx(dense / 2, rel=1e-4)


def test_conjugate_gradients_and_exact_solutions_agree_in_the_end(clicks):
    found = {}
    for steps in (0, 3):
        weighting = Weighting(unobserved=0.3, regularization=0.02, exponent=1.0, steps=steps)
        model, figures = last(implicit.alternate(clicks, 3, weighting, seed=0), 80)[-1]
        found[steps] = model.users.factors @ model.items.factors.T, figures["loss"]
    np.testing.assert_allclose(found[0][0], found[3][0], atol=2e-3)
    assert found[0][1] == pytest.approx(found[3][1], rel=1e-5)
    assert (found[0][0][3] == 0).all()
    assert (found[0][0][:, 5] == 0).all()
