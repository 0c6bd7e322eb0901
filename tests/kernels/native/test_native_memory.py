"""Native kernels in float32 once, at sizes with odd ends: what `make sanitize` watches.

Those in bfloat16 it watches by test_native_half.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina.kernels import convolution, dense, native, normalization, recurrence
from lamina.kernels.convolution import Pooling
from lamina.kernels.patches import SAME, Geometry

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)
TWOS = Pooling("max", (2, 2), (2, 2), "valid")
CONVOLUTIONS = {
    "one channel": ((3, 7, 9, 1), (3, 3, 1, 5), Geometry(padding=SAME), None),
    "pooled": ((2, 11, 9, 3), (3, 2, 3, 17), Geometry(), TWOS),
    "strided": ((2, 9, 8, 4), (3, 3, 4, 6), Geometry(stride=(2, 3), dilation=(2, 1)), None),
    "groups": ((2, 6, 6, 6), (3, 3, 2, 9), Geometry(padding=SAME, groups=3), None),
    "depthwise": ((2, 6, 6, 19), (3, 3, 1, 19), Geometry(padding=SAME, groups=19), TWOS),
    "tiles of 2": ((4, 9, 9, 16), (3, 3, 16, 17), Geometry(padding=SAME), None),
    "tiles of 4": ((4, 21, 23, 16), (3, 3, 16, 17), Geometry(padding=SAME), TWOS),
    "patches": ((1, 4, 4, 64), (3, 3, 64, 256), Geometry(padding=SAME), None),
    "cut": ((1, 6, 6, 3), (2, 2, 3, 4), Geometry(padding=((-1, 2), (3, -1))), None),
}


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(0, 0.5, shape).astype(np.float32)


def assert_twins(ours, theirs, *arrays):
    def gradients(kernel):
        every = tuple(range(len(arrays)))
        total = jax.value_and_grad(lambda *arrays: jnp.sum(jnp.square(kernel(*arrays))), every)
        return jax.tree.leaves(jax.jit(total)(*arrays))

    for our, their in zip(gradients(ours), gradients(theirs), strict=True):
        assert_allclose(our, their, rtol=1e-4, atol=1e-4 * np.abs(their).max())


@pytest.mark.parametrize(("n", "m", "k"), [(5, 7, 3), (67, 33, 131)])
def test_dense(n, m, k):
    assert_twins(
        lambda *arrays: native.dense(*arrays, "relu"),
        lambda *arrays: dense._dense(*arrays, "relu"),
        *(normal(n, m), normal(m, k), normal(k)),
    )


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(case):
    image, filters, *rest = CONVOLUTIONS[case]
    assert_twins(
        lambda *arrays: native.convolution(*arrays, "relu", *rest),
        lambda *arrays: convolution._convolution(*arrays, "relu", *rest),
        *(normal(*image), normal(*filters), normal(filters[3])),
    )


@pytest.mark.parametrize("shape", [(9, 8, 8, 70), (2100, 17)])
def test_batch_norm(shape):
    def theirs(X, gain, shift):
        return jax.nn.relu(normalization._batch_norm(X, gain, shift, None, 1e-3)[0])

    assert_twins(
        lambda *arrays: native.batch_norm(*arrays, None, 1e-3, True)[0],
        theirs,
        *(normal(*shape), normal(shape[-1]) + 1, normal(shape[-1])),
    )


@pytest.mark.parametrize(("cell", "gates"), [("rnn_tanh", 1), ("lstm", 4), ("gru", 3)])
def test_recurrence(cell, gates):
    t, n, m, h = 6, 5, 3, 19
    lengths = np.array([6, 0, 3, 1, 5], np.int32)
    valid = (np.arange(t)[:, None] < lengths)[:, :, None]
    initial = tuple(normal(n, h) for _ in range(1 + (cell == "lstm")))
    bias = (gates + (cell == "gru")) * h
    assert_twins(
        lambda *arrays: native.sweep(cell, True, *arrays, initial, lengths)[0],
        lambda *arrays: recurrence._sweep(cell, True, *arrays, initial, valid)[0],
        *(normal(t, n, m), normal(m, gates * h), normal(h, gates * h), normal(bias)),
    )
