"""What convolutional networks see: filters found and drawn, feature maps against the layers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.inspection import draw_feature_maps, draw_filters, feature_maps, first_filters
from lamina.layers import (
    PREDICTING,
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    MaxPool2D,
    Residual,
    Sequential,
)

NETWORK = Sequential(
    [Conv2D(5, 3, bias=False), BatchNorm(), Activation("relu"), MaxPool2D(2), Conv2D(3),
     Conv2D(2, activation="tanh"), Flatten(), Dense(4)]
)  # fmt: skip


@pytest.fixture(scope="module")
def initial():
    """Return weights and statistics, the latter not the initial ones."""
    rng = np.random.default_rng(0)
    weights, statistics = NETWORK.initialize(rng, (8, 8, 3))
    statistics["batch_norm_0"] = {
        "mean": rng.normal(size=5).astype(np.float32),
        "variance": rng.uniform(0.5, 2, 5).astype(np.float32),
    }
    return weights, statistics


def drawn(figure):
    """Return the arrays that a figure shows, in order."""
    return [np.asarray(image.get_array()) for axis in figure.axes for image in axis.images]


def test_the_first_filters_are_found_however_deep_they_lie(initial):
    weights, _ = initial
    assert_array_equal(first_filters(weights), weights["conv_0"]["W"])
    nested = {"dense_0": {"W": np.ones((2, 2))}, "residual_0": {"body": weights}}
    assert_array_equal(first_filters(nested), weights["conv_0"]["W"])
    assert first_filters({"dense_0": {"W": np.ones((2, 2)), "b": np.ones(2)}}) is None
    assert first_filters({}) is None


def test_feature_maps_are_each_convolutions_last_word(initial):
    image = np.random.default_rng(1).normal(size=(8, 8, 3)).astype(np.float32)
    found = list(feature_maps(NETWORK, *initial, image))
    assert [(name, A.shape) for name, A in found] == [
        ("conv_0", (8, 8, 5)), ("conv_1", (4, 4, 3)), ("conv_2", (4, 4, 2)),
    ]  # fmt: skip
    for (_, A), length in zip(found, (3, 5, 6), strict=True):
        part = Sequential(NETWORK.layers[:length])
        expected, _ = part.apply(*initial, image[None], PREDICTING)
        assert_allclose(A, expected[0], rtol=1e-5, atol=1e-5)
    assert (found[0][1] >= 0).all()  # after relu


def test_a_network_without_convolutions_has_no_maps():
    network = Sequential([Flatten(), Dense(3)])
    image = np.ones((2, 2, 1), np.float32)
    weights = network.initialize(np.random.default_rng(0), image.shape)
    maps = list(feature_maps(network, *weights, image))
    assert maps == []
    with pytest.raises(InputError, match="expected a network with convolutions, got one without"):
        draw_feature_maps(image, maps)


def test_colour_filters_are_drawn_in_their_colours():
    W = np.random.default_rng(0).normal(size=(3, 2, 3, 10))
    shown = drawn(draw_filters(W))
    assert len(shown) == 10
    for j, picture in enumerate(shown):
        assert_allclose(picture, 0.5 + 0.5 * W[..., j] / np.abs(W).max(), atol=1e-6)


def test_filters_of_other_depths_are_drawn_as_their_mean():
    W = np.random.default_rng(0).normal(size=(3, 3, 4, 100))
    figure = draw_filters(W)
    shown = drawn(figure)
    assert len(shown) == 64
    for j, picture in enumerate(shown):
        assert_allclose(picture, W[..., j].mean(axis=2), atol=1e-6)
    limits = {image.get_clim() for axis in figure.axes for image in axis.images}
    bound = np.abs(W.mean(axis=2)).max()
    assert limits == {(-bound, bound)}
    assert figure.get_suptitle() == "64 of 100 filters, 3×3"


def test_filters_that_are_all_zero_can_be_drawn(tmp_path):
    draw_filters(np.zeros((3, 3, 1, 2))).savefig(tmp_path / "zero.png")
    assert (tmp_path / "zero.png").stat().st_size > 1000


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_maps_are_drawn_a_row_a_layer(channels, tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(6, 5, channels))
    maps = [("conv_0", rng.normal(size=(6, 5, 20))), ("conv_1", rng.normal(size=(3, 2, 4)))]
    figure = draw_feature_maps(image, maps)
    shown = drawn(figure)
    assert len(shown) == 1 + 16 + 4
    scaled = (image - image.min()) / (image.max() - image.min())
    assert_allclose(shown[0], scaled if channels == 3 else scaled.mean(axis=-1), atol=1e-6)
    for j in range(16):
        assert_array_equal(shown[1 + j], maps[0][1][..., j])
    for j in range(4):
        assert_array_equal(shown[17 + j], maps[1][1][..., j])
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert [title for title in titles if title] == ["conv_0: 6×5×20", "conv_1: 3×2×4"]
    figure.savefig(tmp_path / "maps.png")


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 1), (2, 3, 3, 1, 4)])
def test_what_are_no_filters_is_refused(shape):
    with pytest.raises(InputError, match=r"expected filters \(i, j, c, k\), got shape"):
        draw_filters(np.ones(shape))


def test_maps_inside_a_block_are_not_shown_but_its_first_filters_are():
    network = Sequential([Residual(Conv2D(3, 3)), Flatten(), Dense(2)])
    weights, statistics = network.initialize(np.random.default_rng(0), (4, 4, 3))
    image = np.ones((4, 4, 3), np.float32)
    assert list(feature_maps(network, weights, statistics, image)) == []
    assert first_filters(weights).shape == (3, 3, 3, 3)
