"""The native embedding against its reference, in values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels import native
from lamina.kernels.embedding import NATIVE_NUMBERS, embedding
from lamina.kernels.embedding import _embedding as reference

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)


def operands(vocabulary, width, shape, seed=0):
    """Return W, and codes of which some have no row in it."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(vocabulary, width)).astype(np.float32)
    return W, rng.integers(-1, vocabulary + 1, shape).astype(np.int32)


def value_and_gradient(embed, W, codes):
    A, pull = jax.vjp(lambda W: embed(W, codes), W)
    return A, *pull(np.random.default_rng(1).normal(size=A.shape).astype(np.float32))


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from((1, 2, 7)),
    st.sampled_from((1, 3, 16, 17)),
    st.lists(st.sampled_from((0, 1, 2, 5)), min_size=1, max_size=3),
)
def test_values_and_gradients_are_the_references(vocabulary, width, shape):
    inputs = operands(vocabulary, width, shape)
    ours, theirs = (
        value_and_gradient(native.embedding, *inputs),
        value_and_gradient(reference, *inputs),
    )
    assert_array_equal(ours[0], theirs[0])
    assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-6)


def test_all_threads_add_what_one_adds(monkeypatch):
    inputs = operands(1001, 65, (40, 50))
    found = value_and_gradient(native.embedding, *inputs)
    monkeypatch.setenv("LAMINA_NUM_THREADS", "1")
    jax.clear_caches()
    for alone, together in zip(value_and_gradient(native.embedding, *inputs), found, strict=True):
        assert_array_equal(alone, together)
    for ours, theirs in zip(found, value_and_gradient(reference, *inputs), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_not_a_number_stays_in_its_row():
    W, _ = operands(4, 3, ())
    W[2, 1] = np.nan
    A = native.embedding(W, np.int32([0, 2, 9, -1]))
    assert_array_equal(np.isnan(A), [[0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 1, 1]])


def test_vmap_jit_and_views_change_nothing():
    W, codes = operands(5, 6, (2, 3, 4))

    def gradient(codes, W=W):
        return jax.grad(jax.jit(lambda W: jnp.nansum(native.embedding(W, codes) ** 3)))(W)

    assert_allclose(jax.vmap(gradient)(codes), [gradient(codes[0]), gradient(codes[1])], rtol=1e-6)
    turned = np.ascontiguousarray(W.T).T
    shifted = np.concatenate([np.zeros(1, np.float32), W.ravel()])[1:].reshape(W.shape)
    for view in (turned, shifted):
        assert_array_equal(gradient(codes[0], view), gradient(codes[0]))


def test_few_codes_and_other_dtypes_run_by_xla(float64):
    W, codes = operands(9, 16, (NATIVE_NUMBERS // 16,))
    for W_as, asked, called in (
        (W, codes, True),
        (W, codes[1:], False),
        (W.astype(float), codes, False),
    ):
        assert ("lamina_embedding" in str(jax.make_jaxpr(embedding)(W_as, asked))) == called
