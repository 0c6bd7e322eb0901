"""Every layer as ONNX: onnxruntime gives what the layer gives, for any number of rows and steps."""

import jax
import numpy as np
import pytest

from lamina.errors import InputError
from lamina.formats.onnx.export import network_to_onnx, write_onnx
from lamina.formats.onnx.graph import OPSET
from lamina.formats.onnx.reading import read_onnx
from lamina.functions.activations import ACTIVATIONS
from lamina.layers import (
    GRU,
    LSTM,
    PREDICTING,
    RNN,
    Activation,
    AveragePool1D,
    AveragePool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    ConvTranspose1D,
    ConvTranspose2D,
    Cutout,
    Dense,
    Dropout,
    EachStep,
    Embedding,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Parallel,
    RandomFlip,
    RandomShift,
    Reshape,
    Residual,
    Resize,
    Sequences,
    Sequential,
    SpatialDropout,
    Standardize,
    squeeze_excitation,
)
from lamina.layers.composite import Composite
from lamina.layers.document import LAYERS
from lamina.layers.layer import Layer

pytest.importorskip("onnx", reason="the package onnx is not installed")

VECTOR, SERIES, IMAGE, CODES = (5,), (6, 3), (7, 6, 4), (6,)
CODE_COUNT = 11

NETWORKS = {
    "dense": (Dense(3), VECTOR),
    "dense without bias": (Sequential([Dense(4, bias=False), Dropout(0.5)]), VECTOR),
    "activations": (
        Sequential([layer for name in ACTIVATIONS for layer in (Dense(4), Activation(name))]),
        VECTOR,
    ),
    "norms": (Sequential([Standardize(), BatchNorm(), LayerNorm(epsilon=0.1)]), VECTOR),
    "norms of images": (Sequential([Standardize(), BatchNorm(), LayerNorm()]), IMAGE),
    "augmentation": (
        Sequential([RandomFlip(), RandomShift(), Cutout(2), SpatialDropout(0.5), Flatten()]),
        IMAGE,
    ),
    "conv same": (Conv2D(3, (3, 2), activation="softmax"), IMAGE),
    "conv strided": (Conv2D(4, (2, 3), (2, 3), groups=2, activation="silu"), IMAGE),
    "conv padded": (Conv2D(8, 3, (1, 2), ((0, 1), (2, 1)), (2, 1), groups="depthwise"), IMAGE),
    "conv in time": (Sequential([Conv1D(4, 3, dilation=2), Conv1D(2, 2, padding=(1, 0))]), SERIES),
    "conv strided in time": (Conv1D(4, 3, 2), SERIES),
    "transposed": (ConvTranspose2D(3, (2, 3), (3, 2), dilation=(1, 2)), IMAGE),
    "transposed padded": (ConvTranspose2D(2, 3, 2, ((1, 0), (0, 1)), activation="relu"), IMAGE),
    "transposed in time": (ConvTranspose1D(2, 3, 2, "valid"), SERIES),
    "pools": (Sequential([MaxPool2D((3, 2), 1, "same"), AveragePool2D(2, (2, 1), "same")]), IMAGE),
    "pools padded": (Sequential([MaxPool2D(3, 2, 1), AveragePool2D(2, 1, 1)]), IMAGE),
    "pools in time": (Sequential([MaxPool1D(2), AveragePool1D(2, 1, (0, 1))]), SERIES),
    "global": (Sequential([Conv2D(3), GlobalAveragePool()]), IMAGE),
    "global in time": (GlobalAveragePool(keep_axes=True), SERIES),
    "reshape": (Sequential([Reshape((3, 2, -1)), Conv2D(2, 2), Flatten(), Dense(2)]), SERIES),
    "resize": (Resize((3, 9), crop=0.8, interpolation="bicubic"), IMAGE),
    "resize of greys": (Sequential([Resize(5, channels=3), Conv2D(2)]), (7, 6, 1)),
    "residual": (
        Sequential([Residual(Conv2D(4, 3)), Residual(Conv2D(5, 1), Conv2D(5, 1)), BatchNorm()]),
        IMAGE,
    ),
    "parallel": (
        Parallel([Conv2D(2, 3), Sequential([]), Parallel([Conv2D(4, 1), MaxPool2D(3, 1, 1)],
                                                          "product")]),
        IMAGE,
    ),
    "squeeze and excitation": (squeeze_excitation(4, 2), IMAGE),
    "embedding": (Sequential([Embedding(CODE_COUNT, 4), GlobalAveragePool()]), CODES),
    "lstm": (LSTM(4, output="all"), SERIES),
    "lstm, last, learned": (LSTM(4, reverse=True, initial="learned"), SERIES),
    "lstm both ways": (LSTM(4, bidirectional=True, initial="learned", output="max"), SERIES),
    "gru": (GRU(4, output="mean"), SERIES),
    "gru both ways": (GRU(3, bidirectional=True), SERIES),
    "rnn": (RNN(4, activation="relu", output="all", reverse=True), SERIES),
    "stacked": (
        Sequential([Standardize(), LSTM(3, output="all", bidirectional=True),
                    EachStep(Dropout(0.5)), GRU(4, output="all"),
                    EachStep(Sequential([Dense(3, "tanh"), LayerNorm()])),
                    RNN(2, bidirectional=True, output="all"), GlobalAveragePool()]),
        SERIES,
    ),
    "language": (
        Sequential([Embedding(CODE_COUNT, 3), LSTM(4, output="all"), EachStep(Dense(CODE_COUNT))]),
        CODES,
    ),
    "each step": (
        Sequential([EachStep(Sequential([Reshape((3, 1)), Conv1D(2, 2), BatchNorm(), Flatten()])),
                    EachStep(BatchNorm()), RNN(2)]),
        SERIES,
    ),
}  # fmt: skip
"""By what they show."""

