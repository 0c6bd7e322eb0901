"""ArrayEncoder: standardised columns against their definition, and what it refuses."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lamina.errors import InputError
from lamina.formats.array_encoder import ArrayEncoder


def through_json(encoder):
    return ArrayEncoder.from_document(json.loads(json.dumps(encoder.to_document())))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_any_array_survives_the_document(X):
    if not (np.abs(X) <= np.float64(np.finfo(np.float32).max)).all():
        with pytest.raises(InputError, match="expected finite numbers"):
            ArrayEncoder().fit(X)
        return
    encoder = ArrayEncoder().fit(X)
    assert through_json(encoder) == encoder
    Z = encoder.transform(X)
    np.testing.assert_array_equal(through_json(encoder).transform(X), Z)
    wide = X.astype(np.float64)
    constant = wide.min(axis=0) == wide.max(axis=0)
    assert not Z[:, constant].any()
    normal = ~constant & (wide.std(axis=0) > 1e-12 * np.abs(wide).max(axis=0) + 1e-300)
    np.testing.assert_allclose(Z[:, normal].mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(Z[:, normal].std(axis=0), 1, atol=1e-3)


def test_array_by_hand_over_many_blocks():
    X = np.random.default_rng(0).normal([3, -1e6], [2, 1e-3], size=(10_000, 2))
    exact = X.astype(np.longdouble)
    expected = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    np.testing.assert_allclose(ArrayEncoder().fit(X).transform(X), expected, rtol=1e-5, atol=1e-6)


def test_array_as_it_is():
    X = np.array([[1, 2], [3, 4]])
    encoder = ArrayEncoder(standardize=False).fit(X)
    Z = encoder.transform(X)
    assert Z.dtype == np.float32
    np.testing.assert_array_equal(Z, X)
    assert encoder.output_names == ("x0", "x1")


def test_a_constant_column_that_rounds_is_constant():
    X = np.full((7, 1), 0.1)
    assert ArrayEncoder().fit(X).scale == (1.0,)
    assert not ArrayEncoder().fit(X).transform(X).any()


def test_a_deviation_below_all_normal_numbers_is_no_scale():
    X = np.array([[0.0], [5e-324]])
    assert ArrayEncoder().fit(X).scale == (1.0,)


def test_arrays_are_refused_in_words():
    X = np.zeros((3, 2))
    encoder = ArrayEncoder().fit(X)
    with pytest.raises(InputError, match=r"X with 2 columns, as in its fit, got shape \(3, 3\)"):
        encoder.transform(np.zeros((3, 3)))
    for wrong in (np.zeros(3), np.zeros((3, 2, 1)), X.astype(object), X.astype(str), X + 1j):
        for call in (ArrayEncoder().fit, encoder.transform):
            with pytest.raises(InputError, match=r"numeric array of shape \(n, m\), got"):
                call(wrong)
    for bad in (np.nan, np.inf, 1e300):
        wrong = X.copy()
        wrong[2, 1] = bad
        for call in (ArrayEncoder().fit, ArrayEncoder(standardize=False).fit, encoder.transform):
            with pytest.raises(InputError, match=r"got .* in row 2, column 1 \(X\[2, 1\]\)"):
                call(wrong)
    with pytest.raises(InputError, match="at least one row"):
        ArrayEncoder().fit(np.zeros((0, 2)))
