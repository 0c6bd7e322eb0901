"""The plan's figures by hand, and against XLA's own account."""

import numpy as np
import pytest

from lamina.errors import InputError
from lamina.functions.losses import loss as loss_named
from lamina.inspection.plan import compiled, plan
from lamina.layers import (
    GRU,
    LSTM,
    Conv2D,
    Dense,
    Flatten,
    MaxPool2D,
    Residual,
    Sequential,
)
from lamina.training.optimizers import optimizer

MLP = Sequential([Dense(256, "relu"), Dense(128, "relu"), Dense(10)])
CONV = Sequential(
    [
        Conv2D(32, 3, activation="relu"),
        MaxPool2D(2),
        Residual(Sequential([Conv2D(32, 3, activation="relu"), Conv2D(32, 3)])),
        Conv2D(64, 3, stride=2, activation="relu"),
        Flatten(),
        Dense(10),
    ]
)


def test_a_perceptron_by_hand():
    found = plan(MLP, (784,), 128)
    sizes = [(784, 256), (256, 128), (128, 10)]
    assert found.parameters == sum(m * k + k for m, k in sizes)
    assert found.forward == sum(2 * 128 * m * k for m, k in sizes)
    assert found.step == 3 * found.forward - 2 * 128 * 784 * 256
    assert found.layers[0].product == "(128×784)·(784×256)"
    saved = 4 * 128 * (256 + 128 + 10)
    assert found.training_bytes == 4 * found.weight_bytes + saved


def test_a_recurrent_net_by_hand():
    network = Sequential([LSTM(16, output="all", bidirectional=True), GRU(8), Dense(3)])
    found = plan(network, (20, 5), 7)
    lstm = 2 * (2 * 7 * 20 * 5 * 64 + 20 * 2 * 7 * 16 * 64)
    gru = 2 * 7 * 20 * 32 * 24 + 20 * 2 * 7 * 8 * 24
    assert [layer.forward for layer in found.layers] == [lstm, gru, 2 * 7 * 8 * 3]
    by_input = 2 * 2 * 7 * 20 * 5 * 64
    backward = [2 * lstm - by_input, 2 * gru, 2 * 2 * 7 * 8 * 3]
    assert [layer.backward for layer in found.layers] == backward
    assert found.layers[0].saved == 4 * 7 * 2 * 20 * 16 * 6


@pytest.mark.parametrize(("name", "arrays"), [("sgd", 0), ("momentum", 1), ("adam", 2)])
def test_the_optimisers_arrays_are_counted(name, arrays):
    found = plan(MLP, (784,), 1, optimizer(name))
    assert found.optimizer_arrays == arrays


@pytest.mark.parametrize(("network", "shape"), [(MLP, (784,)), (CONV, (16, 16, 3))])
def test_operations_are_xlas(network, shape, monkeypatch):
    monkeypatch.setenv("LAMINA_KERNELS", "xla")
    y = np.zeros(64, np.int32)
    told = compiled(network, loss_named("softmax"), shape, 64, y)
    assert plan(network, shape, 64).step == pytest.approx(told.operations, rel=0.1)


def test_what_does_not_fit_is_told():
    with pytest.raises(InputError, match="expected samples that are vectors"):
        plan(MLP, (28, 28), 1)
