"""Weights by PyTorch's and Keras' names, in and out: against PyTorch and Keras' equations."""

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.formats.keras_weights import from_keras, to_keras
from lamina.formats.torch_weights import from_torch, to_torch
from lamina.layers import (
    GRU,
    LSTM,
    PREDICTING,
    RNN,
    Activation,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    EachStep,
    Embedding,
    Flatten,
    LayerNorm,
    Residual,
    Sequential,
)

SHAPE = (5, 3)


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    return torch


def answer(network, weights, statistics, X):
    return np.asarray(network.apply(weights, statistics, X, PREDICTING)[0])


def state_of(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_a_stacked_recurrent_module(torch, kind, both):
    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = getattr(torch.nn, kind)(3, 4, 2, batch_first=True, bidirectional=both)
            self.head = torch.nn.Linear(8 if both else 4, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    layer = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}[kind]
    layers = [layer(4, output="all", bidirectional=both) for _ in range(2)]
    network = Sequential([*layers, EachStep(Dense(2))])
    twin, X = Twin(), np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
    weights, statistics = from_torch(network, SHAPE, state_of(twin))
    expected = twin(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(answer(network, weights, statistics, X), expected, atol=1e-6)
    again, _ = from_torch(network, SHAPE, to_torch(network, weights, statistics, SHAPE))
    np.testing.assert_array_equal(answer(network, again, {}, X), answer(network, weights, {}, X))


def test_an_image_network_with_a_flatten_and_names(torch):
    nn = torch.nn
    twin = nn.ModuleDict(
        {
            "fc": nn.Linear(3 * 4 * 5, 2),
            "a": nn.Conv2d(2, 4, 3, padding=1, groups=2),
            "bn": nn.BatchNorm2d(4),
            "up": nn.ConvTranspose2d(4, 3, 3, padding=1),
        }
    )
    network = Sequential(
        [
            Residual(Sequential([Conv2D(4, 3, padding=1, groups=2), BatchNorm()]), Conv2D(4, 1)),
            ConvTranspose2D(3, 3, padding=1),
            Flatten(),
            Activation("relu"),
            Dense(2),
        ]
    )
    twin["short"] = nn.Conv2d(2, 4, 1)
    x = torch.randn(6, 2, 4, 5)
    twin["bn"](twin["a"](x))  # statistics that are not 0 and 1
    twin.eval()
    A = twin["up"](twin["bn"](twin["a"](x)) + twin["short"](x))
    expected = twin["fc"](torch.relu(A.flatten(1))).detach().numpy()
    names = {
        "residual_0/body/conv_0": "a", "residual_0/body/batch_norm_0": "bn",
        "residual_0/shortcut": "short", "conv_transpose_0": "up", "dense_0": "fc",
    }  # fmt: skip
    weights, statistics = from_torch(network, (4, 5, 2), state_of(twin), names)
    X = np.moveaxis(x.numpy(), 1, -1)
    np.testing.assert_allclose(answer(network, weights, statistics, X), expected, atol=2e-6)
    written = to_torch(network, weights, statistics, (4, 5, 2))
    ours = {name: f"{path.replace('/', '.')}" for path, name in names.items()}
    for name, array in state_of(twin).items():
        module, _, key = name.rpartition(".")
        if key != "num_batches_tracked":
            np.testing.assert_array_equal(written[f"{ours[module]}.{key}"], array)


def arrays(**changes):
    layer = LSTM(4)
    weights, _ = layer.initialize(np.random.default_rng(0), SHAPE)
    named = to_torch(layer, weights, {}, SHAPE)
    named |= {f"norm.{key}": np.ones(4, np.float32) for key in ("weight", "bias")}
    named |= {"codes.weight": np.ones((7, 4), np.float32)}
    return {name: array for name, array in (named | changes).items() if array is not None}


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (Sequential([LSTM(4)]), {},
         r"each layer with weights, 1 \(lstm_0\); got 3 \(lstm, norm, codes\)"),
        (Sequential([LSTM(4), LayerNorm(), Dense(7, bias=False)]), {"lstm.weight_hh_l0": None},
         r"got missing 1 \(lstm.weight_hh_l0\)"),
        (Sequential([LSTM(4), LayerNorm(), Dense(7)]), {}, r"got missing 1 \(codes.bias\)"),
        (Sequential([LSTM(4), LayerNorm(), Dense(7, bias=False)]), {"lstm.extra": np.ones(1)},
         r"unexpected 1 \(lstm.extra\)"),
        (Sequential([LSTM(5), LayerNorm(), Dense(7, bias=False)]), {},
         r"lstm.weight_ih_l0 expected shape \(20, 3\), as the layout has it, got \(16, 3\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(network, changes, message):
    with pytest.raises(FileFormatError, match=message):
        from_torch(network, SHAPE, arrays(**changes))


def test_what_pytorch_does_not_have_is_told():
    layer = LSTM(4, initial="learned")
    with pytest.raises(InputError, match="reads forward from zeros"):
        to_torch(layer, layer.initialize(np.random.default_rng(0), SHAPE)[0], {}, SHAPE)
    with pytest.raises(InputError, match=r"names expected paths .*got 'lstm_9'"):
        from_torch(Sequential([LSTM(4)]), SHAPE, {}, {"lstm_9": "rnn"})


def test_an_embedding(torch):
    table = torch.nn.Embedding(7, 4)
    weights, _ = from_torch(Embedding(7, 4), (5,), {"e.weight": table.weight.detach().numpy()})
    codes = np.array([[0, 6, 3, 3, 1]])
    expected = table(torch.from_numpy(codes)).detach().numpy()
    np.testing.assert_array_equal(answer(Embedding(7, 4), weights, {}, codes), expected)


def keras_states(kind, arrays, X):
    """Keras' own steps, as its source writes them (keras/src/layers/rnn, ``call`` of the cells).

    Keras is not installed here: this restates its documented equations in NumPy.
    """
    kernel, recurrent, bias = arrays
    h = recurrent.shape[0]
    state, carry, states = np.zeros((len(X), h)), np.zeros((len(X), h)), []

    def sigmoid(y):
        return 1 / (1 + np.exp(-y))

    for x in X.swapaxes(0, 1):
        if kind == "rnn":
            state = np.tanh(x @ kernel + bias + state @ recurrent)
        elif kind == "lstm":
            z0, z1, z2, z3 = np.split(x @ kernel + state @ recurrent + bias, 4, axis=1)
            i, f, o = sigmoid(z0), sigmoid(z1), sigmoid(z3)
            carry = f * carry + i * np.tanh(z2)
            state = o * np.tanh(carry)
        else:  # reset_after=True
            x_z, x_r, x_h = np.split(x @ kernel + bias[0], 3, axis=1)
            r_z, r_r, r_h = np.split(state @ recurrent + bias[1], 3, axis=1)
            z, r = sigmoid(x_z + r_z), sigmoid(x_r + r_r)
            state = z * state + (1 - z) * np.tanh(x_h + r * r_h)
        states.append(state)
    return np.stack(states, axis=1)


def keras_arrays(layer, rng):
    wide = {"gru": 3, "lstm": 4}.get(layer.kind, 1) * layer.units
    bias = (2, wide) if layer.kind == "gru" else (wide,)
    return [rng.normal(size=shape).astype(np.float32) / 2
            for shape in ((3, wide), (layer.units, wide), bias)]  # fmt: skip


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
def test_keras_layers_by_their_documented_steps(kind):
    layer = kind(4, output="all")
    rng = np.random.default_rng(0)
    given, X = keras_arrays(layer, rng), rng.normal(size=(2, *SHAPE)).astype(np.float32)
    weights = from_keras(layer, given)
    expected = keras_states(layer.kind, given, X)
    np.testing.assert_allclose(answer(layer, weights, {}, X), expected, atol=1e-6)
    again = keras_states(layer.kind, to_keras(layer, weights), X)
    np.testing.assert_allclose(again, expected, atol=1e-6)


def test_keras_both_ways_and_errors():
    layer, rng = GRU(4, bidirectional=True), np.random.default_rng(0)
    sides = [keras_arrays(layer, rng) for _ in range(2)]
    weights = from_keras(layer, [*sides[0], *sides[1]])
    one = from_keras(GRU(4), sides[1])
    for name, array in one.items():
        np.testing.assert_array_equal(weights["backward"][name], array)
    assert len(to_keras(layer, weights)) == 6
    with pytest.raises(InputError, match="reset_after=False"):
        from_keras(GRU(4), [*sides[0][:2], sides[0][2][0]])
    with pytest.raises(InputError, match=r"LSTM kernel expected shape \(3, 16\), got \(3, 12\)"):
        from_keras(LSTM(4), sides[0])
