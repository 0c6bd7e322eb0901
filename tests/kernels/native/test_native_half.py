"""Native kernels in bfloat16 against exact sums of the same rounded numbers, and float32 kernels.

With u = 2⁻⁸, the most that rounding to bfloat16 changes a number by, relative, and ε = 2⁻²⁴, that
of float32: a product of two bfloat16 numbers is exact in float32; a sum of m of them, in any order,
errs by at most m ε Σ|x w| (Higham 2002, Accuracy and Stability of Numerical Algorithms, equation
3.5; doubled for terms of second order); the result is rounded once, by u. So

    |ours - exact| <= u |exact| + 2 m ε |X| |W|

number by number. What passes through steps is rounded at each of them (states, gates, gradients by
products). Relative to the largest number these errors fade as fast as the state does: a few u are
left. Only the gradient by the initial state, which fades itself, keeps those of all t steps; their
signs are random, so they add up to about √t of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina.kernels import native
from lamina.kernels.convolution import _convolution, convolution
from lamina.kernels.dense import dense
from lamina.kernels.native import library
from lamina.kernels.patches import SAME, Geometry
from lamina.kernels.pooling import Pooling
from lamina.kernels.recurrence import recurrence
from lamina.training.precision import has_bfloat16

pytestmark = pytest.mark.usefixtures("half")
U, EPSILON = 2.0**-8, 2.0**-24
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}


def rounded(*arrays):
    return [jnp.asarray(array, jnp.bfloat16) for array in arrays]


def exact(array):
    return np.asarray(array.astype(jnp.float32), np.float64)


def wide(array):
    return array.astype(jnp.float32)


def assert_product(ours, A, B, plus=0.0, relu=False):
    """Compare with A B + plus, by the bound above."""
    value, length = A @ B + plus, A.shape[1] + 1
    value = np.maximum(value, 0) if relu else value
    bound = U * np.abs(value) + 2 * length * EPSILON * (np.abs(A) @ np.abs(B) + np.abs(plus))
    excess = np.abs(exact(ours) - value) - bound
    assert ours.dtype == jnp.bfloat16
    assert excess.max(initial=0) <= 0


@pytest.mark.parametrize(
    ("n", "m", "k"), [(1, 1, 1), (5, 7, 3), (0, 4, 5), (64, 32, 96), (33, 100, 70)]
)
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_dense_errs_by_one_rounding(n, m, k, activation):
    rng = np.random.default_rng(0)
    X, W, b, dA = rounded(
        *map(rng.normal, (0, 0, 0, 0), (1, 0.3, 1, 1), ((n, m), (m, k), k, (n, k)))
    )
    A, pullback = jax.vjp(lambda *arrays: native.dense(*arrays, activation), X, W, b)
    dX, dW, db = pullback(dA)
    x, w, dy = exact(X), exact(W), exact(dA)
    if activation == "relu":
        dy = np.where(exact(A) > 0, dy, 0)
    assert_product(A, x, w, exact(b), activation == "relu")
    assert_product(dX, dy, w.T)
    assert_product(dW, x.T, dy)
    assert_product(db[None], np.ones((1, n)), dy)


def test_a_gradient_that_nobody_wants_is_not_computed():
    X, W = rounded(np.ones((3, 4)), np.ones((4, 5)))
    program = jax.jit(jax.grad(lambda W: dense(X, W, None).sum())).lower(W).as_text()
    assert "lamina_half_dense_backward" in program
    assert "tensor<3x4xbf16>" not in program.split("lamina_half_dense_backward")[1].split("->")[1]


def test_not_a_number_in_one_row_stays_in_that_row():
    X, W, b = rounded(np.ones((40, 5)), np.ones((5, 20)), np.ones(20))
    A = exact(native.dense(X.at[3, 2].set(np.nan), W, b, "linear"))
    assert np.isnan(A[3]).all()
    assert np.isfinite(np.delete(A, 3, axis=0)).all()


TWOS = Pooling("max", (2, 2), (2, 2), "valid")
MEANS = Pooling("average", (2, 3), (2, 3), "valid")
CONVOLUTIONS = {
    "one channel": ((3, 7, 9, 1), (3, 3, 1, 5), Geometry(padding=SAME), None),
    "largest": ((3, 36, 19, 20), (3, 3, 20, 40), Geometry(padding=SAME), TWOS),
    "means": ((2, 11, 9, 3), (3, 2, 3, 17), Geometry(), MEANS),
    "strided": ((2, 9, 8, 4), (3, 3, 4, 6), Geometry(stride=(2, 3), dilation=(2, 1)), None),
    "groups": ((2, 6, 6, 6), (3, 3, 3, 34), Geometry(padding=SAME, groups=2), None),
    "cut": ((1, 6, 6, 3), (2, 2, 3, 4), Geometry(padding=((-1, 2), (3, -1))), None),
    "empty": ((0, 6, 6, 3), (2, 2, 3, 4), Geometry(), None),
}


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_errs_by_two_roundings(case, activation):
    """That of the result, and where means are taken that of the gradient's shares."""
    image, filters, geometry, pooling = CONVOLUTIONS[case]
    rng = np.random.default_rng(0)
    fan_in = np.prod(filters[:3])
    arrays = (
        rng.normal(size=image),
        rng.normal(0, fan_in**-0.5, filters),
        rng.normal(size=filters[3]),
    )
    X, W, b = rounded(*arrays)

    def both(kernel, *arrays):
        A, pullback = jax.vjp(lambda *a: kernel(*a, activation, geometry, pooling), *arrays)
        return A, *pullback(jnp.asarray(np.random.default_rng(1).normal(size=A.shape), A.dtype))

    ours = both(native.convolution, X, W, b)
    assert all(a.dtype == jnp.bfloat16 for a in ours)
    for our, their in zip(ours, both(_convolution, *map(wide, (X, W, b))), strict=True):
        largest = np.abs(their).max(initial=1e-9)
        assert np.abs(exact(our) - np.asarray(their)).max(initial=0) <= 3 * U * largest


