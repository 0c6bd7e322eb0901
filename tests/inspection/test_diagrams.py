"""Diagrams show the numbers they were given: read back from the figures."""

import numpy as np
import pytest

from lamina.errors import InputError
from lamina.inspection import (
    calibration,
    draw_calibration,
    draw_gradient_flow,
    draw_matrix,
    draw_predicted,
    draw_residuals,
    draw_spectrum,
    draw_watched,
)
from lamina.inspection.diagrams import reduced
from lamina.inspection.spectra import random_density, random_edges, spectrum

WATCHED = {
    "epoch": [1, 5, 9],
    "matrices": {
        "dense_0/W": {
            "gradient_norm": [1.0, 0.1, 0.0],
            "update_ratio": [0.3, 0.2, 0.1],
            "weight_norm": [3.0, 4.0, 5.0],
        },
        "dense_1/W": {
            "gradient_norm": [2.0, 0.5, 0.25],
            "update_ratio": [0.1, 0.1, 0.1],
            "weight_norm": [1.0, 1.0, 1.0],
        },
    },
}


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (50, 50)])
def test_the_density_of_chance_is_that_of_random_matrices(shape):
    W = np.random.default_rng(0).normal(0, 0.3, shape)
    low, high = random_edges(shape, np.linalg.norm(W))
    grid = np.linspace(max(low, 1e-6), high, 20_001)
    density = random_density(grid, shape, np.linalg.norm(W))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
    mean_square = np.trapezoid(density * grid**2, grid)  # Σ σ² = ‖W‖² exactly
    assert mean_square == pytest.approx(np.linalg.norm(W) ** 2 / min(shape), rel=1e-3)
    values = np.linalg.svd(W, compute_uv=False)
    below = [np.trapezoid(density[grid <= v], grid[grid <= v]) for v in values]
    steps = np.arange(len(values), 0, -1) / len(values)
    assert np.abs(np.array(below) - steps).max() < 0.06  # eigenvalues repel: closer than chance


def test_there_is_no_chance_beyond_its_edges_or_in_zeros():
    edges = np.array(random_edges((9, 4), 6.0))
    assert random_density(edges * [0.9, 1.1], (9, 4), 6.0).tolist() == [0, 0]
    assert random_density(np.ones(3), (9, 4), 0.0).tolist() == [0, 0, 0]


def test_a_matrix_is_shown_entry_by_entry():
    W = np.random.default_rng(0).normal(size=(3, 2, 2, 5))
    figure = draw_matrix(W)
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(image.get_array(), W.reshape(12, 5))
    assert image.get_clim() == (-np.abs(W).max(), np.abs(W).max())
    assert image.get_extent() == [0, 5, 12, 0]
    assert figure.axes[1].get_ylabel() == "weight"


def test_a_large_matrix_is_averaged_in_blocks():
    W = np.random.default_rng(0).normal(size=(7, 4))
    cells, rows, columns = reduced(W, 3)
    assert (rows, columns) == (3, 2)
    blocks = [[W[i : i + 3, j : j + 2].mean() for j in (0, 2)] for i in (0, 3, 6)]
    np.testing.assert_allclose(cells, blocks, rtol=1e-12)
    figure = draw_matrix(np.ones((300, 10)))
    assert figure.axes[0].images[0].get_array().shape == (100, 10)
    assert figure.axes[1].get_ylabel() == "mean of 3×1"
    with pytest.raises(InputError, match=r"expected a matrix, got shape \(3,\)"):
        draw_matrix(np.ones(3))


def test_a_spectrum_stands_against_chance():
    W = np.random.default_rng(0).normal(size=(60, 20))
    found = spectrum(W)
    figure = draw_spectrum(found)
    _, high = random_edges((60, 20), np.linalg.norm(W))
    drawn = lines(figure)
    assert drawn["edge of chance"].get_xdata() == [high, high]
    x, density = drawn["by chance"].get_data()
    np.testing.assert_allclose(density, random_density(x, (60, 20), found.frobenius))
    (histogram,) = figure.axes[0].patches
    corners = histogram.get_xy()  # up and along each bin, then back along the bottom
    top = 1.05 * max(found.spectral, high)
    bins = int(2 * np.sqrt(20))
    heights, edges = np.histogram(found.values, bins, (0, top), density=True)
    np.testing.assert_allclose(corners[1 : 2 * bins : 2, 1], heights)
    np.testing.assert_allclose(corners[0 : 2 * bins + 1 : 2, 0], edges)


