"""ImageEncoder: the numbers of images in every layout, and what it refuses."""

import numpy as np
import pytest

from lamina.errors import InputError
from lamina.formats.image_encoder import ImageEncoder


def test_bytes_are_divided_and_floats_are_not():
    X = np.array([0, 51, 102, 255], np.uint8).reshape(1, 2, 2, 1)
    encoder = ImageEncoder().fit(X)
    np.testing.assert_allclose(encoder.transform(X), [[0, 0.2, 0.4, 1]], rtol=1e-6)
    np.testing.assert_array_equal(encoder.transform(X.astype(np.float64)), [[0, 51, 102, 255]])


def test_image_layouts():
    X = np.arange(2 * 3 * 4 * 2, dtype=np.uint8).reshape(2, 3, 4, 2)
    encoder = ImageEncoder().fit(X)
    assert encoder.image_shape == (3, 4, 2)
    np.testing.assert_array_equal(encoder.transform(X), encoder.transform(X.reshape(2, -1)))
    at = encoder.output_names.index("pixel 2,1,0")
    np.testing.assert_allclose(encoder.transform(X)[:, at], X[:, 2, 1, 0] / 255, rtol=1e-6)
    grey = ImageEncoder().fit(X[..., 0])
    assert grey.image_shape == (3, 4, 1)
    np.testing.assert_array_equal(grey.transform(X[..., 0]), grey.transform(X[..., :1]))


def test_images_are_refused_in_words():
    X = np.zeros((2, 3, 4, 3))
    encoder = ImageEncoder().fit(X)
    for wrong in (
        X[:, :2],
        X[..., 0],
        X[..., :1],
        X.reshape(2, 6, 6),
        X.reshape(4, -1),
        X[0, 0, 0],
    ):
        with pytest.raises(InputError, match=r"shape \(3, 4, 3\), as in its fit"):
            encoder.transform(wrong)
    for wrong in (np.zeros((2, 12)), np.zeros((0, 3, 4)), np.zeros(3)):
        with pytest.raises(InputError, match=r"\(n, h, w, c\) or \(n, h, w\).*reshape"):
            ImageEncoder().fit(wrong)
    for dtype in (int, bool, object, "U3"):
        with pytest.raises(InputError, match=r"uint8 or floating images, got .*astype"):
            ImageEncoder().fit(X.astype(dtype))
        with pytest.raises(InputError, match=r"uint8 or floating images"):
            encoder.transform(X.astype(dtype))
    for bad in (np.nan, np.inf, 1e300):
        wrong = X.copy()
        wrong[1, 2, 3, 0] = bad
        with pytest.raises(InputError, match=r"finite numbers.*image 1 \(X\[1\]\)"):
            encoder.transform(wrong)
