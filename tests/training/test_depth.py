"""A network of thirty layers that stays at guessing learns once batches are normalised."""

import numpy as np
import pytest

from lamina.layers import Activation, BatchNorm, Dense, Sequential

DEPTH, UNITS, STEPS = 30, 32, 100


def network(*norm):
    layers = []
    for _ in range(DEPTH):
        layers += [Dense(UNITS, init="glorot", bias=False), *norm, Activation("relu")]
    return Sequential([*layers, Dense(10, init="glorot")])


@pytest.fixture(scope="module")
def losses(start_run, compiled_programs):
    """Return the losses by step without and with BatchNorm, on 512 digits."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = ((X - X.mean()) / X.std()).astype(np.float32)[:512]
    found = []
    for norm in ((), (BatchNorm(),)):
        run = start_run(
            network(*norm), X, y[:512].astype(np.int32), loss="softmax", optimizer="momentum",
            rate=0.05, epochs=STEPS,
        )  # fmt: skip
        run.train()
        found.append(np.array(run.history["loss"]))
    return found


def test_thirty_layers_do_not_train_without_batch_norm(losses):
    plain, _ = losses
    assert len(plain) == STEPS
    np.testing.assert_allclose(plain, np.log(10), atol=0.01)


def test_thirty_layers_train_with_batch_norm(losses):
    _, normalised = losses
    assert normalised[0] > np.log(10)
    assert normalised[-10:].max() < 0.6 * np.log(10)
