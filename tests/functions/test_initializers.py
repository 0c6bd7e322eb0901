"""Initial weights: the variance that each scheme promises, and what a deep stack makes of it."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.functions.initializers import INITIALIZERS, fans, initializer

WIDTH, DEPTH, SAMPLES = 256, 24, 128


def relu(Y):
    return np.maximum(Y, 0), (Y > 0).astype(Y.dtype)


def tanh(Y):
    return np.tanh(Y), 1 - np.tanh(Y) ** 2


def linear(Y):
    return Y, np.ones_like(Y)


def through_a_stack(scheme, activation, input_scale=1.0, seed=0):
    """Return by which factor the mean square of activations and of gradients changes."""
    rng = np.random.default_rng(seed)
    draw = initializer(scheme)
    A = rng.normal(0, input_scale, (SAMPLES, WIDTH))
    first = np.mean(A**2)
    saved = []
    for _ in range(DEPTH):
        W = draw(rng, (WIDTH, WIDTH)).astype(np.float64)
        A, slope = activation(A @ W)
        saved.append((W, slope))
    dA = rng.normal(size=(SAMPLES, WIDTH))
    last = np.mean(dA**2)
    for W, slope in reversed(saved):
        dA = (dA * slope) @ W.T
    return np.mean(A**2) / first, np.mean(dA**2) / last


@pytest.mark.parametrize(
    ("scheme", "activation", "scale"),
    [
        ("he", relu, 1.0),
        ("he_normal", relu, 1.0),
        ("he_uniform", relu, 1.0),
        ("glorot", linear, 1.0),
        ("glorot", tanh, 0.05),  # tanh is linear near zero, where Glorot and Bengio argue
        ("glorot_normal", tanh, 0.05),
        ("xavier", linear, 1.0),
        ("lecun", linear, 1.0),
        ("lecun_uniform", tanh, 0.05),
    ],
)
def test_the_right_scheme_keeps_the_variance_of_a_deep_stack(scheme, activation, scale):
    forward, backward = through_a_stack(scheme, activation, scale)
    # Width 256 leaves each layer a random factor; over 24 layers its logarithm has a deviation
    # near √(24 · 5/256) = 0.7 under relu, so the band is exp(±1.6).
    assert 0.2 < forward < 5
    assert 0.2 < backward < 5


@pytest.mark.parametrize(
    ("scheme", "activation", "factor"),
    [
        ("glorot", relu, 1 / 2),  # relu drops half of the signal in each layer
        ("lecun", relu, 1 / 2),
        ("he", linear, 2),
        ("normal", relu, WIDTH * 0.01**2 / 2),
        ("normal", linear, WIDTH * 0.01**2),
    ],
)
def test_the_wrong_scheme_loses_the_signal_layer_by_layer(scheme, activation, factor):
    forward, backward = through_a_stack(scheme, activation)
    for found in (forward, backward):
        assert not 0.001 < found < 1000
        assert found ** (1 / DEPTH) == pytest.approx(factor, rel=0.1)


def test_orthogonal_keeps_norms_exactly():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(5, WIDTH))
    norms = np.linalg.norm(A, axis=1)
    for _ in range(DEPTH):
        A = A @ initializer("orthogonal")(rng, (WIDTH, WIDTH))
    assert_allclose(np.linalg.norm(A, axis=1), norms, rtol=1e-5)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (3, 2, 2, 5), (1, 1, 3, 8)])
def test_orthogonal_has_orthonormal_columns_or_rows(shape):
    W = initializer("orthogonal")(np.random.default_rng(0), shape)
    assert W.shape == shape
    M = W.reshape(-1, shape[-1])
    gram = M.T @ M if M.shape[0] >= M.shape[1] else M @ M.T
    assert_allclose(gram, np.eye(min(M.shape)), atol=1e-6)


def test_orthogonal_draws_are_not_biased_by_the_sign_of_qr():
    """LAPACK's Q alone has a diagonal of one sign; a uniform draw has entries of mean 0."""
    rng = np.random.default_rng(0)
    diagonals = [np.diag(initializer("orthogonal")(rng, (3, 3))) for _ in range(1000)]
    assert_allclose(np.mean(diagonals, axis=0), 0, atol=0.08)  # σ / √1000 = 0.018


VARIANCES = {
    "lecun": lambda i, o: 1 / i,
    "glorot": lambda i, o: 2 / (i + o),
    "xavier": lambda i, o: 2 / (i + o),
    "he": lambda i, o: 2 / i,
}


@pytest.mark.parametrize("shape", [(300, 500), (3, 5, 60, 100)])
@pytest.mark.parametrize("scheme", sorted(VARIANCES))
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_variance_by_fans(scheme, distribution, shape):
    window = math.prod(shape[:-2])
    fan_in, fan_out = window * shape[-2], window * shape[-1]
    assert fans(shape) == (fan_in, fan_out)
    W = initializer(f"{scheme}_{distribution}")(np.random.default_rng(0), shape)
    variance = VARIANCES[scheme](fan_in, fan_out)
    assert W.dtype == np.float32
    assert W.shape == shape
    assert W.var() == pytest.approx(variance, rel=0.02)
    assert abs(W.mean()) < 5 * math.sqrt(variance / W.size)
    bound = math.sqrt(3 * variance)
    if distribution == "uniform":
        assert 0.999 * bound < np.abs(W).max() <= bound * (1 + 1e-6)
    else:
        assert np.abs(W).max() > 2 * bound  # a bell has tails


def test_fans_of_filters_by_hand():
    assert fans((5, 3, 16, 32)) == (5 * 3 * 16, 5 * 3 * 32)
    assert fans((7, 4)) == (7, 4)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("glorot", "glorot_uniform"),
        ("xavier", "glorot_uniform"),
        ("xavier_normal", "glorot_normal"),
        ("he", "he_normal"),
        ("lecun", "lecun_normal"),
    ],
)
def test_short_names(short, long):
    draws = [initializer(name)(np.random.default_rng(0), (4, 3)) for name in (short, long)]
    assert_array_equal(*draws)


@pytest.mark.parametrize(
    ("activation", "scheme"),
    [
        ("relu", "he"),
        ("leaky_relu", "he"),
        ("gelu", "he"),
        ("tanh", "glorot"),
        ("linear", "glorot"),
    ],
)
def test_auto_suits_the_activation(activation, scheme):
    assert initializer("auto", activation) is INITIALIZERS[scheme]


def test_plain_schemes():
    W = initializer("normal")(np.random.default_rng(0), (200, 300))
    assert W.dtype == np.float32
    assert W.std() == pytest.approx(0.01, rel=0.01)
    assert not initializer("zeros")(np.random.default_rng(0), (2, 3)).any()


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_the_generator_decides_alone(name):
    draw = initializer(name)
    first, again = (draw(np.random.default_rng(7), (6, 5)) for _ in range(2))
    assert_array_equal(first, again)
    assert name == "zeros" or not np.array_equal(first, draw(np.random.default_rng(8), (6, 5)))


def test_unknown_scheme_names_the_nearest():
    with pytest.raises(InputError, match=r"init expected one of auto, .* Did you mean 'glorot'\?"):
        initializer("glorrot")