def test_leading_values_are_drawn_by_rank():
    W = np.random.default_rng(0).normal(size=(90, 80))
    found = spectrum(W, method="randomized")
    drawn = lines(draw_spectrum(found))
    np.testing.assert_array_equal(drawn["singular value σ"].get_ydata(), found.values)
    high = random_edges(found.shape, found.frobenius)[1]
    assert list(drawn["edge of chance"].get_ydata()) == [high, high]
    assert "by chance" not in drawn


def test_a_matrix_of_zeros_has_a_spectrum_to_draw(tmp_path):
    draw_spectrum(spectrum(np.zeros((4, 3)))).savefig(tmp_path / "zeros.png")


def test_gradients_are_bars_from_the_input_down():
    norms = {"dense_0": 0.02, "activation_0": None, "dense_1": 0.0, "dense_2": 3.0}
    (axis,) = draw_gradient_flow(norms).axes
    assert [bar.get_width() for bar in axis.patches] == [0.02, 0.0, 3.0]
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "dense_0",
        "dense_1",
        "dense_2",
    ]
    assert axis.yaxis_inverted()
    assert axis.get_xscale() == "log"
    assert axis.get_xlim() == pytest.approx((1e-2, 10))
    with pytest.raises(InputError, match="at least one norm"):
        draw_gradient_flow({"dense_0": None})


def test_what_was_watched_is_a_line_a_matrix():
    drawn = lines(draw_watched(WATCHED))
    assert set(drawn) == {"dense_0/W", "dense_1/W"}
    x, y = drawn["dense_0/W"].get_data()
    assert x.tolist() == [1, 5, 9]
    np.testing.assert_array_equal(y, [1.0, 0.1, np.nan])  # 0 has no place on a scale of powers
    drawn = lines(draw_watched(WATCHED, "update_ratio"))
    assert drawn["dense_0/W"].get_ydata().tolist() == [0.3, 0.2, 0.1]
    many = {f"{j}": WATCHED["matrices"]["dense_1/W"] for j in range(30)}
    figure = draw_watched({"epoch": [1, 5, 9], "matrices": many})
    assert len({line.get_color() for line in map(_hashable, figure.axes[0].lines)}) == 30
    with pytest.raises(InputError, match="Did you mean 'update_ratio'"):
        draw_watched(WATCHED, "update")
    with pytest.raises(InputError, match="Fit with Watch"):
        draw_watched({"epoch": [], "matrices": {}})


def _hashable(line):
    line.set_color(tuple(line.get_color()))
    return line


def test_calibration_is_a_point_a_bin():
    found = calibration([0.55, 0.65, 0.75, 0.95], [0, 1, 1, 1], bins=2)
    drawn = lines(draw_calibration(found))
    np.testing.assert_array_equal(drawn["measured"].get_xdata(), found.confidence)
    np.testing.assert_array_equal(drawn["measured"].get_ydata(), found.accuracy)
    np.testing.assert_array_equal(drawn["honest"].get_xdata(), drawn["honest"].get_ydata())


def test_predicted_stand_against_true_values():
    y = np.arange(5000.0)
    (axis,) = draw_predicted(y, y + 1).axes
    diagonal, points = axis.lines
    np.testing.assert_array_equal(*diagonal.get_data())
    x, predicted = points.get_data()
    assert len(x) == 2000
    np.testing.assert_array_equal(predicted, x + 1)
    with pytest.raises(InputError, match=r"got shapes \(2,\) and \(3,\)"):
        draw_predicted([1, 2], [1, 2, 3])


def test_residuals_count_every_row():
    (axis,) = draw_residuals(np.zeros(100), np.linspace(-1, 2, 100)).axes
    assert sum(bar.get_height() for bar in axis.patches) == 100
    assert axis.patches[0].get_x() == -1
