"""Pictures show the numbers they were given: read back from the figures."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lamina.errors import InputError
from lamina.inspection import draw_confusion, draw_history, draw_templates


def drawn(figure):
    """Return the axes that hold an image, without the colour bar."""
    return [axis for axis in figure.axes if axis.images and axis.get_label() != "<colorbar>"]


def test_each_template_shows_its_column():
    W = np.random.default_rng(0).normal(size=(12, 3))
    axes = drawn(draw_templates(W, ["cat", "dog", "eel"], (3, 4, 1)))
    assert [axis.get_title() for axis in axes] == ["cat", "dog", "eel"]
    for j, axis in enumerate(axes):
        (image,) = axis.images
        np.testing.assert_array_equal(image.get_array(), W[:, j].reshape(3, 4))
        bound = np.abs(W).max()  # one scale, zero in its middle
        assert image.get_clim() == (-bound, bound)
        assert not axis.axison


def test_red_speaks_for_a_class_and_blue_against_it():
    W = np.array([[2.0], [-2.0], [0.0], [0.0]])
    (axis,) = drawn(draw_templates(W))
    colours = axis.images[0].to_rgba(axis.images[0].get_array())[..., :3]
    red, blue, none = colours[0, 0], colours[0, 1], colours[1, 0]
    assert red[0] > 0.3 > red[2]
    assert blue[2] > 0.3 > blue[0]
    assert none.min() > 0.9


def test_colour_templates_are_their_mean_over_channels():
    W = np.random.default_rng(0).normal(size=(2 * 2 * 3, 2))
    axes = drawn(draw_templates(W, image_shape=(2, 2, 3)))
    for j, axis in enumerate(axes):
        expected = W[:, j].reshape(2, 2, 3).mean(axis=2)
        np.testing.assert_allclose(axis.images[0].get_array(), expected)
        assert axis.get_title() == f"unit {j}"


@pytest.mark.parametrize(("k", "shown"), [(1, 1), (10, 10), (11, 11), (40, 40), (57, 40)])
def test_at_most_forty_templates_and_no_frame_around_nothing(k, shown):
    W = np.random.default_rng(0).normal(size=(4, k))
    figure = draw_templates(W)
    axes = drawn(figure)
    assert len(axes) == shown
    np.testing.assert_array_equal(axes[-1].images[0].get_array(), W[:, shown - 1].reshape(2, 2))
    empty = [a for a in figure.axes if not a.images and a.get_label() != "<colorbar>"]
    assert all(not axis.axison for axis in empty)


def test_templates_of_zeros_are_white():
    (axis,) = drawn(draw_templates(np.zeros((4, 1))))
    assert axis.images[0].get_clim() == (-1, 1)


def test_templates_of_what_is_no_image():
    with pytest.raises(InputError, match=r"got 12 features, which make no square\. Pass image_sh"):
        draw_templates(np.ones((12, 2)))
    with pytest.raises(InputError, match=r"image_shape expected .* = 12, got \(3, 3, 1\)"):
        draw_templates(np.ones((12, 2)), image_shape=(3, 3, 1))


def test_a_confusion_shows_counts_and_shares():
    confusion = np.array([[8, 2, 0], [0, 5, 5], [0, 0, 0]])
    (axis,) = draw_confusion(confusion, ["a", "b", "c"]).axes
    # a class without rows is empty, and divides nothing by zero
    expected = [[0.8, 0.2, 0], [0, 0.5, 0.5], [0, 0, 0]]
    np.testing.assert_allclose(axis.images[0].get_array(), expected)
    written = {text.get_position(): text.get_text() for text in axis.texts}
    assert written == {(0, 0): "8", (1, 0): "2", (1, 1): "5", (2, 1): "5"}  # (column, row)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted", "true")
    on_dark, on_light = axis.texts[0], axis.texts[1]
    assert to_rgb(on_dark.get_color()) == (1, 1, 1)
    assert to_rgb(on_light.get_color()) == (0, 0, 0)


def test_history_draws_a_line_for_each_figure():
    history = {
        "epoch": [1, 2, 3],
        "loss": [3.0, 2.0, 1.0],
        "accuracy": [0.1, 0.2, 0.3],
        "val_loss": [4.0, 3.0, 3.5],
        "learning_rate": [0.1, 0.1, 0.1],
        "gradient_norm": [1.0, 1.0, 1.0],
        "seconds": [9.0, 9.0, 9.0],
    }
    loss, accuracy = draw_history(history).axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    lines = {line.get_label(): line.get_ydata().tolist() for line in loss.lines}
    assert lines == {"training": [3.0, 2.0, 1.0], "validation": [4.0, 3.0, 3.5]}
    assert all(line.get_xdata().tolist() == [1, 2, 3] for line in loss.lines)
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.1, 0.2, 0.3]]
    assert accuracy.get_legend() is None


def test_a_history_of_no_epochs_is_refused():
    with pytest.raises(InputError, match="epoch"):
        draw_history({})


def test_figures_belong_to_nobody_and_can_be_saved(tmp_path):
    import matplotlib.pyplot

    before = matplotlib.pyplot.get_fignums()
    figures = [
        draw_templates(np.eye(4)),
        draw_confusion(np.eye(2, dtype=int), [0, 1]),
        draw_history({"loss": [1.0]}),
    ]
    assert matplotlib.pyplot.get_fignums() == before
    for i, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").read_bytes().startswith(b"\x89PNG")
