"""The dense layer: shapes, initial weights, its own penalty, errors, and values against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.layers import PREDICTING, Context, Dense, Penalty


def test_apply_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    layer = Dense(4, "sigmoid")
    weights, statistics = layer.initialize(np.random.default_rng(0), (3,))
    weights["b"] = np.linspace(-1, 1, 4, dtype=np.float32)
    X = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    twin = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Sigmoid())
    with torch.no_grad():
        twin[0].weight.copy_(torch.tensor(weights["W"].T))
        twin[0].bias.copy_(torch.tensor(weights["b"]))
    twin(torch.tensor(X)).square().sum().backward()

    def objective(weights):
        A, after = layer.apply(weights, statistics, X, Context(train=True))
        assert after == {}
        return jnp.sum(A**2), A

    gradients, A = jax.grad(objective, has_aux=True)(weights)
    assert_allclose(A, twin(torch.tensor(X)).detach().numpy(), rtol=1e-5)
    assert_allclose(gradients["W"], twin[0].weight.grad.numpy().T, rtol=1e-4, atol=1e-6)
    assert_allclose(gradients["b"], twin[0].bias.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_initial_weights():
    weights, statistics = Dense(7, "relu").initialize(np.random.default_rng(0), (500,))
    assert {name: (W.shape, W.dtype) for name, W in weights.items()} == {
        "W": ((500, 7), np.float32),
        "b": ((7,), np.float32),
    }
    assert statistics == {}
    assert not weights["b"].any()
    assert weights["W"].var() == pytest.approx(2 / 500, rel=0.1)  # He's, since relu halves
    tanh = Dense(7, "tanh").initialize(np.random.default_rng(0), (500,))[0]["W"]
    assert tanh.var() == pytest.approx(2 / 507, rel=0.1)  # Glorot's
    assert np.abs(tanh).max() <= np.sqrt(6 / 507)


def test_without_bias_zero_goes_to_zero():
    layer = Dense(3, bias=False)
    weights, _ = layer.initialize(np.random.default_rng(0), (2,))
    assert set(weights) == {"W"}
    A, _ = layer.apply(weights, {}, jnp.eye(2), PREDICTING)
    assert_allclose(A, weights["W"])


def test_penalty_is_the_layers_own_before_the_default_and_never_on_b():
    weights, _ = Dense(3).initialize(np.random.default_rng(0), (2,))
    default = Penalty(l2=0.5)
    assert Dense(3).penalties(weights, default) == {"W": default, "b": Penalty()}
    own = Penalty(l1=0.1)
    assert Dense(3, penalty=own).penalties(weights, default) == {"W": own, "b": Penalty()}
    none = Penalty()
    assert Dense(3, penalty=none).penalties(weights, default)["W"] == none


def test_a_layer_is_a_value():
    assert Dense(3, "relu") == Dense(3, activation="relu")
    assert hash(Dense(3, "relu")) == hash(Dense(3, activation="relu"))
    different = {Dense(3), Dense(4), Dense(3, "relu"), Dense(3, bias=False), Dense(3, init="he")}
    different |= {Dense(3, penalty=Penalty(l1=1.0)), Dense(3)}
    assert len(different) == 6
    with pytest.raises(AttributeError):
        Dense(3).units = 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Dense(0), "Dense units expected a whole number at least 1; got 0"),
        (lambda: Dense(2.5), "Dense units expected a whole number .*; got 2.5"),
        (lambda: Dense(True), "Dense units"),
        (lambda: Dense(3, "rleu"), "activation expected .* Did you mean 'relu'"),
        (lambda: Dense(3, init="hee"), "init expected .* Did you mean 'he'"),
    ],
)
def test_bad_settings_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_images_are_refused_with_the_layers_name_and_the_remedy():
    with pytest.raises(InputError, match=r"dense_4 expected .*\(28, 28, 1\)\. Put Flatten\(\)"):
        Dense(3).output_shape((28, 28, 1), "dense_4")
