"""L-BFGS against exact minima; the other methods are in test_descent_kernel.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina.training import lbfgs


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
