from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lamina.errors import FileFormatError, InputError
from lamina.formats.idx import has_test_part, is_idx_folder, read_idx, read_idx_array

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">BBBB", 0, 0, CODES[array.dtype.name], array.ndim)
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return header + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(
    folder: Path,
    stem: str,
    n: int = 5,
    *,
    dot: str = "-",
    gz: bool = False,
    labels: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    X = rng.integers(0, 256, (n, 4, 3), dtype=np.uint8)
    y = rng.integers(0, 10, n if labels is None else labels, dtype=np.uint8)
    for name, array in ((f"{stem}-images{dot}idx3-ubyte", X), (f"{stem}-labels{dot}idx1-ubyte", y)):
        content = idx_bytes(array)
        if gz:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return X, y


arrays = st.sampled_from(sorted(CODES)).flatmap(
    lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
)


@given(array=arrays, gz=st.booleans())
@settings(deadline=None)
def test_every_type_and_shape_comes_back_in_native_order(tmp_path_factory, array, gz):
    path = tmp_path_factory.mktemp("idx") / "array"
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if gz else content)
    got = read_idx_array(path)
    assert got.dtype == array.dtype
    assert got.dtype.isnative
    assert got.flags.writeable
    np.testing.assert_array_equal(got, array)


def test_a_file_written_by_hand(tmp_path):
    path = tmp_path / "by-hand"
    path.write_bytes(bytes.fromhex("00000b02 00000001 00000002 0102 ffff"))
    np.testing.assert_array_equal(read_idx_array(path), np.array([[258, -1]], np.int16))


@given(data=st.data())
@settings(deadline=None)
def test_damage_gives_a_format_error_or_an_array(tmp_path_factory, data):
    content = bytearray(idx_bytes(np.arange(24, dtype=np.int16).reshape(2, 3, 4)))
    if data.draw(st.booleans(), "gzip"):
        content = bytearray(gzip.compress(content))
    position = data.draw(st.integers(0, len(content) - 1), "position")
    if data.draw(st.booleans(), "truncate"):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255), "flip")
    path = tmp_path_factory.mktemp("idx") / "damaged"
    path.write_bytes(content)
    try:
        array = read_idx_array(path)
    except FileFormatError:
        return
    assert isinstance(array, np.ndarray)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"\x89PNG\r\n", "expected an IDX file"),
        (b"\0\0\x07\x01", "expected an IDX file"),
        (b"\0\0\x08\x00", "expected an IDX file"),
        (b"\0\0\x08\x03\0\0", "ends within its header"),
        (bytes.fromhex("00000801 00000003 0102"), "expected 3 bytes .* got only 2"),
        (bytes.fromhex("00000801 00000001 0102"), "expected 1 bytes .* got more"),
        (bytes.fromhex("00000803") + b"\xff" * 12 + b"x", "got only 1"),
        (bytes.fromhex("00000804 00000000") + b"\xff" * 12, "no array can have"),
        (bytes.fromhex("00000846") + b"\0\0\0\0" * 0x46, "no array can have"),
        (b"\x1f\x8b not gzip", "expected a whole gzip file"),
    ],
)
def test_each_kind_of_damage_is_named(tmp_path, content, says):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=says):
        read_idx_array(path)


def test_a_header_that_lies_reserves_no_memory(tmp_path):
    path = tmp_path / "liar.gz"
    path.write_bytes(gzip.compress(bytes.fromhex("00000803") + b"\xff" * 12 + bytes(1000)))
    tracemalloc.start()
    with pytest.raises(FileFormatError, match="got only 1000"):
        read_idx_array(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"nowhere expected a file that can be read.*No such"):
        read_idx_array(tmp_path / "nowhere")


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("gz", [False, True])
def test_a_folder_has_its_two_parts(tmp_path, dot, gz):
    X, y = write_set(tmp_path, "train", 5, dot=dot, gz=gz)
    assert is_idx_folder(tmp_path)
    assert not has_test_part(tmp_path)
    X_test, y_test = write_set(tmp_path, "t10k", 3, dot=dot, gz=gz)
    assert has_test_part(tmp_path)
    train, test = read_idx(tmp_path), read_idx(tmp_path, "test")
    assert train.kind == "images"
    assert train.X.shape == (5, 4, 3, 1)
    np.testing.assert_array_equal(train.X[..., 0], X)
    np.testing.assert_array_equal(train.y, y)
    np.testing.assert_array_equal(test.X[..., 0], X_test)
    np.testing.assert_array_equal(test.y, y_test)
    assert train.y.dtype == np.int64


def test_one_file_finds_its_labels_or_goes_without(tmp_path):
    _, y = write_set(tmp_path, "emnist-letters-train")
    path = tmp_path / "emnist-letters-train-images-idx3-ubyte"
    np.testing.assert_array_equal(read_idx(path).y, y)
    (tmp_path / "emnist-letters-train-labels-idx1-ubyte").unlink()
    assert read_idx(path).y is None


def test_plain_images_find_compressed_labels(tmp_path):
    X, y = write_set(tmp_path, "train", gz=True)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(X))
    np.testing.assert_array_equal(read_idx(tmp_path).y, y)


def test_images_and_labels_must_agree_in_number(tmp_path):
    write_set(tmp_path, "train", 5, labels=4)
    with pytest.raises(FileFormatError, match=r"expected 5 labels.*got 4"):
        read_idx(tmp_path)


def test_what_does_not_fit_is_refused(tmp_path):
    write_set(tmp_path, "train")
    with pytest.raises(InputError, match="got the file"):
        read_idx(tmp_path / "train-images-idx3-ubyte", "train")
    with pytest.raises(InputError, match="expected a file t10k-images-idx3-ubyte"):
        read_idx(tmp_path, "test")
    with pytest.raises(InputError, match="part expected one of train, test; got 'tset'"):
        read_idx(tmp_path, "tset")
    with pytest.raises(FileFormatError, match=r"expected images.*uint8 of shape \(5,\)"):
        read_idx(tmp_path / "train-labels-idx1-ubyte")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.ones(5, np.float32)))
    with pytest.raises(FileFormatError, match=r"expected labels.*float32"):
        read_idx(tmp_path)


def test_other_folders_are_not_idx(tmp_path):
    assert not is_idx_folder(tmp_path)
    assert not is_idx_folder(tmp_path / "nowhere")


@pytest.mark.data
def test_fashion_mnist():
    folder = Path(os.environ.get("LAMINA_DATA_DIR", "")) / "fashion-mnist"
    if "LAMINA_DATA_DIR" not in os.environ or not is_idx_folder(folder):
        pytest.skip("LAMINA_DATA_DIR names no folder with fashion-mnist")
    test = read_idx(folder, "test")
    assert test.X.shape == (10_000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(test.y), np.full(10, 1000))
    # The training set's mean, 0.2860, is what every Fashion-MNIST recipe normalises by.
    assert read_idx(folder).X.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
