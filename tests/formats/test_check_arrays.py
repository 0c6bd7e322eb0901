"""The arrays of a model file against those of its architecture."""

import numpy as np
import pytest

from lamina.errors import FileFormatError
from lamina.formats.model_file import check_arrays

ARRAYS = {"dense_0/W": np.zeros((3, 2), np.float32), "mask": np.array([True]), "s": np.array(3.5)}
EXPECTED = {name: (array.shape, array.dtype) for name, array in ARRAYS.items()}


def test_arrays_that_fit_their_architecture():
    check_arrays("m.safetensors", EXPECTED, ARRAYS)
    check_arrays("m.safetensors", {"s": ((), "float64")}, {"s": np.array(1.0)})


@pytest.mark.parametrize(
    ("expected", "got", "says"),
    [
        (
            {f"W{i}": ((1,), "f4") for i in range(7)},
            {},
            r"m expected the 7 arrays .*; 7 missing \(W0, W1, W2, W3, W4, …\)\. The file",
        ),
        ({}, {"b": np.ones(1)}, r"the 0 arrays .*; 1 unexpected \(b\)\. The file"),
        (
            {"W": ((1,), "f4")},
            {"V": np.ones(1, "f4")},
            r"; 1 missing \(W\) and 1 unexpected \(V\)\. The file",
        ),
        (
            {"W": ((784, 10), "f4")},
            {"W": np.ones((10, 784))},
            r"W of shape \(784, 10\) and float32; got \(10, 784\) and float64\.",
        ),
        ({"W": ((1,), "f4")}, {"W": np.ones(1, "i4")}, r"float32; got \(1,\) and int32\."),
    ],
)
def test_arrays_that_do_not_fit(expected, got, says):
    with pytest.raises(FileFormatError, match=says):
        check_arrays("m", expected, got)
