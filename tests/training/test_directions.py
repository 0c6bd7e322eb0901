"""Descent directions against optax and against their papers; L-BFGS against exact minima."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

from lamina.training import lbfgs
from lamina.training.directions import ADAM, PLAIN, RMSPROP, momentum

PAIRS = {
    "plain": (PLAIN, optax.identity()),
    "momentum": (momentum(), optax.trace(decay=0.9)),
    "nesterov": (momentum(nesterov=True), optax.trace(decay=0.9, nesterov=True)),
    "rmsprop": (RMSPROP, optax.scale_by_rms(decay=0.99, eps=1e-8, eps_in_sqrt=False)),
    "adam": (ADAM, optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)),
}


def gradient_trees(steps, dtype):
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-4, 3, steps)
    return [
        {
            "a": {"W": (s * rng.normal(size=(3, 2))).astype(dtype)},
            "b": (s * rng.normal(size=4)).astype(dtype),
        }
        for s in scales
    ]


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_twenty_steps_agree_with_optax(name):
    own, theirs = PAIRS[name]
    gradients = gradient_trees(20, np.float32)
    state, witness_state = own.init(gradients[0]), theirs.init(gradients[0])
    update = jax.jit(lambda g, state: own.update(g, state, None, None, None))
    witness = jax.jit(lambda g, state: theirs.update(g, state))
    for g in gradients:
        d, state = update(g, state)
        expected, witness_state = witness(g, witness_state)
        for found, right in zip(jax.tree.leaves(d), jax.tree.leaves(expected), strict=True):
            assert found.dtype == np.float32
            assert_allclose(found, right, rtol=2e-5, atol=1e-7)


def test_rmsprop_and_adam_agree_with_their_papers_in_float64(float64):
    gradients = gradient_trees(20, np.float64)
    rms, adam = RMSPROP.init(gradients[0]), ADAM.init(gradients[0])
    v_rms = m = v = 0
    for t, g in enumerate(gradients, 1):
        v_rms = 0.99 * v_rms + 0.01 * g["b"] ** 2
        m, v = 0.9 * m + 0.1 * g["b"], 0.999 * v + 0.001 * g["b"] ** 2
        d, rms = RMSPROP.update(g, rms)
        assert_allclose(d["b"], g["b"] / (np.sqrt(v_rms) + 1e-8), rtol=1e-12)
        d, adam = ADAM.update(g, adam)
        expected = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        assert_allclose(d["b"], expected, rtol=1e-10)
        D = np.sqrt(v / (1 - 0.999**t)) + 1e-8
        assert_allclose(adam.curvature()["b"], D, rtol=1e-10)


# L-BFGS


def minimise(function, w, steps):
    """Return the weights and the values on the way."""

    @jax.jit
    def step(w, state):
        value, g = jax.value_and_grad(function)(w)
        d, state = lbfgs.update(g, state, w, value, function)
        return jax.tree.map(jnp.add, w, d), state, value

    state, values = lbfgs.initial_state(w), []
    for _ in range(steps):
        w, state, value = step(w, state)
        values.append(float(value))
    return w, np.array(values)


@pytest.mark.parametrize("condition", [1e1, 1e4])
def test_lbfgs_solves_a_linear_system(condition, float64):
    """The minimum of ``½ wᵀAw - bᵀw`` is the solution of ``A w = b``; w as a tree of two parts."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    A = Q @ np.diag(np.geomspace(1, condition, 8)) @ Q.T
    b = rng.normal(size=8)

    def quadratic(w):
        flat = jnp.concatenate([w["W"].reshape(-1), w["b"]])
        return 0.5 * flat @ A @ flat - b @ flat

    start = {"W": np.zeros((3, 2)), "b": np.zeros(2)}
    w, values = minimise(quadratic, start, 120)
    found = np.concatenate([np.asarray(w["W"]).reshape(-1), w["b"]])
    assert_allclose(found, np.linalg.solve(A, b), rtol=1e-6, atol=1e-8)
    assert (np.diff(values) <= 1e-12 * np.abs(values[1:])).all()  # Armijo: never up


def test_lbfgs_finds_rosenbrocks_minimum(float64):
    def rosenbrock(w):
        return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2

    w, values = minimise(rosenbrock, np.array([-1.2, 1.0]), 80)
    assert_allclose(w, [1, 1], rtol=1e-6)
    assert values[0] == pytest.approx(24.2)
    assert (np.diff(values) <= 1e-12).all()


def test_lbfgs_rests_at_a_minimum():
    w, values = minimise(lambda w: jnp.sum((w - 2) ** 2), np.full(3, 2, np.float32), 5)
    assert_allclose(w, 2)
    assert (values == 0).all()


def test_lbfgs_steps_along_negative_curvature_still_descend(float64):
    """``cos`` is concave where this starts: pairs with ``sᵀy < 0`` must be left out."""
    w, values = minimise(lambda w: jnp.sum(jnp.cos(w)), np.array([0.1, -0.2]), 40)
    assert_allclose(np.cos(w), -1, atol=1e-10)
    assert (np.diff(values) <= 1e-12).all()


def first_step(w, function):
    """Return the step from ``w`` (p,) and the state after it."""
    value, g = jax.value_and_grad(function)(w)
    return lbfgs.update(g, lbfgs.initial_state(w), w, value, function)


def test_lbfgs_halves_a_step_that_gains_too_little(float64):
    """The first step of ``50 w²`` has length 1: from 0.50002 it lands as high on the other side."""
    step, _ = first_step(np.array([0.50002]), lambda w: 50 * jnp.sum(w**2))
    assert_allclose(step, [-0.5], rtol=1e-12)


@pytest.mark.parametrize(("curvature", "kept"), [(1.0, 1), (-1.0, 0), (0.0, 0)])
def test_lbfgs_keeps_a_pair_of_positive_curvature_only(curvature, kept, float64):
    def function(w):
        return jnp.sum(w) + 0.5 * curvature * jnp.sum(w**2)

    w = np.array([0.1, 0.2])
    step, state = first_step(w, function)
    w = w + np.asarray(step)
    value, g = jax.value_and_grad(function)(w)
    _, state = lbfgs.update(g, state, w, value, function)
    assert int(np.any(np.asarray(state.S) != 0, axis=1).sum()) == kept
    if kept:
        assert_allclose(state.S[-1], step, rtol=1e-12)
        assert_allclose(state.Y[-1], curvature * np.asarray(step), rtol=1e-12)
