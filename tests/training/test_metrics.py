"""Metrics by hand."""

import jax.numpy as jnp
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.training.metrics import METRICS


def test_accuracy_of_classes():
    scores = jnp.array([[0.1, 0.9], [3.0, -1.0], [0.0, 0.5]])
    metric = METRICS["classes"]
    assert metric.name == "accuracy"
    assert_array_equal(metric.per_sample(scores, jnp.array([1, 1, 1])), [1, 0, 1])


def test_accuracy_of_labels_wants_all_right():
    scores = jnp.array([[2.0, -1.0, 0.5], [2.0, 1.0, -0.5]])
    y = jnp.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert_array_equal(METRICS["labels"].per_sample(scores, y), [1, 0])


def test_rmse_is_the_root_of_the_mean_over_samples_and_outputs():
    scores, y = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[0.0, 0.0], [0.0, 3.0]])
    metric = METRICS["values"]
    squares = metric.per_sample(scores, y)
    assert_allclose(squares, [2.5, 4.5])
    assert metric.name == "rmse"
    assert metric.finish(float(squares.mean())) == pytest.approx(3.5**0.5)
