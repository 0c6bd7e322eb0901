"""Pooling layers: shapes, values against PyTorch, and what they refuse."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.layers import (
    PREDICTING,
    AveragePool1D,
    AveragePool2D,
    Dense,
    GlobalAveragePool,
    MaxPool1D,
    MaxPool2D,
    Sequential,
)

LAYERS_2D, LAYERS_1D = (MaxPool2D, AveragePool2D), (MaxPool1D, AveragePool1D)


def apply(layer, X):
    """Return the output, whose shape must be what the layer said."""
    A, _ = layer.apply({}, {}, X, PREDICTING)
    assert A.shape == (len(X), *layer.output_shape(X.shape[1:], layer.kind))
    return np.asarray(A)


def batch(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("settings", "torch_settings"),
    [
        ((2,), {"kernel_size": 2}),
        (((3, 2),), {"kernel_size": (3, 2)}),
        ((2, 1), {"kernel_size": 2, "stride": 1}),
        (
            ((3, 2), (2, 1), ((1, 1), (0, 0))),
            {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
        ),
        ((3, None, 1), {"kernel_size": 3, "padding": 1}),
    ],
)
def test_images_agree_with_torch(settings, torch_settings):
    torch = pytest.importorskip("torch")
    X = batch(2, 8, 7, 3)
    for layer, name in zip(LAYERS_2D, ("MaxPool2d", "AvgPool2d"), strict=True):
        expected = getattr(torch.nn, name)(**torch_settings)(torch.tensor(X.transpose(0, 3, 1, 2)))
        assert_allclose(
            apply(layer(*settings), X), expected.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("settings", "torch_settings"),
    [
        ((2,), {"kernel_size": 2}),
        ((3, 2, (1, 1)), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ],
)
def test_sequences_agree_with_torch(settings, torch_settings):
    torch = pytest.importorskip("torch")
    X = batch(2, 9, 3)
    for layer, name in zip(LAYERS_1D, ("MaxPool1d", "AvgPool1d"), strict=True):
        expected = getattr(torch.nn, name)(**torch_settings)(torch.tensor(X.transpose(0, 2, 1)))
        assert_allclose(
            apply(layer(*settings), X), expected.numpy().transpose(0, 2, 1), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("layers", list(zip(LAYERS_1D, LAYERS_2D, strict=True)))
@pytest.mark.parametrize("padding", ["same", (2, 0)])
def test_a_sequence_is_an_image_of_height_one(layers, padding):
    X = batch(2, 5, 3)
    along, over = layers
    image = padding if padding == "same" else ((0, 0), padding)
    expected = apply(over((1, 3), (1, 2), image), X[:, None])[:, 0]
    assert_allclose(apply(along(3, 2, padding), X), expected, rtol=1e-6)


def test_same_padding_keeps_the_size_up_to_the_stride():
    assert MaxPool2D(3, 1, "same").output_shape((7, 5, 2), "") == (7, 5, 2)
    assert MaxPool2D(2, padding="same").output_shape((7, 5, 2), "") == (4, 3, 2)
    assert MaxPool2D(5, 2, "same").output_shape((1, 1, 2), "") == (1, 1, 2)
    assert AveragePool1D(3, 2, "same").output_shape((7, 2), "") == (4, 2)


@pytest.mark.parametrize("shape", [(4, 5, 3), (6, 3)])
def test_global_average_pool(shape):
    X = batch(2, *shape)
    means = X.reshape(2, -1, 3).mean(axis=1)
    assert_allclose(apply(GlobalAveragePool(), X), means, rtol=1e-5, atol=1e-6)
    kept = apply(GlobalAveragePool(keep_axes=True), X)
    assert_allclose(kept, means.reshape(2, *[1] * (len(shape) - 1), 3), rtol=1e-5, atol=1e-6)


def test_a_window_is_one_value_however_written():
    assert MaxPool2D(2) == MaxPool2D((2, 2)) == MaxPool2D([2, 2])
    assert hash(MaxPool2D([3, 2], [1, 1])) == hash(MaxPool2D((3, 2), 1))
    assert MaxPool2D(2) != MaxPool2D(3)
    assert MaxPool2D(2) != AveragePool2D(2)
    assert MaxPool1D(3, padding=(1, 1)) == MaxPool1D(3, padding=[1, 1])


def test_names_in_a_network():
    network = Sequential([MaxPool2D(), AveragePool2D(), MaxPool2D(1), GlobalAveragePool()])
    names = [name for name, _ in network.named()]
    assert names == ["max_pool_0", "average_pool_0", "max_pool_1", "global_average_pool_0"]
    assert network.output_shape((8, 8, 3)) == (3,)


def test_a_window_larger_than_its_input_is_refused():
    network = Sequential([MaxPool2D(2), AveragePool2D((3, 5))])
    assert network.output_shape((6, 10, 1)) == (1, 1, 1)
    with pytest.raises(
        InputError, match=r"^average_pool_0 expected .* window 3×5, got 3×4 .*Use a"
    ):
        network.output_shape((7, 9, 1))
    with pytest.raises(InputError, match=r"^max_pool_0 .* window 4, got 3 .* shape \(3, 2\)"):
        Sequential([MaxPool1D(4)]).output_shape((3, 2))
    assert MaxPool1D(4, padding=(1, 0)).output_shape((3, 2), "") == (1, 2)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (MaxPool2D(), (8, 8), r"images \(h, w, c\), got samples of shape \(8, 8\)"),
        (AveragePool1D(), (8, 8, 1), r"sequences \(t, c\), got samples of shape \(8, 8, 1\)"),
        (GlobalAveragePool(), (8,), r"sequences \(t, c\), got samples of shape \(8,\)"),
    ],
)
def test_samples_of_another_rank_are_refused(layer, shape, words):
    with pytest.raises(InputError, match=rf"^net/{layer.kind}_0 expected .*{words}"):
        Sequential([layer, Dense(2)]).output_shape(shape, "net")


@pytest.mark.parametrize(
    ("layer", "settings", "words"),
    [
        (MaxPool2D, (0,), "MaxPool2D window expected a whole number at least 1; got 0"),
        (MaxPool2D, ((2, 2.5),), "MaxPool2D window expected a whole number"),
        (MaxPool2D, ((2, 2, 2),), "MaxPool2D window expected"),
        (AveragePool1D, ((2, 2),), "AveragePool1D window expected"),
        (AveragePool2D, (2, "two"), "AveragePool2D stride expected"),
        (MaxPool2D, (2, 2, "full"), "MaxPool2D padding expected .*got 'full'"),
        (MaxPool2D, (2, 2, (1, 1)), "MaxPool2D padding expected"),
        (MaxPool1D, (2, 2, (0, 2)), "MaxPool1D expected padding smaller than its window 2"),
        (MaxPool2D, (3, 2, ((0, 0), (3, 0))), "MaxPool2D expected padding smaller .* window 3×3"),
    ],
)
def test_wrong_settings_are_refused(layer, settings, words):
    with pytest.raises(InputError, match=words):
        layer(*settings)
