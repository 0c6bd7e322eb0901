"""Networks with weights that are not special, and ONNX files run by onnxruntime."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def ort():
    return pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="session")
def ran(ort):
    """Return a function (ONNX model, inputs) -> outputs by name."""

    def run(model, **feeds):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, feeds), strict=True))

    return run


@pytest.fixture(scope="session")
def made():
    """Return a function (network, shape) -> (weights, statistics), no entry of them 0 or 1."""
    from jax import tree

    def make(network, shape, seed=0):
        rng = np.random.default_rng(seed)
        weights, statistics = network.initialize(rng, shape)

        def moved(W):
            return (W + 0.2 * rng.normal(size=W.shape)).astype(np.float32)

        def positive(S):
            return (S + rng.uniform(0.1, 0.9, size=S.shape)).astype(np.float32)

        return tree.map(moved, weights), tree.map(positive, statistics)

    return make
