"""The native convolution by products of matrices against its reference, in values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels import native
from lamina.kernels.convolution import _convolution as reference
from lamina.kernels.native import products
from lamina.kernels.native.convolution import _Call, _form
from lamina.kernels.patches import Geometry

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)
AROUND = ((1, 1), (1, 1))


def operands(n=2, size=(6, 5), c=16, window=(3, 3), k=4, seed=0):
    """Return X, W and b of about unit scale."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, *size, c))
    W = rng.normal(size=(*window, c, k)) / np.sqrt(np.prod(window) * c)
    return X.astype(np.float32), W.astype(np.float32), rng.normal(size=k).astype(np.float32)


def values_and_gradients(convolve, inputs):
    """Return A and the gradients by X, W and b of a random sum of it."""

    @jax.jit
    def all_of(*inputs):
        A, pull = jax.vjp(convolve, *inputs)
        return A, *pull(np.random.default_rng(1).normal(size=A.shape).astype(np.float32))

    return all_of(*inputs)


def assert_twins(inputs, form):
    """Assert errors of at most 1e-5 of the largest; relu is linear in the reference where it cuts.

    Which cells relu cuts differs where Y is zero but for rounding, so the reference's gradients are
    those of a linear layer where our own A is above zero.
    """
    ours = partial(products.convolve, form)
    above = np.asarray(ours(*inputs)) > 0 if form.relu else 1

    def theirs(*inputs):
        return above * reference(*inputs, "linear", form.geometry, None)

    found = values_and_gradients(ours, inputs), values_and_gradients(theirs, inputs)
    for our, their in zip(*found, strict=True):
        assert_allclose(our, their, rtol=1e-5, atol=1e-5 * np.abs(their).max(initial=1e-6))


def pairs(least, most):
    return st.tuples(*[st.integers(least, most)] * 2)


@st.composite
def cases(draw):
    """Draw operands and a form that suits them: odd sizes, 1, primes, the empty batch."""
    winograd = draw(st.booleans())
    size, c = draw(pairs(1, 7)), draw(st.sampled_from((1, 3, 17, 33) if winograd else (16, 32)))
    window = (3, 3) if winograd else draw(pairs(1, 3))
    stride = (1, 1) if winograd else draw(pairs(1, 3))
    dilation = (1, 1) if winograd else draw(pairs(1, 2))
    geometry = Geometry(stride, tuple(draw(pairs(0, 2)) for _ in "yx"), dilation)
    found = geometry.output_size(size, window)
    if min(found) < 1:
        geometry = geometry._replace(padding=((4, 4), (4, 4)))
    form = products.Form(geometry, draw(st.booleans()), winograd)
    inputs = operands(draw(st.sampled_from((0, 1, 3))), size, c, window, draw(st.integers(1, 19)))
    return inputs, form


@settings(max_examples=12, deadline=None)
@given(cases())
def test_values_and_gradients_are_the_references(case):
    assert_twins(*case)


@pytest.mark.parametrize("winograd", [True, False])
def test_many_tiles_and_panels_of_all_widths(winograd):
    """Blocks of tiles that images meet in, and 4 + 2 + 1 vectors of channels and of filters."""
    inputs = operands(11, (13, 9), 112, k=112)
    assert_twins(inputs, products.Form(Geometry(padding=AROUND), True, winograd))


def test_filters_by_winograd_of_one_tile_worked_by_hand():
    """The identity filter gives the image, and the one of ones the sums of 3×3 cells."""
    X = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    W = np.zeros((3, 3, 1, 2), np.float32)
    W[1, 1, 0, 0], W[..., 1] = 1, 1
    form = products.Form(Geometry(padding=((0, 0), (0, 0))), False, winograd=True)
    A = np.asarray(products.convolve(form, X, W, None))[0]
    assert_array_equal(A[..., 0], [[5, 6], [9, 10]])
    assert_array_equal(A[..., 1], [[45, 54], [81, 90]])


@pytest.mark.parametrize("winograd", [True, False])
def test_each_gradient_alone_equals_that_beside_the_others(winograd):
    inputs, form = operands(), products.Form(Geometry(padding=AROUND), True, winograd)

    def loss(*inputs):
        return jnp.sum(products.convolve(form, *inputs) ** 2)

    together = jax.grad(loss, argnums=(0, 1, 2))(*inputs)
    for number in range(3):
        assert_allclose(jax.grad(loss, argnums=number)(*inputs), together[number], rtol=1e-6)


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("at", [(0, 0), (1, 2), (3, 4)])
def test_not_a_number_comes_out_where_it_is_seen_and_nowhere_else(winograd, at):
    X, W, b = operands()
    X[0, at[0], at[1], 1] = np.nan
    form = products.Form(Geometry(padding=AROUND), True, winograd)
    theirs = reference(X, W, b, "relu", form.geometry, None)
    assert_array_equal(np.isnan(products.convolve(form, X, W, b)), np.isnan(theirs))


@pytest.mark.parametrize("winograd", [True, False])
def test_vmap_jit_and_views_change_nothing(winograd):
    X, W, b = operands(4)
    form = products.Form(Geometry(padding=AROUND), False, winograd)

    def gradient(X):
        return jax.grad(lambda X: jnp.sum(products.convolve(form, X, W, b) ** 2))(X)

    alone = gradient(X)
    by_images = jax.vmap(gradient)(X[:, None])[:, 0]
    assert_allclose(by_images, alone, rtol=1e-5, atol=1e-5)
    assert_allclose(jax.grad(jax.jit(lambda X: jnp.sum(products.convolve(form, X, W, b) ** 2)))(X),
                    alone, rtol=1e-6)  # fmt: skip
    turned = np.ascontiguousarray(X.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    shifted = np.concatenate([np.zeros(1, np.float32), X.ravel()])[1:].reshape(X.shape)
    for view in (turned, shifted):
        assert_array_equal(products.convolve(form, view, W, b), products.convolve(form, X, W, b))


def test_the_form_is_chosen_by_shape():
    def chosen(n, size, c, k, window=3, **geometry):
        X, W = jnp.zeros((n, size, size, c)), jnp.zeros((window, window, c, k))
        asked = Geometry(padding=AROUND if window == 3 else ((0, 0), (0, 0)), **geometry)
        form = _form(_Call(asked, False, (1, 1)), X, W)
        return form and form.winograd

    assert chosen(64, 8, 64, 64) is True
    assert chosen(1, 4, 256, 256) is False  # too few tiles for the transform of the filters
    assert chosen(64, 8, 256, 256, stride=(2, 2)) is False
    assert chosen(64, 8, 512, 512, window=1) is False
    assert chosen(64, 8, 3, 64) is None
    assert chosen(64, 8, 64, 64, stride=(2, 2)) is None
    assert chosen(64, 8, 512, 512, groups=2) is None
