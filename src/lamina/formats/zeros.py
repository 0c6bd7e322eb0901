"""Arrays that are mostly zeros, stored as what is not: a bit for each entry, and the others.

Where that is smaller ``name`` becomes ``name/places`` (the bits, eight to a byte, the first entry
highest) and ``name/values``. Shapes are not stored: who reads knows them.
"""

from __future__ import annotations

import numpy as np

from lamina.errors import FileFormatError

FEWEST = 1024
"""Arrays of fewer entries are stored as they are."""

PLACES, VALUES = "/places", "/values"


def packed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays by name, packed where that is at most three quarters of the size."""
    stored = {}
    for name, array in arrays.items():
        flat = np.ravel(array)
        there = flat != 0
        smaller = len(flat) // 8 + there.sum() * flat.itemsize < 0.75 * flat.nbytes
        if len(flat) < FEWEST or not smaller:
            stored[name] = array
        else:
            stored[name + PLACES], stored[name + VALUES] = np.packbits(there), flat[there]
    return stored


def unpacked(
    stored: dict[str, np.ndarray], shapes: dict[str, tuple[tuple[int, ...], np.dtype]]
) -> dict[str, np.ndarray]:
    """Return the arrays that `packed` was given.

    Parameters
    ----------
    stored : dict of arrays
        By name.
    shapes : dict of (shape, dtype)
        Of the arrays to find, by name.

    Raises
    ------
    FileFormatError
        If the places of one are not as many as its entries, or its values.
    """
    arrays = dict(stored)
    for name, (shape, dtype) in shapes.items():
        if name in arrays or name + PLACES not in arrays or name + VALUES not in arrays:
            continue
        places, values = arrays.pop(name + PLACES), arrays.pop(name + VALUES)
        size = int(np.prod(shape))
        fits = places.dtype == np.uint8 and places.shape == (-(-size // 8),)
        there = np.unpackbits(places, count=size).astype(bool) if fits else np.zeros(0, bool)
        if not fits or values.shape != (int(there.sum()),) or values.dtype != dtype:
            raise FileFormatError(
                f"{name} expected {size} places and as many values as are not zero, got "
                f"{places.shape} bytes of {places.dtype} and {values.shape} of {values.dtype}"
            )
        array = np.zeros(size, dtype)
        array[there] = values
        arrays[name] = array.reshape(shape)
    return arrays
