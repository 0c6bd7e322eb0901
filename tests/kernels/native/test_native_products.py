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
from lamina.kernels.convolution import Pooling
from lamina.kernels.convolution import _convolution as reference
from lamina.kernels.native.convolution import Call, _side, convolve
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


def values_and_gradients(function, inputs):
    """Return A and the gradients by X, W and b of a random sum of it."""

    @jax.jit
    def all_of(*inputs):
        A, pull = jax.vjp(function, *inputs)
        return A, *pull(np.random.default_rng(1).normal(size=A.shape).astype(np.float32))

    return all_of(*inputs)


def pooling_of(call):
    kind = "average" if call.average else "max"
    return Pooling(kind, call.window, call.window, "valid") if call.pools else None


def assert_twins(inputs, call):
    """Assert errors of at most 1e-5 of the largest; relu is linear in the reference where it cuts.

    Which cells relu cuts differs where Y is zero but for rounding, so the reference's gradients are
    those of a linear layer where our own A is above zero; but not so for means, after relu.
    """
    ours = partial(convolve, call)
    cuts = call.relu and not call.average
    above = np.asarray(ours(*inputs)) > 0 if cuts else 1
    activation = "relu" if call.relu and not cuts else "linear"

    def theirs(*inputs):
        return above * reference(*inputs, activation, call.geometry, pooling_of(call))

    found = values_and_gradients(ours, inputs), values_and_gradients(theirs, inputs)
    for our, their in zip(*found, strict=True):
        assert_allclose(our, their, rtol=1e-5, atol=1e-5 * np.abs(their).max(initial=1e-6))


def pairs(least, most):
    return st.tuples(*[st.integers(least, most)] * 2)


@st.composite
def cases(draw):
    """Draw operands and a call that suits them: odd sizes, 1, primes, the empty batch."""
    side = draw(st.sampled_from([0, 2, 4]))
    size, c = draw(pairs(1, 9)), draw(st.sampled_from((1, 3, 17, 33) if side else (16, 32)))
    window = (3, 3) if side else draw(pairs(1, 3))
    stride = (1, 1) if side else draw(pairs(1, 3))
    dilation = (1, 1) if side else draw(pairs(1, 2))
    geometry = Geometry(stride, tuple(draw(pairs(0, 2)) for _ in "yx"), dilation)
    found = geometry.output_size(size, window)
    if min(found) < 1:
        geometry = geometry._replace(padding=((4, 4), (4, 4)))
        found = geometry.output_size(size, window)
    pooled = (2, 2) if side and min(found) > 1 and draw(st.booleans()) else (1, 1)
    average = pooled == (2, 2) and draw(st.booleans())
    call = Call(geometry, draw(st.booleans()), pooled, average, side)
    inputs = operands(draw(st.sampled_from((0, 1, 3))), size, c, window, draw(st.integers(1, 19)))
    return inputs, call


@settings(max_examples=20, deadline=None)
@given(cases())
def test_values_and_gradients_are_the_references(case):
    assert_twins(*case)


def around(relu=False, side=2, window=(1, 1)):
    return Call(Geometry(padding=AROUND), relu, window, side=side)


@pytest.mark.parametrize(("side", "window"), [(0, 1), (2, 1), (4, 1), (2, 2), (4, 2)])
def test_many_tiles_and_panels_of_all_widths(side, window):
    """Blocks of tiles that images meet in, and 4 + 2 + 1 vectors of channels and of filters."""
    inputs = operands(11, (13, 9), 112, k=112)
    assert_twins(inputs, around(True, side, (window, window)))


def test_more_weights_than_a_cache_holds():
    """From so many on a block has more tiles."""
    assert_twins(operands(3, (12, 15), 192, k=160), around(side=4))


