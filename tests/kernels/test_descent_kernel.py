"""The optimiser's step against optax, and against the papers' equations in float64."""

from typing import Any

import jax
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels.descent import RULES, Pace, descend

RATE, DECAY, L1 = 0.01, 0.3, 0.2
PAIRS = {
    "plain": optax.sgd(RATE),
    "momentum": optax.sgd(RATE, momentum=0.9),
    "nesterov": optax.sgd(RATE, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop(RATE, decay=0.99, eps=1e-8, eps_in_sqrt=False),
    "adam": optax.adam(RATE),
    "adamw": optax.adamw(RATE, weight_decay=DECAY),
}


def trees(count, dtype: Any = np.float32):
    """Return trees of few weights; each is as large as its own power of ten."""
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-4, 3, count)
    return [
        {
            "a": {"W": (s * rng.normal(size=(3, 2))).astype(dtype), "c": dtype(s * rng.normal())},
            "b": (s * rng.normal(size=4)).astype(dtype),
        }
        for s in scales
    ]


def start(rule, weights):
    return tuple(jax.tree.map(np.zeros_like, weights) for _ in range(RULES[rule].moments))


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_twenty_steps_agree_with_optax(name):
    rule, method = name.removesuffix("w"), PAIRS[name]
    first, *gradients = trees(21)
    pace = Pace(RATE, decay=jax.tree.map(lambda W: DECAY, first) if name == "adamw" else None)
    ours = jax.jit(lambda W, g, moments, t: descend(rule, W, g, moments, t, pace))
    theirs = jax.jit(method.update)
    W, moments, expected, state = first, start(rule, first), first, method.init(first)
    for t, g in enumerate(gradients, 1):
        W, moments = ours(W, g, moments, np.int32(t))
        updates, state = theirs(g, state, expected)
        expected = optax.apply_updates(expected, updates)
        for found, right in zip(jax.tree.leaves(W), jax.tree.leaves(expected), strict=True):
            assert found.dtype == np.float32
            assert_allclose(found, right, rtol=2e-5, atol=1e-7)


def soft(W, threshold):
    return np.sign(W) * np.maximum(np.abs(W) - threshold, 0)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_clipped_decayed_and_proximal_steps_agree_with_their_papers(rule, float64):
    """Clipping scales g by ½, decay shrinks W itself, and L1's thresholds are divided by D."""
    first, *gradients = trees(6, np.float64)
    decay, l1 = (jax.tree.map(lambda _, a=a: a, first) for a in (DECAY, L1))
    pace = Pace(RATE, 0.5, decay, l1)
    step = jax.jit(lambda W, g, moments, t: descend(rule, W, g, moments, t, pace))
    W, moments, expected = first, start(rule, first), first["b"]
    m = v = 0
    for t, gradient in enumerate(gradients, 1):
        g = 0.5 * gradient["b"]
        if rule == "plain":
            d, D = g, 1
        elif rule in ("momentum", "nesterov"):
            v = 0.9 * v + g
            d, D = v if rule == "momentum" else 0.9 * v + g, 0.1
        elif rule == "rmsprop":
            v = 0.99 * v + 0.01 * g**2
            D = np.sqrt(v) + 1e-8
            d = g / D
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            D = np.sqrt(v / (1 - 0.999**t)) + 1e-8
            d = m / (1 - 0.9**t) / D
        expected = soft(expected - RATE * d - RATE * DECAY * expected, RATE * L1 / D)
        W, moments = step(W, gradient, moments, t)
        assert_allclose(W["b"], expected, rtol=1e-9, atol=1e-12)


def test_a_strength_of_each_matrix_is_its_own():
    W = {"a": np.full(3, 2.0, np.float32), "b": np.full(2, -2.0, np.float32)}
    zero = jax.tree.map(np.zeros_like, W)
    stepped, _ = descend("plain", W, zero, (), 1, Pace(1.0, l1={"a": 0.5, "b": 3.0}))
    assert_array_equal(stepped["a"], 1.5)
    assert_array_equal(stepped["b"], 0)
    stepped, _ = descend("plain", W, zero, (), 1, Pace(0.5, decay={"a": 0.5, "b": 0.0}))
    assert_array_equal(stepped["a"], 1.5)
    assert_array_equal(stepped["b"], -2)
