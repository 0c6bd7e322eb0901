"""The embedding: rows by code, the gradient against one-hot rows and PyTorch, weights, errors."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.layers import LSTM, PREDICTING, Embedding, Penalty, Sequences, Sequential
from lamina.layers.document import from_document, to_document

CODES = np.array([[0, 2, 2], [4, 1, 2]])  # 2 thrice, 3 never


def apply(layer, weights, X):
    return jax.jit(lambda weights, X: layer.apply(weights, {}, X, PREDICTING)[0])(weights, X)


def test_value_and_gradient_are_those_of_one_hot_rows():
    layer = Embedding(5, 3)
    weights, statistics = layer.initialize(np.random.default_rng(0), (3,))
    assert statistics == {}
    one_hot = np.eye(5, dtype=np.float32)[CODES]
    dA = np.random.default_rng(1).normal(size=(2, 3, 3)).astype(np.float32)

    @jax.jit
    def both(W):
        found, pull = jax.vjp(lambda W: layer.apply({"W": W}, {}, CODES, PREDICTING)[0], W)
        expected, pull_plain = jax.vjp(lambda W: one_hot @ W, W)
        return (found, *pull(dA)), (expected, *pull_plain(dA))

    (A, dW), (expected, expected_dW) = both(weights["W"])
    assert A.shape == (2, *layer.output_shape((3,), "it")) == (2, 3, 3)
    assert_allclose(A, expected, rtol=1e-6)
    assert_allclose(dW, expected_dW, rtol=1e-5, atol=1e-6)
    assert not dW[3].any()


def test_gradient_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    layer = Embedding(5, 3)
    weights, _ = layer.initialize(np.random.default_rng(0), (3,))
    twin = torch.nn.Embedding(5, 3)
    with torch.no_grad():
        twin.weight.copy_(torch.tensor(weights["W"]))
    expected = twin(torch.tensor(CODES))
    expected.pow(3).sum().backward()

    @jax.jit
    def run(weights):
        def objective(weights):
            A, _ = layer.apply(weights, {}, CODES, PREDICTING)
            return jnp.sum(A**3), A

        return jax.grad(objective, has_aux=True)(weights)

    gradients, A = run(weights)
    np.testing.assert_array_equal(A, expected.detach().numpy())
    assert_allclose(gradients["W"], twin.weight.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_codes_may_come_as_numbers():
    layer = Embedding(5, 3)
    weights, _ = layer.initialize(np.random.default_rng(0), (3,))
    np.testing.assert_array_equal(
        apply(layer, weights, CODES.astype(np.float32)), weights["W"][CODES]
    )


@pytest.mark.parametrize("code", [-1, 5])
def test_a_code_out_of_range_shows(code):
    """JAX would take the nearest row, or count from the end, and train on nonsense."""
    layer = Embedding(5, 3)
    weights, _ = layer.initialize(np.random.default_rng(0), (3,))
    A = apply(layer, weights, np.array([[0, code, 4]]))
    assert np.isnan(A[0, 1]).all()
    np.testing.assert_array_equal(A[0, [0, 2]], weights["W"][[0, 4]])


def test_padding_may_hold_any_code_and_learns_nothing():
    network = Sequential([Embedding(5, 3), LSTM(2)])
    weights, _ = network.initialize(np.random.default_rng(0), (3,))
    lengths = np.array([1, 2])

    @jax.jit
    def run(codes):
        def objective(weights):
            return jnp.sum(network.apply(weights, {}, Sequences(codes, lengths), PREDICTING)[0])

        return jax.value_and_grad(objective)(weights)

    (value, gradients), (padded_value, padded) = (
        run(np.array(codes)) for codes in ([[3, 1, 1], [4, 3, 2]], [[3, -1, 99], [4, 3, 0]])
    )
    assert np.isfinite(value)
    assert_allclose(padded_value, value)
    dW, padded_dW = gradients["embedding_0"]["W"], padded["embedding_0"]["W"]
    assert_allclose(padded_dW, dW)
    assert not dW[:3].any()
    assert dW[3:].all()
    rows, _ = Embedding(5, 3).apply(
        weights["embedding_0"], {}, Sequences(np.array([[3, -1, 99]]), np.array([1])), PREDICTING
    )
    assert np.isfinite(rows.values).all()


def test_initial_rows_have_length_about_one():
    weights, _ = Embedding(2000, 50).initialize(np.random.default_rng(0), (3,))
    assert weights["W"].shape == Embedding(2000, 50).weight_shapes((3,))[0]["W"]
    assert weights["W"].dtype == np.float32
    assert np.mean(np.sum(weights["W"] ** 2, axis=1)) == pytest.approx(1, rel=0.02)


def test_penalty_and_document():
    layer = Embedding(5, 3, penalty=Penalty(l2=0.1))
    assert layer.penalties({"W": np.zeros((5, 3))}, Penalty()) == {"W": Penalty(l2=0.1)}
    assert from_document(json.loads(json.dumps(to_document(layer)))) == layer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Embedding(0, 3), "Embedding vocabulary expected a whole number at least 1; got 0"),
        (lambda: Embedding(5, 2.5), "Embedding width expected .*; got 2.5"),
        (
            lambda: Embedding(5, 3).output_shape((4, 2), "embedding_0"),
            r"embedding_0 expected samples that are codes \(t,\), got samples of shape \(4, 2\)",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
