"""Native batch normalisation against its reference, in values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels import native
from lamina.kernels.normalization import NATIVE_NUMBERS, batch_norm
from lamina.kernels.normalization import _batch_norm as reference

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)
EPSILON = 1e-3


def operands(shape, weighted=False, affine=True, seed=0):
    """Return X, gain, shift and weights, or None for what is not asked for."""
    rng = np.random.default_rng(seed)
    X = rng.normal(1, 2, shape).astype(np.float32)
    gain, shift = rng.normal(size=(2, shape[-1])).astype(np.float32)
    weight = np.resize(np.float32([1, 0.5, 2, 3, 0]), shape[0]) if weighted else None
    return (X, gain, shift, weight) if affine else (X, None, None, weight)


def values_and_gradients(normalise, inputs, dtype=np.float32):
    """Return A, mean, variance and the gradients of a random sum of A."""

    @jax.jit
    def all_of(*inputs):
        *inputs, weight = inputs
        (A, *moments), pull = jax.vjp(lambda *inputs: normalise(*inputs, weight, EPSILON), *inputs)
        dA = np.random.default_rng(1).normal(size=A.shape).astype(dtype)
        gradients = pull((dA, *(jnp.zeros_like(moment) for moment in moments)))
        return A, *moments, *(d for d in gradients if d is not None)

    return all_of(*(None if a is None else a.astype(dtype) for a in inputs))


def rectified(normalise, above=None):
    """Return what normalises and then does relu, or keeps those numbers that are ``above`` zero."""

    def both(*inputs):
        A, *moments = normalise(*inputs)
        return (jax.nn.relu(A) if above is None else above * A, *moments)

    return both


def assert_twins(inputs, relu=False):
    """Assert errors of at most 1e-5 of the largest against the reference in float64.

    What relu cuts may differ where A is zero but for rounding, so the reference cuts what we do.
    """
    ours = values_and_gradients(lambda *a: native.batch_norm(*a, relu), inputs)
    exact = rectified(reference, np.asarray(ours[0]) > 0) if relu else reference
    with jax.enable_x64(True):
        theirs = values_and_gradients(exact, inputs, np.float64)
    for our, their in zip(ours, theirs, strict=True):
        assert_allclose(our, their, rtol=1e-5, atol=1e-5 * np.abs(their).max(initial=1e-6))


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.sampled_from((1, 2, 3, 7)), min_size=1, max_size=3),
    st.sampled_from((1, 2, 5, 16, 17, 33)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_values_and_gradients_are_the_references(lead, channels, weighted, affine, relu):
    # The gradient through one or two cells is zero but for rounding: four rows more.
    assert_twins(operands((lead[0] + 4, *lead[1:], channels), weighted, affine), relu)


@pytest.mark.parametrize(("weighted", "relu"), [(False, False), (True, False), (True, True)])
def test_blocks_and_threads_are_joined(weighted, relu):
    assert_twins(operands((37, 11, 13, 83), weighted), relu)


def test_relu_within_is_relu_after():
    X, gain, shift, weight = operands((9, 8, 8, 70), weighted=True)
    found = batch_norm(X, gain, shift, weight, EPSILON, relu=True)
    expected = rectified(batch_norm)(X, gain, shift, weight, EPSILON)
    for our, their in zip(found, expected, strict=True):
        assert_array_equal(our, their)


def test_a_large_mean_does_not_cancel():
    X, *others = operands((64, 9, 9, 5))
    X += np.float32(1e4)
    A, _, variance = native.batch_norm(X, *others, EPSILON)
    with jax.enable_x64(True):
        exact, _, of_exact = reference(*(a if a is None else a.astype(float) for a in (X, *others)),
                                       EPSILON)  # fmt: skip
    assert_allclose(variance, of_exact, rtol=1e-5)
    assert_allclose(A, exact, atol=2e-3)  # the mean is a float too


def test_no_rows_and_rows_of_no_weight():
    A, mean, variance = native.batch_norm(*operands((0, 3, 4)), EPSILON)
    assert A.shape == (0, 3, 4)
    assert not np.any([mean, variance])
    X, gain, shift, _ = operands((3, 2, 5))
    X[1] = np.nan
    weight = np.float32([1, 0, 2])
    found = values_and_gradients(native.batch_norm, (X, gain, shift, weight))
    assert np.isfinite(np.concatenate([np.ravel(a) for a in found])).all()
    assert not np.any(found[0][1])
    assert not np.any(found[3][1])
    nothing = native.batch_norm(X, gain, shift, np.zeros(3, np.float32), EPSILON)
    assert not np.any(np.concatenate([np.ravel(a) for a in nothing]))


def test_not_a_number_fills_its_channel_alone():
    X, gain, shift, _ = operands((4, 3, 5))
    X[2, 1, 3] = np.nan
    found = values_and_gradients(native.batch_norm, (X, gain, shift, None))
    A, mean, _, dX, dgain, dshift = (np.isnan(a) for a in found)
    for of_channel in (A.any((0, 1)), mean, dX.any((0, 1)), dgain):
        assert_array_equal(of_channel, [False, False, False, True, False])
    assert A[..., 3].all()
    assert not dshift.any()


def test_vmap_jit_and_views_change_nothing():
    X, gain, shift, _ = operands((2, 6, 3, 5))

    def gradient(X):
        return jax.grad(
            lambda X: jnp.sum(native.batch_norm(X, gain, shift, None, EPSILON)[0] ** 3)
        )(X)

    assert_allclose(jax.vmap(gradient)(X), [gradient(X[0]), gradient(X[1])], rtol=1e-6)
    assert_allclose(jax.jit(gradient)(X[0]), gradient(X[0]), rtol=1e-6)
    turned = np.ascontiguousarray(X[0].swapaxes(0, 1)).swapaxes(0, 1)
    shifted = np.concatenate([np.zeros(1, np.float32), X[0].ravel()])[1:].reshape(X[0].shape)
    for view in (turned, shifted):
        assert_array_equal(gradient(view), gradient(X[0]))


def test_small_batches_and_other_dtypes_run_by_xla(float64):
    assert NATIVE_NUMBERS > 64
    X, *others = operands((NATIVE_NUMBERS // 4 + 1, 4))
    for dtype, called in ((np.float32, True), (np.float64, False)):
        arrays = [X.astype(dtype), *(None if a is None else a.astype(dtype) for a in others)]
        program = str(jax.make_jaxpr(lambda *a: batch_norm(*a, EPSILON))(*arrays))
        assert ("lamina_batch_norm" in program) == called
    small = str(jax.make_jaxpr(lambda X: batch_norm(X, None, None, None, EPSILON))(X[:4]))
    assert "lamina_batch_norm" not in small