@pytest.mark.parametrize("side", [2, 4])
def test_filters_by_winograd_of_one_image_worked_by_hand(side):
    """The identity filter gives the image, and the one of ones the sums of 3×3 cells."""
    X = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    W = np.zeros((3, 3, 1, 2), np.float32)
    W[1, 1, 0, 0], W[..., 1] = 1, 1
    call = Call(Geometry(padding=((0, 0), (0, 0))), False, side=side)
    A = np.asarray(convolve(call, X, W, None))[0]
    pooled = np.asarray(convolve(call._replace(window=(2, 2)), X, W, None))[0, 0, 0]
    tolerance = {2: 0, 4: 1e-5}[side]  # the smaller tiles' points are 0, 1 and -1
    assert_allclose(A[..., 0], [[5, 6], [9, 10]], rtol=tolerance)
    assert_allclose(A[..., 1], [[45, 54], [81, 90]], rtol=tolerance)
    assert_allclose(pooled, [10, 90], rtol=tolerance)


@pytest.mark.parametrize("side", [0, 2, 4])
def test_each_gradient_alone_equals_that_beside_the_others(side):
    inputs, call = operands(), around(True, side)

    def loss(*inputs):
        return jnp.sum(convolve(call, *inputs) ** 2)

    together = jax.grad(loss, argnums=(0, 1, 2))(*inputs)
    for number in range(3):
        assert_allclose(jax.grad(loss, argnums=number)(*inputs), together[number], rtol=1e-6)


@pytest.mark.parametrize("side", [0, 2, 4])
@pytest.mark.parametrize("at", [(0, 0), (1, 2), (3, 4)])
def test_not_a_number_comes_out_where_it_is_seen_and_nowhere_else(side, at):
    """Tiles of 4×4 results may carry it over all of a tile that sees it, but no further."""
    X, W, b = operands()
    X[0, at[0], at[1], 1] = np.nan
    call = around(True, side)
    found = np.isnan(convolve(call, X, W, b))
    seen = np.isnan(reference(X, W, b, "relu", call.geometry, None))
    tiles = seen.copy()
    if side == 4:
        for part in (np.s_[0, :4, :4], np.s_[0, :4, 4:], np.s_[0, 4:, :4], np.s_[0, 4:, 4:]):
            tiles[part] = seen[part].any()
    assert found[seen].all()
    assert not found[~tiles].any()


@pytest.mark.parametrize("side", [0, 2, 4])
def test_vmap_jit_and_views_change_nothing(side):
    X, W, b = operands(4)
    ours = partial(convolve, around(side=side))

    def gradient(X):
        return jax.grad(lambda X: jnp.sum(ours(X, W, b) ** 2))(X)

    alone = gradient(X)
    by_images = jax.vmap(gradient)(X[:, None])[:, 0]
    assert_allclose(by_images, alone, rtol=1e-5, atol=1e-5)
    assert_allclose(jax.grad(jax.jit(lambda X: jnp.sum(ours(X, W, b) ** 2)))(X), alone, rtol=1e-6)
    turned = np.ascontiguousarray(X.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    shifted = np.concatenate([np.zeros(1, np.float32), X.ravel()])[1:].reshape(X.shape)
    for view in (turned, shifted):
        assert_array_equal(ours(view, W, b), ours(X, W, b))


def test_the_form_is_chosen_by_shape():
    def chosen(n, size, c, k, window=3, pooled=1, **geometry):
        X, W = jnp.zeros((n, size, size, c)), jnp.zeros((window, window, c, k))
        asked = Geometry(padding=AROUND if window == 3 else ((0, 0), (0, 0)), **geometry)
        return _side(Call(asked, False, (pooled, pooled)), X, W)

    assert chosen(64, 8, 64, 64) == chosen(64, 8, 64, 64, pooled=2) == 4
    assert chosen(64, 4, 512, 512) == 2  # few tiles: smaller filters
    assert chosen(64, 6, 64, 64) == 2  # larger tiles would stand beyond the image
    assert chosen(1, 4, 256, 256) == 0  # too few tiles for the transform of the filters
    assert chosen(64, 8, 256, 256, stride=(2, 2)) == 0
    assert chosen(64, 8, 512, 512, window=1) == 0
    assert chosen(64, 8, 3, 64) is None
    assert chosen(64, 8, 64, 64, stride=(2, 2)) is None
    assert chosen(64, 8, 512, 512, stride=(2, 2), pooled=2) is None
    assert chosen(64, 9, 64, 64, pooled=3) is None
    assert chosen(64, 8, 512, 512, groups=2) is None