ANY_STEPS = {
    "conv in time", "global in time", "embedding", "lstm", "lstm, last, learned", "lstm both ways",
    "gru", "gru both ways", "rnn", "stacked", "language", "each step", "transposed in time",
    "pools in time",
}  # fmt: skip
"""Those that take any number of steps."""


def samples(name, shape, rows):
    rng = np.random.default_rng(rows)
    if name in ("embedding", "language"):
        return rng.integers(0, CODE_COUNT, (rows, *shape))
    return rng.normal(size=(rows, *shape)).astype(np.float32)


def answer(network, weights, statistics, X):
    return np.asarray(
        jax.jit(lambda w, s, X: network.apply(w, s, X, PREDICTING)[0])(weights, statistics, X)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_gives_the_same(name, made, ran):
    network, shape = NETWORKS[name]
    weights, statistics = made(network, shape)
    model = network_to_onnx(network, weights, statistics, shape)
    assert model.opset_import[0].version == OPSET
    sizes = [axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert (sizes[0], "steps" in sizes) == ("n", name in ANY_STEPS)
    X = samples(name, shape, 3)
    expected = answer(network, weights, statistics, X)
    np.testing.assert_allclose(ran(model, X=X)["scores"], expected, atol=2e-6, rtol=2e-6)
    np.testing.assert_allclose(ran(model, X=X[:1])["scores"], expected[:1], atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("name", ["stacked", "language"])
def test_another_number_of_steps(name, made, ran):
    network, shape = NETWORKS[name]
    weights, statistics = made(network, shape)
    model = network_to_onnx(network, weights, statistics, shape)
    X = samples(name, (9, *shape[1:]), 2)
    expected = answer(network, weights, statistics, X)
    np.testing.assert_allclose(ran(model, X=X)["scores"], expected, atol=2e-6)


@pytest.mark.parametrize(
    "layer",
    [
        LSTM(4, bidirectional=True),
        LSTM(4, reverse=True, initial="learned", output="max"),
        LSTM(3, output="mean", bidirectional=True),
        Sequential([LSTM(4, output="all", reverse=True), EachStep(Dense(3)), LSTM(2)]),
    ],
    ids=["last", "max", "mean", "stacked"],
)
def test_rows_of_unequal_length(layer, made, ran):
    weights, statistics = made(layer, (5, 2))
    model = network_to_onnx(layer, weights, statistics, (5, 2), lengths=True)
    X, lengths = samples("", (5, 2), 4), np.array([5, 1, 3, 4], np.int32)
    expected = answer(layer, weights, statistics, Sequences(X, lengths))
    garbage = np.where(np.arange(5)[None, :, None] < lengths[:, None, None], X, 1e3)
    found = ran(model, X=garbage.astype(np.float32), lengths=lengths)["scores"]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_table_has_all_layers():
    def kinds(layer):
        parts = [part for _, part in layer.named()] if isinstance(layer, Composite) else []
        return {type(layer).__name__}.union(*map(kinds, parts))

    shown = set().union(*(kinds(network) for network, _ in NETWORKS.values()))
    assert shown == set(LAYERS) - {"Penalty"}


def test_images_are_transposed_once_at_each_edge(made):
    network = Sequential([Conv2D(3), BatchNorm(), Conv2D(3, activation="relu"), Conv2D(2)])
    model = network_to_onnx(network, *made(network, (6, 6, 2)), (6, 6, 2))
    operators = [node.op_type for node in model.graph.node]
    assert operators == [
        "Transpose", "Conv", "BatchNormalization", "Conv", "Relu", "Conv", "Transpose"
    ]  # fmt: skip


class Doubled(Layer):
    kind = "doubled"

    def output_shape(self, input_shape, name):
        return input_shape

    def apply(self, weights, statistics, X, context):
        return 2 * X, statistics


@pytest.mark.parametrize(
    ("layer", "lengths", "message"),
    [
        (Sequential([Dense(3), Doubled()]), False, r"got doubled_0: Doubled"),
        (Sequential([LSTM(3, carry=2)]), False, r"lstm_0 expected a layer that starts each row"),
        (Sequential([LSTM(3, output="all"), BatchNorm()]), True, r"got batch_norm_0: BatchNorm"),
    ],
)
def test_what_cannot_be_written_is_named(layer, lengths, message, made):
    shape = (4, 2) if isinstance(layer.layers[0], LSTM) else (2,)
    with pytest.raises(InputError, match=message):
        network_to_onnx(layer, *made(layer, shape), shape, lengths=lengths)


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if name.split()[0] not in ("each", "resize")]
)
def test_what_is_written_is_read_again(name, made, ran, tmp_path):
    network, shape = NETWORKS[name]
    model = network_to_onnx(network, *made(network, shape), shape)
    write_onnx(model, tmp_path / "a.onnx")
    found = read_onnx(tmp_path / "a.onnx")
    assert found.any_steps == (name in ANY_STEPS)
    if not found.any_steps:
        assert found.input_shape == shape
    again = network_to_onnx(found.network, found.weights, found.statistics, found.input_shape)
    X = samples(name, shape, 3)
    expected = ran(model, X=X)["scores"]
    np.testing.assert_allclose(ran(again, X=X)["scores"], expected, atol=2e-6, rtol=2e-6)


def test_rows_of_unequal_length_are_read_again(made, ran, tmp_path):
    network = Sequential([LSTM(4, output="all"), EachStep(Dense(3)), GRU(2, output="max")])
    weights, statistics = made(network, (5, 2))
    model = network_to_onnx(network, weights, statistics, (5, 2), lengths=True)
    write_onnx(model, tmp_path / "a.onnx")
    found = read_onnx(tmp_path / "a.onnx")
    assert found.lengths
    read = found.network, found.weights, found.statistics, found.input_shape
    again = network_to_onnx(*read, lengths=True)
    feeds = {"X": samples("", (5, 2), 4), "lengths": np.array([5, 1, 3, 4], np.int32)}
    expected = ran(model, **feeds)["scores"]
    np.testing.assert_allclose(ran(again, **feeds)["scores"], expected, atol=2e-6)
