"""Penalties: strengths by name, and L1's proximal map against brute-force minimisation."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.functions.penalties import Penalty, penalty, soft_threshold


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_soft_threshold_is_the_proximal_map_of_l1(t):
    """``argmin_x ½ (x - w)² + t |x|``, found on a fine grid."""
    w = np.array([-3.0, -1.0, -0.31, -0.2, 0.0, 0.05, 0.7, 1.5])
    grid = np.linspace(-4, 4, 80_001)
    objective = 0.5 * (grid[None, :] - w[:, None]) ** 2 + t * np.abs(grid[None, :])
    brute = grid[np.argmin(objective, axis=1)]
    assert_allclose(soft_threshold(jnp.asarray(w), t), brute, atol=1.01e-4)


def test_soft_threshold_makes_exact_zeros():
    W = jnp.array([[0.5, -0.5], [0.499, -2.0]])
    assert_array_equal(soft_threshold(W, 0.5), [[0, 0], [0, -1.5]])


def test_thresholds_may_differ_by_entry():
    found = soft_threshold(jnp.array([2.0, 2.0, -2.0]), jnp.array([0.0, 0.5, 3.0]))
    assert_array_equal(found, [2, 1.5, 0])


def test_strengths_by_name():
    assert penalty("l1", 0.3) == Penalty(l1=0.3, l2=0.0)
    assert penalty("l2", 0.3) == Penalty(l1=0.0, l2=0.3)
    assert penalty(None, 0.3) == Penalty()
    blend = penalty("elastic_net", 0.2, l1_ratio=0.75)
    assert (blend.l1, blend.l2) == pytest.approx((0.15, 0.05))
    assert penalty("elastic_net", 1).l1 == 0.5
    assert penalty("l1", 0.3, l1_ratio=0.1) == penalty("l1", 0.3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: penalty("ridge", 1.0), "penalty expected one of l1, l2, elastic_net; got 'ridge'"),
        (lambda: penalty("l3", 1.0), "Did you mean 'l[12]'"),
        (lambda: penalty("l1", -1.0), "alpha expected a number at least 0; got -1.0"),
        (lambda: penalty(None, -1.0), "alpha"),
        (lambda: penalty("l1", 1.0, l1_ratio=1.5), "l1_ratio expected .* at most 1; got 1.5"),
        (lambda: penalty("l1", "much"), "alpha expected a number .*; got 'much'"),
        (lambda: penalty("l1", float("nan")), "alpha"),
        (lambda: Penalty(l1=-0.1), "penalty strength l1"),
        (lambda: Penalty(l2=-0.1), "penalty strength l2"),
    ],
)
def test_errors(make, words):
    with pytest.raises(InputError, match=words):
        make()
