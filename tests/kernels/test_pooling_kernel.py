"""The pooling kernels: values, ties, gradients against loops, finite differences and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels import pooling
from lamina.kernels.global_average import global_average_pool
from lamina.kernels.pooling import average_pool, max_pool, pooled_size

WINDOWS = {
    "tiles": ((2, 2), None, "valid"),
    "tiles with a remainder": ((2, 3), (2, 3), "valid"),
    "gaps": ((2, 1), (3, 2), "valid"),
    "overlap": ((3, 2), (2, 1), "valid"),
    "overlap, padded": ((3, 3), (2, 2), ((1, 1), (1, 0))),
    "tiles, padded": ((2, 2), None, ((1, 0), (0, 1))),
    "same": ((3, 2), (2, 2), "same"),
    "same, tiles": ((2, 3), None, "same"),
}


def images(n=2, h=7, w=8, c=3, seed=0, ties=False):
    """Return images; with ``ties``, of few values, as after relu."""
    rng = np.random.default_rng(seed)
    if ties:
        return rng.integers(-2, 2, size=(n, h, w, c)).clip(0).astype(np.float32)
    return rng.normal(size=(n, h, w, c)).astype(np.float32)


def ends_of(size, window, stride, padding):
    """Return the padding of one axis, with TensorFlow's formula for "same"."""
    if padding == "same":
        left = size % stride
        total = max(window - (left if left else stride), 0)
        return total // 2, total - total // 2
    return (0, 0) if padding == "valid" else padding


def windows_of(X, window, stride, padding):
    """Yield ``(i, j, rows, columns)`` of each window's cells inside the image, by loops."""
    stride = stride or window
    each = [padding] * 2 if isinstance(padding, str) else padding
    axes = []
    for size, cells, step, pad in zip(X.shape[1:3], window, stride, each, strict=True):
        before, after = ends_of(size, cells, step, pad)
        starts = range(-before, size + after - cells + 1, step)
        axes.append([slice(max(start, 0), min(start + cells, size)) for start in starts])
    for i, rows in enumerate(axes[0]):
        for j, columns in enumerate(axes[1]):
            yield i, j, rows, columns


def loop_max(X, dA, *how):
    """Return the maximum, and the gradient given to the first maximum of each window."""
    A, dX = np.full_like(dA, np.nan), np.zeros_like(X)
    for i, j, rows, columns in windows_of(X, *how):
        for n, c in np.ndindex(X.shape[0], X.shape[3]):
            view = X[n, rows, columns, c]
            place = np.unravel_index(np.argmax(view), view.shape)  # the first of equals
            A[n, i, j, c] = view[place]
            dX[n, rows, columns, c][place] += dA[n, i, j, c]
    return A, dX


def loop_average(X, dA, window, stride, padding):
    """Return the mean and its gradient; only "same" leaves the padding out of the count."""
    A, dX = np.full_like(dA, np.nan), np.zeros_like(X)
    for i, j, rows, columns in windows_of(X, window, stride, padding):
        view = X[:, rows, columns]
        count = view.shape[1] * view.shape[2] if padding == "same" else np.prod(window)
        A[:, i, j] = view.sum(axis=(1, 2)) / count
        dX[:, rows, columns] += dA[:, i : i + 1, j : j + 1] / count
    return A, dX


def value_and_gradient(pool, X, *how, seed=1):
    shape = jax.eval_shape(lambda X: pool(X, *how), X).shape
    dA = np.random.default_rng(seed).normal(size=shape).astype(np.float32)

    @jax.jit
    def both(X, dA):
        A, pull = jax.vjp(lambda X: pool(X, *how), X)
        return A, pull(dA)[0]

    return dA, *both(X, dA)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("how", WINDOWS.values(), ids=WINDOWS)
