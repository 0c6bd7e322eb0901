"""The native recurrent sweep against its reference, in values and gradients."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lamina.kernels import native
from lamina.kernels.recurrence import _sweep as reference

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}


def operands(cell, t, n, m, h, seed=0):
    """Return X, W_x, W_h, b and the initial state, scaled so that no state grows with t."""
    rng, g = np.random.default_rng(seed), GATES[cell]
    shapes = [(t, n, m), (m, g * h), (h, g * h), ((g + (cell == "gru")) * h,)]
    scales = [1, 0.5 / max(1, m) ** 0.5, 0.5 / h**0.5, 0.1]
    arrays = [rng.normal(0, s, shape) for s, shape in zip(scales, shapes, strict=True)]
    initial = rng.normal(size=(2 if cell == "lstm" else 1, n, h))
    return tuple(a.astype(np.float32) for a in arrays), tuple(initial.astype(np.float32))


def values_and_gradients(sweep, cell, reverse, inputs, initial, steps, all_states):
    """Return states, final state, and the gradients by all inputs of a random sum of them."""
    rng = np.random.default_rng(1)
    X, _, W_h, _ = inputs
    dA = rng.normal(size=(*X.shape[:2], len(W_h))).astype(np.float32)
    dfinal = rng.normal(size=(len(initial), X.shape[1], len(W_h))).astype(np.float32)

    def total(inputs, initial):
        states, final = sweep(cell, reverse, *inputs, initial, steps)
        loss = sum(jnp.sum(d * part) for d, part in zip(dfinal, final, strict=True))
        return loss + jnp.sum(dA * states) if all_states else loss, (states, final)

    (_, results), gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(
        inputs, initial
    )
    return jax.tree.leaves((results, gradients))


def assert_twins(cell, reverse, inputs, initial, lengths=None, all_states=True):
    steps = len(inputs[0])
    valid = None if lengths is None else (np.arange(steps)[:, None] < lengths)[:, :, None]
    shared = (cell, reverse, inputs, initial)
    theirs = values_and_gradients(reference, *shared, valid, all_states)
    ours = values_and_gradients(native.sweep, *shared, lengths, all_states)
    for our, their in zip(ours, theirs, strict=True):
        largest = np.abs(their).max(initial=1e-6)
        assert_allclose(our, their, rtol=1e-5, atol=1e-5 * largest)


@settings(max_examples=30, deadline=None)
@given(
    cell=st.sampled_from(sorted(GATES)),
    t=st.sampled_from([1, 2, 7, 40]),
    n=st.sampled_from([0, 1, 2, 5, 13]),
    m=st.sampled_from([1, 3, 16, 37]),
    h=st.sampled_from([1, 5, 16, 31, 64, 67]),
    reverse=st.booleans(),
    cut=st.booleans(),
    all_states=st.booleans(),
)
def test_values_and_gradients_are_the_references(cell, t, n, m, h, reverse, cut, all_states):
    inputs, initial = operands(cell, t, n, m, h)
    lengths = np.random.default_rng(2).integers(0, t + 1, n).astype(np.int32) if cut else None
    assert_twins(cell, reverse, inputs, initial, lengths, all_states)


def test_a_thousand_steps():
    assert_twins("gru", False, *operands("gru", 1000, 3, 2, 16))


def test_gradient_by_weights_alone_equals_that_beside_others():
    inputs, initial = operands("lstm", 5, 4, 3, 8)

    def loss(W_h):
        return native.sweep("lstm", False, *inputs[:2], W_h, inputs[3], initial, None)[0].sum()

    alone = jax.grad(loss)(inputs[2])
    beside = jax.grad(lambda inputs: native.sweep("lstm", False, *inputs, initial, None)[0].sum())(
        inputs
    )
    assert_allclose(alone, beside[2], rtol=1e-6)


@pytest.mark.parametrize("cell", sorted(GATES))
def test_not_a_number_in_one_row_stays_in_that_row(cell):
    inputs, initial = operands(cell, 4, 3, 2, 5)
    inputs[0][1, 2, 0] = np.nan
    states, (h, *_) = native.sweep(cell, False, *inputs, initial, None)
    assert np.isnan(states[1:, 2]).all()
    assert np.isnan(h[2]).all()
    assert np.isfinite(states[:, :2]).all()


def test_the_gradient_of_a_jitted_sweep_is_that_of_the_sweep():
    inputs, initial = operands("lstm", 5, 4, 3, 8)

    def total(W_h):
        return native.sweep("lstm", False, *inputs[:2], W_h, inputs[3], initial, None)[0].sum()

    assert_allclose(jax.grad(jax.jit(total))(inputs[2]), jax.grad(total)(inputs[2]), rtol=1e-6)


def test_vmap_is_a_loop_over_sequences():
    inputs, initial = operands("gru", 3, 4, 2, 5)
    X = np.stack([inputs[0], 2 * inputs[0]])

    def final(X):
        return native.sweep("gru", False, X, *inputs[1:], initial, None)[1][0]

    assert_allclose(jax.vmap(final)(X), np.stack([final(X[0]), final(X[1])]), rtol=1e-6)


def test_two_threads_at_once_get_what_one_gets():
    cases = [operands("lstm", 30, 8, 6, 32, seed) for seed in range(8)]

    @jax.jit
    def gradient(inputs, initial):
        return jax.grad(
            lambda inputs: native.sweep("lstm", False, *inputs, initial, None)[0].sum()
        )(inputs)

    alone = [gradient(*case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda case: gradient(*case), cases))
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_denormal_numbers_are_kept_outside():
    native.sweep(
        "lstm", False, *operands("lstm", 2, 2, 2, 2)[0], operands("lstm", 2, 2, 2, 2)[1], None
    )
    assert np.float32(1e-40) * np.ones(3, np.float32)[0] > 0