def test_narrow_groups_are_convolved_in_float32():
    """Tiles of 16 x 16 for one filter of one channel each would be mostly zeros."""
    X, W = rounded(np.ones((2, 7, 7, 8)), np.ones((3, 3, 1, 8)))
    program = jax.jit(lambda X, W: convolution(X, W, None, geometry=Geometry(groups=8)))
    text = program.lower(X, W).as_text()
    assert "lamina_convolution_forward" in text
    assert "half" not in text
    A = program(X, W)
    assert A.dtype == jnp.bfloat16
    np.testing.assert_array_equal(exact(A)[:, 1:-1, 1:-1], 9)


def operands(cell, t, n, m, h):
    """Return X, W_x, W_h, b in bfloat16 and the initial state; > 0 for relu: it has a corner."""
    rng, g = np.random.default_rng(0), GATES[cell]
    shapes = [(t, n, m), (m, g * h), (h, g * h), ((g + (cell == "gru")) * h,)]
    scales = [1, 0.5 / m**0.5, 0.5 / h**0.5, 0.1]
    arrays = [rng.normal(0, scale, shape) for scale, shape in zip(scales, shapes, strict=True)]
    initial = rng.normal(size=(2 if cell == "lstm" else 1, n, h)).astype(np.float32)
    if cell == "rnn_relu":
        arrays, initial = [np.abs(a) for a in arrays], np.abs(initial)
        arrays[2] /= h**0.5
    return rounded(*arrays), tuple(initial)


def values_and_gradients(cell, reverse, inputs, initial, lengths, all_states):
    rng = np.random.default_rng(1)
    X, _, W_h, _ = inputs
    dA, dfinal = rng.normal(size=(*X.shape[:2], len(W_h))), rng.normal(size=(2, 1, len(W_h)))

    def total(inputs, initial):
        states, final = native.sweep(cell, reverse, *inputs, initial, lengths)
        loss = sum(jnp.sum(d * part) for d, part in zip(dfinal, final, strict=False))
        return loss + jnp.sum(dA * states) if all_states else loss, (states, final)

    gradient = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
    (_, results), gradients = jax.jit(gradient)(inputs, initial)
    return jax.tree.leaves((results, gradients))


@pytest.mark.parametrize(
    ("t", "n", "m", "h", "reverse", "cut", "all_states"),
    [(7, 5, 3, 19, True, True, True), (40, 70, 33, 64, False, False, False)],
)
@pytest.mark.parametrize("cell", sorted(GATES))
def test_recurrence_errs_by_a_few_roundings(cell, t, n, m, h, reverse, cut, all_states):
    inputs, initial = operands(cell, t, n, m, h)
    lengths = np.random.default_rng(2).integers(0, t + 1, n).astype(np.int32) if cut else None
    rest = initial, lengths, all_states
    ours = values_and_gradients(cell, reverse, inputs, *rest)
    theirs = values_and_gradients(cell, reverse, [*map(wide, inputs)], *rest)
    states = [jnp.bfloat16] + [jnp.float32] * len(initial)
    assert [a.dtype for a in ours] == states + [jnp.bfloat16] * 4 + [jnp.float32] * len(initial)
    few = [4 * U] * (5 + len(initial)) + [4 * U * t**0.5] * len(initial)
    for our, their, bound in zip(ours, theirs, few, strict=True):
        error = np.abs(exact(our) - np.asarray(their)).max() / np.abs(their).max()
        assert error <= bound


def test_what_sums_up_over_steps_is_in_float32():
    """A GRU that adds 1/512 of the way at each step: in bfloat16 it would stop at once."""
    h = 1
    z = np.log(511.0)  # σ(z) = 511/512
    inputs = rounded(np.zeros((512, 1, 1)), np.zeros((1, 3)), np.zeros((1, 3)), [0, z, 9, 0])
    _, (final,) = native.sweep("gru", False, *inputs, (np.zeros((1, h), np.float32),), None)
    keep = 1 / (1 + np.exp(-float(inputs[3][1])))
    np.testing.assert_allclose(final, 1 - keep**512, rtol=1e-4)


def test_kernels_are_taken_in_bfloat16_wherever_there_are_some(monkeypatch):
    assert has_bfloat16()
    X, W, W_h = rounded(np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 4)))
    assert "lamina_half_dense_forward" in jax.jit(dense).lower(X, W, None).as_text()
    sweep = jax.jit(lambda X: recurrence("rnn_tanh", X, W, W_h, W_h[0]))
    assert "lamina_half_rnn_tanh_forward" in sweep.lower(jnp.ones((2, 5, 3))).as_text()
    monkeypatch.setattr(library, "_found_half", lambda: library._Found(None, "", "none"))
    assert "lamina" not in jax.jit(lambda X, W: dense(X, W, None)).lower(X, W).as_text()