def test_max_pool_is_the_loop_over_windows(how, ties):
    X = images(ties=ties)
    dA, A, dX = value_and_gradient(max_pool, X, *how)
    expected, gradient = loop_max(X, dA, *how)
    assert_array_equal(A, expected)
    assert_allclose(dX, gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("how", WINDOWS.values(), ids=WINDOWS)
def test_average_pool_is_the_loop_over_windows(how):
    X = images()
    dA, A, dX = value_and_gradient(average_pool, X, *how)
    expected, gradient = loop_average(X, dA, *how)
    assert_allclose(A, expected, rtol=1e-5, atol=1e-6)
    assert_allclose(dX, gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", [((2, 2), None, "valid"), ((3, 2), (1, 2), ((1, 1), (0, 1)))])
def test_large_windows_keep_the_rule(how, monkeypatch):
    """With many positions XLA's reduction takes over; of ties, again the first one wins."""
    monkeypatch.setattr(pooling, "MANY_POSITIONS", 3)
    X = images(ties=True)
    dA, A, dX = value_and_gradient(max_pool, X, *how)
    expected, gradient = loop_max(X, dA, *how)
    assert_array_equal(A, expected)
    assert_allclose(dX, gradient, rtol=1e-6, atol=1e-6)


def test_a_case_worked_by_hand():
    X = jnp.array([[1.0, 5, 2, 2], [5, 0, 2, 1], [9, 9, 9, 9]])[None, :, :, None]
    A, pull = jax.vjp(lambda X: max_pool(X, (2, 2)), X)
    assert_array_equal(A[0, :, :, 0], [[5, 2]])  # the third row is left over
    (dX,) = pull(jnp.array([[[[10.0], [20.0]]]]))
    assert_array_equal(dX[0, :, :, 0], [[0, 10, 20, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("pool", [max_pool, average_pool])
@pytest.mark.parametrize("how", [WINDOWS["tiles"], WINDOWS["overlap, padded"], WINDOWS["same"]])
def test_gradients_agree_with_finite_differences(pool, how, float64):
    X = np.random.default_rng(0).permutation(7.0 + np.arange(40)).reshape(1, 4, 5, 2) / 7
    check_grads(jax.jit(lambda X: pool(X, *how)), (X,), 1, ["rev"], rtol=1e-6, atol=1e-6)


def test_padding_never_wins_a_maximum():
    X = -1 - images() ** 2
    assert np.max(max_pool(X, (3, 3), (1, 1), "same")) == np.max(X)
    assert np.max(max_pool(X, (3, 3), (2, 2), ((2, 2), (2, 2)))) == np.max(X)


def test_means_of_a_constant_see_explicit_padding_only():
    X = np.ones((1, 3, 3, 1), np.float32)
    assert_allclose(average_pool(X, (2, 2), (1, 1), "same"), np.ones((1, 3, 3, 1)), rtol=1e-6)
    padded = average_pool(X, (2, 2), (1, 1), ((0, 1), (0, 1)))[0, :, :, 0]
    assert_allclose(padded, [[1, 1, 0.5], [1, 1, 0.5], [0.5, 0.5, 0.25]], rtol=1e-6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 12),
    window=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.sampled_from(["valid", "same"]) | st.tuples(*[st.integers(0, 4)] * 2),
)
def test_pooled_size_counts_the_windows(size, window, stride, padding):
    before, after = ends_of(size, window, stride, padding)
    starts = range(-before, size + after - window + 1, stride)
    assert max(pooled_size(size, window, stride, padding), 0) == len(starts)
    if padding == "same":
        assert len(starts) == -(-size // stride)


@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (3, 6, 2)])
def test_global_average_pool_is_the_mean_of_each_channel(shape):
    X = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    A, pull = jax.vjp(global_average_pool, X)
    assert_allclose(A, X.reshape(3, -1, 2).mean(axis=1), rtol=1e-5, atol=1e-6)
    dA = np.arange(6, dtype=np.float32).reshape(3, 2)
    spread = dA.reshape(3, *[1] * (len(shape) - 2), 2) / np.prod(shape[1:-1])
    assert_allclose(pull(dA)[0], np.broadcast_to(spread, shape), rtol=1e-6)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("window", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
def test_agrees_with_torch(window, stride, pad, ties):
    torch = pytest.importorskip("torch")
    X = images(ties=ties)
    how = ((window, window), (stride, stride), ((pad, pad), (pad, pad)))
    for pool, name in ((max_pool, "max_pool2d"), (average_pool, "avg_pool2d")):
        dA, A, dX = value_and_gradient(pool, X, *how)
        X_torch = torch.tensor(X.transpose(0, 3, 1, 2), requires_grad=True)
        expected = getattr(torch.nn.functional, name)(X_torch, window, stride, pad)
        expected.backward(torch.tensor(dA.transpose(0, 3, 1, 2)))
        assert_allclose(A, expected.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
        assert_allclose(dX, X_torch.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", [WINDOWS["tiles"], WINDOWS["overlap, padded"]])
def test_the_rule_needs_no_scatter(how):
    program = str(jax.make_jaxpr(jax.grad(lambda X: jnp.sum(max_pool(X, *how))))(images()))
    assert "select_n" in program
    assert "scatter" not in program
