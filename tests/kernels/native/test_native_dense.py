"""The native dense layer against its reference, in values and gradients."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels import native
from lamina.kernels.dense import _dense as reference
from lamina.kernels.dense import dense

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)
SIZES = [1, 2, 7, 16, 33, 64, 131]
CANCELLED = 0.1
"""Sums of numbers about 1 that come out smaller are no measure of the error of a float32."""


def operands(n, m, k, seed=0):
    rng = np.random.default_rng(seed)
    arrays = rng.normal(size=(n, m)), rng.normal(size=(m, k)) / m**0.5, rng.normal(size=k)
    return [array.astype(np.float32) for array in arrays]


def values_and_gradients(function, X, W, b, activation):
    dA = np.random.default_rng(1).normal(size=(len(X), W.shape[1])).astype(np.float32)

    def total(*arrays):
        A = function(*arrays, activation)
        return jnp.sum(dA * A), A

    arguments = (0, 1) if b is None else (0, 1, 2)
    (_, A), gradients = jax.jit(jax.value_and_grad(total, arguments, has_aux=True))(X, W, b)
    return A, *gradients


@settings(max_examples=25, deadline=None)
@given(
    n=st.sampled_from([0, *SIZES]),
    m=st.sampled_from([*SIZES, 300]),
    k=st.sampled_from(SIZES),
    has_bias=st.booleans(),
    activation=st.sampled_from(["linear", "relu", "gelu", "tanh"]),
)
def test_values_and_gradients_are_the_references(n, m, k, has_bias, activation):
    X, W, b = operands(n, m, k)
    b = b if has_bias else None
    ours = values_and_gradients(native.dense, X, W, b, activation)
    with jax.enable_x64(True):
        exact = (a if a is None else a.astype(np.float64) for a in (X, W, b))
        theirs = values_and_gradients(reference, *exact, activation)
    for our, their in zip(ours, theirs, strict=True):
        assume(not 0 < np.abs(their).max(initial=0) < CANCELLED)
        largest = np.abs(their).max(initial=1e-6)
        assert_allclose(our, their, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("is_faster", [True, False])
def test_the_faster_kernel_runs(is_faster, monkeypatch):
    asked = []
    monkeypatch.setattr(native, "is_faster", lambda *work: asked.append(work) or is_faster)
    X, W, b = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 128), (128, 33), (33,)))
    program = jax.jit(lambda *arrays: dense(*arrays)).lower(X, W, b)  # one not compiled before
    assert ("lamina_dense_forward" in program.as_text()) == is_faster
    assert asked == [("dense", "many units", 64 * 128 * 33, jnp.float32)]


def test_float64_is_never_native():
    with jax.enable_x64(True):
        X, W, b = (array.astype(np.float64) for array in operands(64, 128, 128))
        assert "lamina_dense_forward" not in jax.jit(dense).lower(X, W, b).as_text()


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_not_a_number_in_one_row_stays_in_that_row(activation):
    X, W, b = operands(7, 5, 20)
    X[3, 2] = np.nan
    A = np.asarray(native.dense(X, W, b, activation))
    assert np.isnan(A[3]).all()
    assert np.isfinite(np.delete(A, 3, axis=0)).all()


def test_the_gradient_of_a_jitted_layer_is_that_of_the_layer():
    X, W, b = operands(5, 6, 7)

    def total(W):
        return native.dense(X, W, b, "relu").sum()

    assert_allclose(jax.grad(jax.jit(total))(W), jax.grad(total)(W), rtol=1e-6)


def test_vmap_is_a_loop_over_samples():
    X, W, b = operands(6, 5, 4)
    A = jax.vmap(lambda X: native.dense(X, W, b, "relu"))(X.reshape(2, 3, 5))
    assert_allclose(A.reshape(6, 4), native.dense(X, W, b, "relu"), rtol=1e-6)


def test_two_threads_at_once_get_what_one_gets():
    cases = [operands(64, 131, 64, seed) for seed in range(8)]

    @jax.jit
    def gradients(X, W, b):
        return values_and_gradients(native.dense, X, W, b, "relu")

    alone = [gradients(*case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda case: gradients(*case), cases))
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        assert_array_equal(ours, theirs)
