"""Native kernels in one program over eight devices, the batch split over them."""

import os
import subprocess
import sys

import pytest

from lamina.kernels import native

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)

EIGHT_DEVICES = """
import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_num_cpu_devices", 8)
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from lamina.kernels import native
from lamina.kernels.patches import Geometry

rng = np.random.default_rng(0)
normal = lambda *shape: rng.normal(size=shape).astype(np.float32) / 4
kernels = {
    "dense": (
        lambda X, W, b: native.dense(X, W, b, "relu"),
        normal(64, 20), normal(20, 33), normal(33),
    ),
    "convolution": (
        lambda X, W, b: native.convolution(X, W, b, "relu", Geometry(), None),
        normal(16, 9, 9, 3), normal(3, 3, 3, 5), normal(5),
    ),
    "recurrence": (
        lambda X, W_x, W_h, b: native.sweep(
            "gru", False, X.swapaxes(0, 1), W_x, W_h, b, (jnp.zeros((16, 5)),), None
        )[0],
        normal(16, 6, 3), normal(3, 15), normal(5, 15), normal(20),
    ),
}
devices = Mesh(np.array(jax.devices()), ("batch",))
split = NamedSharding(devices, PartitionSpec("batch"))
everywhere = NamedSharding(devices, PartitionSpec())
for name, (kernel, *arrays) in kernels.items():
    step = jax.jit(jax.value_and_grad(lambda *arrays: jnp.sum(kernel(*arrays) ** 2), (0, 1, 2)))
    alone = jax.tree.leaves(step(*arrays))
    X, *weights = arrays
    over = jax.device_put(X, split), *(jax.device_put(W, everywhere) for W in weights)
    for ours, theirs in zip(jax.tree.leaves(step(*over)), alone, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    print(name, len(jax.devices()))
"""


def test_a_batch_over_eight_devices_gives_the_same():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "LAMINA_KERNELS": "native"}
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES], env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["dense 8", "convolution 8", "recurrence 8"], done.stderr
