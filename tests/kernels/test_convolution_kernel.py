"""Convolution: a product with patches, forward and backward, and PyTorch's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.functions.activations import ACTIVATIONS
from lamina.kernels.convolution import (
    Pooling,
    convolution,
    transposed_convolution,
    transposed_size,
)
from lamina.kernels.patches import Geometry, patches
from lamina.kernels.pooling import average_pool, max_pool


def relative_error(found, expected):
    return np.max(np.abs(found - expected)) / np.max(np.abs(expected))


def operands(n=2, size=(6, 5), c=3, window=(3, 2), k=4, groups=1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, *size, c)).astype(np.float32)
    W = rng.normal(size=(*window, c // groups, k)).astype(np.float32)
    return X, W, rng.normal(size=k).astype(np.float32)


GEOMETRIES = [
    Geometry(),
    Geometry(padding="valid"),
    Geometry(stride=(2, 3)),
    Geometry(dilation=(2, 1), padding=((2, 0), (1, 1))),
    Geometry(stride=(2, 1), dilation=(1, 2), padding="same"),
]


@pytest.mark.parametrize("c", [2, 5])  # few channels take the product with patches, more XLA's loop
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_convolution_is_a_product_with_patches(geometry, c):
    X, W, b = operands(c=c)
    P = patches(X, (3, 2), geometry)
    size = geometry.output_size((6, 5), (3, 2))
    assert P.shape == (2, *size, 3 * 2 * c)
    found = convolution(X, W, b, "linear", geometry)
    assert_allclose(found, P @ W.reshape(-1, 4) + b[None, None, None], rtol=1e-5, atol=1e-5)


def test_patches_are_windows_row_by_row():
    X = np.arange(2 * 4 * 5 * 2, dtype=np.float32).reshape(2, 4, 5, 2)
    geometry = Geometry(stride=(1, 2), dilation=(2, 1), padding="valid")
    P = np.asarray(patches(X, (2, 3), geometry))
    for i in range(2):
        for j in range(2):
            window = X[:, i : i + 3 : 2, 2 * j : 2 * j + 3]
            assert_allclose(P[:, i, j], window.reshape(2, -1))


def test_a_window_larger_than_the_image_is_an_error():
    with pytest.raises(InputError, match=r"no larger than the image \(6, 5\), got \(7, 1\)"):
        patches(operands()[0], (7, 1), Geometry(padding="valid"))


@pytest.mark.parametrize("c", [2, 5])
@pytest.mark.parametrize("geometry", GEOMETRIES[1:4])
def test_the_backward_rule_is_two_matrix_products(geometry, c, float64):
    """``dW = Pᵀ dY``, ``db = dYᵀ 1``, and ``dX`` adds up ``dP = dY Wᵀ`` cell by cell."""
    X, W, b = (a.astype(np.float64) for a in operands(c=c))
    size = geometry.output_size((6, 5), (3, 2))
    dY = np.random.default_rng(1).normal(size=(2, *size, 4))

    @jax.jit
    def both(X, W, b):
        _, pull = jax.vjp(lambda *a: convolution(*a, "linear", geometry), X, W, b)
        P, pull_patches = jax.vjp(lambda X: patches(X, (3, 2), geometry), X)
        rows = dY.reshape(-1, 4)
        dW = P.reshape(len(rows), -1).T @ rows
        dP = rows @ W.reshape(-1, 4).T
        return pull(dY), (*pull_patches(dP.reshape(P.shape)), dW.reshape(W.shape), rows.sum(axis=0))

    for found, expected in zip(*both(X, W, b), strict=True):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["linear", "relu", "gelu"])
@pytest.mark.parametrize("kind", ["max", "average"])
def test_one_call_equals_its_steps(kind, name):
    """A maximum is taken before the bias and an increasing activation: to the bit the same."""
    X, W, b = operands(size=(6, 6))
    pooling = Pooling(kind, (2, 2), (2, 2), "valid")
    pool = max_pool if kind == "max" else average_pool

    def one(X, W, b):
        return convolution(X, W, b, name, Geometry(), pooling)

    def steps(X, W, b):
        return pool(ACTIVATIONS[name](convolution(X, W) + b[None, None, None]), (2, 2), (2, 2))

    dA = np.random.default_rng(1).normal(size=(2, 3, 3, 4)).astype(np.float32)

    @jax.jit
    def both(X, W, b):
        found, pull = jax.vjp(one, X, W, b)
        expected, pull_steps = jax.vjp(steps, X, W, b)
        return (found, *pull(dA)), (expected, *pull_steps(dA))

    for found, expected in zip(*both(X, W, b), strict=True):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_against_finite_differences(float64):
    X, W, b = (a.astype(np.float64) for a in operands(c=3))
    geometry = Geometry(stride=(2, 1), dilation=(1, 2))
    check_grads(lambda *a: convolution(*a, "tanh", geometry), (X, W, b), order=1, modes=["rev"])


def pytorch(X, W, b, geometry, transposed=False):
    """Return PyTorch's convolution of NHWC images and HWIO filters, and its gradients."""
    torch = pytest.importorskip("torch")
    order = (2, 3, 0, 1) if transposed else (3, 2, 0, 1)
    arrays = X.transpose(0, 3, 1, 2), W.transpose(order), b
    leaves = [torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in arrays]
    (top, _), (left, _) = geometry.padding
    settings = {"stride": geometry.stride, "padding": (top, left), "dilation": geometry.dilation}
    convolve = getattr(torch.nn.functional, "conv_transpose2d" if transposed else "conv2d")
    Y = convolve(*leaves, groups=geometry.groups, **settings)
    dY = np.random.default_rng(1).normal(size=Y.shape).astype(np.float32)
    Y.backward(torch.tensor(dY))
    dX, dW, db = (leaf.grad.numpy() for leaf in leaves)
    back = np.argsort(order)
    found = (Y.detach().numpy().transpose(0, 2, 3, 1), dX.transpose(0, 2, 3, 1), dW.transpose(back))
    return (*found, db), dY.transpose(0, 2, 3, 1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
)
def test_values_and_gradients_are_pytorchs(window, stride, padding, dilation, groups):
    pads = tuple((p, p) for p in padding)
    geometry = Geometry(stride, pads, dilation, groups)
    arguments = operands(size=(8, 9), c=4, window=window, k=8, groups=groups)
    expected, dY = pytorch(*arguments, geometry)

    @jax.jit
    def ours(*arguments):
        Y, pull = jax.vjp(lambda *a: convolution(*a, "linear", geometry), *arguments)
        return Y, *pull(jnp.asarray(dY))

    for found, witness in zip(ours(*arguments), expected, strict=True):
        assert found.shape == witness.shape
        assert relative_error(found, witness) <= 1e-5


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry((1, 1), ((0, 0), (0, 0))),
        Geometry((2, 3), ((1, 1), (0, 0))),
        Geometry((2, 1), ((0, 0), (1, 1)), (1, 2)),
    ],
)
def test_transposed_convolution_is_pytorchs(geometry):
    arguments = operands(size=(4, 5), c=3, window=(3, 2), k=4)
    expected, dY = pytorch(*arguments, geometry, transposed=True)
    assert transposed_size((4, 5), (3, 2), geometry) == expected[0].shape[1:3]

    @jax.jit
    def ours(*arguments):
        Y, pull = jax.vjp(lambda *a: transposed_convolution(*a, "linear", geometry), *arguments)
        return Y, *pull(jnp.asarray(dY))

    for found, witness in zip(ours(*arguments), expected, strict=True):
        assert relative_error(found, witness) <= 1e-5


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 2)])
def test_transposed_convolution_is_the_backward_rule_by_the_image(stride):
    """With padding "same" it maps (h, w) to (h · stride, w · stride)."""
    X, W, _ = operands(size=(4, 5), c=3, window=(3, 3), k=2)
    geometry = Geometry(stride, "same")
    grown = (1, 4 * stride[0], 5 * stride[1], 2)
    image = jnp.zeros((2, *grown[1:]))
    _, pull = jax.vjp(lambda image: convolution(image, W.swapaxes(2, 3), geometry=geometry), image)
    assert_allclose(
        transposed_convolution(X, W, geometry=geometry), pull(X)[0], rtol=1e-5, atol=1e-5
    )
