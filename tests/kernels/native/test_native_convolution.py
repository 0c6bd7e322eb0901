"""The native convolution against its reference, in values and gradients."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels import native
from lamina.kernels.convolution import Pooling, convolution
from lamina.kernels.convolution import _convolution as reference
from lamina.kernels.patches import Geometry

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)
TWOS = Pooling("max", (2, 2), (2, 2), "valid")
MEANS = TWOS._replace(kind="average")


def operands(n=2, size=(6, 5), c=3, window=(3, 2), k=4, groups=1, bias=True, seed=0):
    """Return X, W and b, or None for it, of about unit scale."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, *size, c)).astype(np.float32)
    W = rng.normal(size=(*window, c // groups, k)) / np.sqrt(np.prod(window) * c / groups)
    return X, W.astype(np.float32), rng.normal(size=k).astype(np.float32) if bias else None


def values_and_gradients(convolve, inputs, *asked):
    """Return A and the gradients by X, W and b of a random sum of it."""
    A, pull = jax.vjp(lambda *inputs: convolve(*inputs, *asked), *inputs)
    dA = np.random.default_rng(1).normal(size=A.shape).astype(np.float32)
    return A, *(d for d in pull(dA) if d is not None)


def assert_twins(inputs, activation="relu", geometry=None, pooling=None):
    asked = activation, geometry or Geometry(), pooling
    assert native.supports_convolution(*inputs, asked[1])

    @jax.jit
    def both(*inputs):
        return [values_and_gradients(f, inputs, *asked) for f in (native.convolution, reference)]

    for our, their in zip(*both(*inputs), strict=True):
        largest = np.abs(their).max(initial=1e-6)
        assert_allclose(our, their, rtol=1e-5, atol=1e-5 * largest)


def sizes(*, at_least=1, at_most=9):
    return st.tuples(*[st.integers(at_least, at_most)] * 2)


@st.composite
def cases(draw):
    """Draw operands, a geometry in which a window fits, an activation and a pooling or None."""
    size, window = draw(sizes()), draw(sizes(at_most=4))
    groups, seen, made = draw(
        st.sampled_from(
            [(1, 1, 5), (1, 3, 17), (1, 17, 33), (3, 2, 3), (5, 1, 1), (19, 1, 1), (2, 1, 3)]
        )
    )
    padding = draw(
        st.one_of(st.sampled_from(["same", "valid"]), st.tuples(sizes(at_least=-1), sizes()))
    )
    geometry = Geometry(draw(sizes(at_most=3)), padding, draw(sizes(at_most=3)), groups)
    found = geometry.output_size(size, window)
    if min(found) < 1:
        geometry = geometry._replace(padding="same")
        found = geometry.output_size(size, window)
    pooling = None
    if draw(st.booleans()):
        cells = tuple(draw(st.integers(1, min(4, cells))) for cells in found)
        pooling = Pooling(draw(st.sampled_from(["max", "max", "average"])), cells, cells, "valid")
    n, bias = draw(st.integers(0, 3)), draw(st.booleans())
    inputs = operands(n, size, groups * seen, window, groups * made, groups, bias)
    return inputs, draw(st.sampled_from(["linear", "relu", "tanh", "gelu"])), geometry, pooling


@settings(max_examples=40, deadline=None)
@given(cases())
def test_values_and_gradients_are_the_references(case):
    assert_twins(*case)


@pytest.mark.parametrize(
    ("shape", "geometry", "pooling"),
    [
        # More than a strip holds, so that strips meet in an image.
        ({"n": 1, "size": (70, 90), "c": 24, "k": 40}, Geometry(stride=(2, 1)), TWOS),
        ({"n": 3, "size": (61, 64), "c": 64, "window": (5, 3), "k": 64}, Geometry(), None),
        # All widths of panels, and a tile of each height.
        ({"n": 5, "size": (13, 17), "c": 16, "window": (3, 3), "k": 80}, Geometry(), TWOS),
        # A window of as many cells as a byte can tell apart, and one of more.
        (
            {"n": 2, "size": (20, 18), "c": 2, "k": 3},
            Geometry(),
            Pooling("max", (15, 17), (15, 17), "valid"),
        ),
        (
            {"n": 2, "size": (20, 18), "c": 2, "k": 3},
            Geometry(),
            Pooling("max", (16, 16), (16, 16), "valid"),
        ),
        # Means: of cells that are left over, of as many as relu's bits tell apart, and of one more.
        ({"n": 3, "size": (9, 7), "k": 17}, Geometry(), MEANS),
        (
            {"n": 2, "size": (9, 9), "k": 19},
            Geometry(),
            Pooling("average", (2, 4), (2, 4), "valid"),
        ),
        ({"n": 2, "size": (9, 9), "k": 5}, Geometry(), Pooling("average", (3, 3), (3, 3), "valid")),
        ({"n": 2, "size": (5, 4), "k": 5}, Geometry(), Pooling("average", (1, 1), (1, 1), "valid")),
        # Windows that overlap.
        ({"n": 2, "size": (9, 9)}, Geometry(), Pooling("max", (3, 3), (2, 2), "same")),
        # A signal that sees no future.
        (
            {"n": 2, "size": (1, 300), "c": 8, "window": (1, 7)},
            Geometry(padding=((0, 0), (6, 0))),
            None,
        ),
    ],
)
def test_large_and_special_shapes(shape, geometry, pooling):
    assert_twins(operands(**shape), "relu", geometry, pooling)


def test_cells_that_are_cut_off_have_no_gradient():
    X, W, b = operands(1, (9, 8), 4)
    geometry = Geometry(padding=((-2, -3), (-1, -2)))
    gradient = jax.jit(
        jax.grad(lambda X: native.convolution(X, W, b, "linear", geometry, None).sum())
    )
    for _ in range(8):  # into memory that held something else
        others = [jax.block_until_ready(jnp.full(X.shape, 7.0)) for _ in range(8)]
        del others
        dX = np.asarray(gradient(X))
        assert not dX[:, :2].any()
        assert not dX[:, -3:].any()
        assert not dX[:, :, :1].any()
        assert not dX[:, :, -2:].any()
        assert dX[:, 2:6, 1:6].all()


@pytest.mark.parametrize("pooling", [None, TWOS])
def test_each_gradient_alone_equals_that_beside_the_others(pooling):
    inputs = operands()

    def loss(*inputs):
        return jnp.sum(native.convolution(*inputs, "relu", Geometry(), pooling) ** 2)

    together = jax.grad(loss, argnums=(0, 1, 2))(*inputs)
    for number in range(3):
        assert_allclose(jax.grad(loss, argnums=number)(*inputs), together[number], rtol=1e-6)


def test_of_equal_cells_the_first_takes_the_gradient_and_none_where_relu_is_zero():
    X = np.float32([[3, 3, -1, -2], [3, 3, -1, -1]]).reshape(1, 2, 4, 1)
    one = np.ones((1, 1, 1, 1), np.float32)

    def gradient(activation):
        return jax.grad(
            lambda X: native.convolution(X, one, None, activation, Geometry(), TWOS).sum()
        )(X)[0, :, :, 0]

    assert_array_equal(gradient("relu"), [[1, 0, 0, 0], [0, 0, 0, 0]])
    assert_array_equal(gradient("linear"), [[1, 0, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("pooling", [None, TWOS, MEANS])
@pytest.mark.parametrize("at", [(0, 0), (0, 1), (1, 0), (3, 4)])
def test_not_a_number_comes_out_where_it_is_seen_and_nowhere_else(activation, pooling, at):
    X, W, b = operands(size=(6, 6), k=19)
    X[0, at[0], at[1], 1] = np.nan
    asked = activation, Geometry(), pooling
    ours, theirs = native.convolution(X, W, b, *asked), reference(X, W, b, *asked)
    assert np.isnan(ours).any()
    assert_array_equal(np.isnan(ours), np.isnan(theirs))


def test_a_mean_after_relu_gives_its_share_to_each_cell_above_zero():
    X = np.float32([[3, 1, -1, -2], [-3, 2, -1, 4]]).reshape(1, 2, 4, 1)
    one = np.ones((1, 1, 1, 1), np.float32)
    gradient = jax.grad(
        lambda X: native.convolution(X, one, None, "relu", Geometry(), MEANS).sum()
    )(X)
    assert_array_equal(gradient[0, :, :, 0] * 4, [[1, 1, 0, 0], [0, 1, 0, 1]])


def test_the_gradient_of_a_jitted_layer_is_that_of_the_layer():
    X, W, b = operands()

    def total(W):
        return native.convolution(X, W, b, "relu", Geometry(), TWOS).sum()

    assert_allclose(jax.grad(jax.jit(total))(W), jax.grad(total)(W), rtol=1e-6)


def test_vmap_is_a_loop_over_batches():
    X, W, b = operands()
    images = np.stack([X, 2 * X])

    def gradient(X):
        return jax.grad(lambda X: native.convolution(X, W, b, "relu", Geometry(), TWOS).sum())(X)

    assert_allclose(jax.vmap(gradient)(images), [gradient(X), gradient(2 * X)], rtol=1e-6)


def test_two_threads_at_once_get_what_one_gets():
    cases = [operands(8, (20, 20), 5, (3, 3), 20, seed=seed) for seed in range(8)]

    @jax.jit
    def gradients(*inputs):
        return values_and_gradients(native.convolution, inputs, "relu", Geometry(), TWOS)

    alone = [gradients(*case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda case: gradients(*case), cases))
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        assert_array_equal(ours, theirs)


def test_one_thread_gets_what_all_get(monkeypatch):
    inputs = operands(1, (40, 30), 5, (3, 3), 20)
    asked = "relu", Geometry(), TWOS
    all_threads = values_and_gradients(native.convolution, inputs, *asked)
    monkeypatch.setenv("LAMINA_NUM_THREADS", "1")
    jax.clear_caches()
    alone = values_and_gradients(native.convolution, inputs, *asked)
    for ours, theirs in zip(alone, all_threads, strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_what_the_twin_does_not_take_runs_by_xla(float64):
    X, W, b = operands()
    assert not native.supports_convolution(X.astype(np.float64), W, b, Geometry())
    assert not native.supports_convolution(X, W[:, :, :2], b, Geometry())
    assert not native.supports_convolution(X[:, :2], W, b, Geometry(padding="valid"))
    found = convolution(X.astype(np.float64), W.astype(np.float64), b.astype(np.float64))
    assert found.dtype == np.float64
