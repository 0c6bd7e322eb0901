"""How a gradient by an early step vanishes: products of Jacobians, against the layers' own."""

import jax
import numpy as np
import pytest
from numpy.linalg import matrix_power, norm

from lamina import RecurrentRegressor
from lamina.layers import GRU, LSTM, PREDICTING, RNN, Sequential

T, UNITS = 40, 16


def jacobians(network, weights, statistics, X):
    """Return ∂h_T/∂x of one series at lags 0 to T-1, each (m, h)."""

    def last(X):
        return network.apply(weights, statistics, X[None], PREDICTING)[0][0]

    return np.asarray(jax.jacrev(last)(X)).transpose(1, 2, 0)[::-1]


def started(layer, features=2):
    """Return initial weights, with biases only where the library sets them."""
    weights, _ = layer.initialize(np.random.default_rng(0), (T, features))
    return {name: np.array(W, np.float64) for name, W in weights.items()}


def adding(samples, seed):
    """Return series of numbers and two marks each, and the marked numbers' sums."""
    rng = np.random.default_rng(seed)
    marks = np.zeros((samples, T))
    marks[np.arange(samples), rng.integers(0, T // 2, samples)] = 1
    marks[np.arange(samples), rng.integers(T // 2, T, samples)] = 1
    numbers = rng.random((samples, T))
    return np.stack([numbers, marks], axis=2).astype(np.float32), (numbers * marks).sum(axis=1)


def plain_step(weights):
    return weights["W_x"], weights["W_h"]


def lstm_step(weights):
    W_g, Q = weights["W_x"][:, 2 * UNITS : 3 * UNITS], weights["W_h"][:, 2 * UNITS : 3 * UNITS]
    forget = 1 / (1 + np.exp(-1))
    return W_g / 4, forget * np.eye(UNITS) + Q / 4


def gru_step(weights):
    W_n, Q = weights["W_x"][:, 2 * UNITS :], weights["W_h"][:, 2 * UNITS :]
    return W_n / 2, np.eye(UNITS) / 2 + Q / 4


@pytest.mark.parametrize(
    ("layer", "step"),
    [(RNN(UNITS), plain_step), (LSTM(UNITS), lstm_step), (GRU(UNITS), gru_step)],
    ids=["rnn", "lstm", "gru"],
)
def test_at_zero_the_gradient_is_a_power_of_one_matrix(float64, layer, step):
    weights = started(layer)
    first, A = step(weights)
    found = jacobians(layer, weights, {}, np.zeros((T, 2)))
    expected = np.stack([first @ matrix_power(A, lag) for lag in range(T)])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_small_recurrent_weights_lose_what_an_orthogonal_start_and_a_forget_gate_keep(float64):
    X = adding(1, 0)[0][0].astype(np.float64)

    def norms(layer, weights):
        return norm(jacobians(layer, weights, {}, X), axis=(1, 2))

    weights, gated = started(RNN(UNITS)), started(LSTM(UNITS))
    halved = norms(RNN(UNITS), {**weights, "W_h": weights["W_h"] / 2})
    plain, lstm = norms(RNN(UNITS), weights), norms(LSTM(UNITS), gated)
    forgetful = norms(LSTM(UNITS), {**gated, "b": np.zeros_like(gated["b"])})
    reach = norm(weights["W_x"])
    assert np.all(halved <= reach * 0.5 ** np.arange(T))
    assert np.all(plain <= reach * (1 + 1e-9))  # never stretched
    assert plain[-1] > 1e6 * halved[-1]
    assert lstm[-1] / lstm[0] > 1e8 * halved[-1] / halved[0]
    assert lstm[-1] > 100 * forgetful[-1]


def test_training_brings_the_gradient_back(compiled_programs):
    X, y = adding(3000, 1)
    model = RecurrentRegressor(
        cell="gru", hidden=(UNITS,), bidirectional=False, dropout=0.0, batch_size=32,
        learning_rate=1e-2, max_epochs=3, random_state=0, verbose=0,
    ).fit(X, y)  # fmt: skip
    network = Sequential(model.network_.layers[:2])
    start, _ = network.initialize(np.random.default_rng(0), X.shape[1:])
    other, answers = adding(500, 2)
    before, after = (
        norm(jacobians(network, weights, model.statistics_, other[0])[-1])
        for weights in (start, model.weights_)
    )
    error = np.mean((model.predict(other) - answers) ** 2)
    assert error < 0.02  # of the mean: 1/6
    assert after > 1e3 * before
