"""NumPy's files: their layouts, and the damage and malice that must end in one clear error."""

import contextlib
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import FileFormatError, InputError
from lamina.formats.arrays import has_test_arrays, read_npz

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 1, 0])
IMAGES = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    return save


def npy(array_or_header, body=b""):
    """Return the bytes of a ``.npy``: of an array, or a header of our own making with a body."""
    stream = io.BytesIO()
    if isinstance(array_or_header, dict):
        np.lib.format.write_array_header_1_0(stream, array_or_header)
        stream.write(body)
    else:
        np.lib.format.write_array(stream, array_or_header)
    return stream.getvalue()


def archive(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("inputs", ["X", "x", "data", "images"])
@pytest.mark.parametrize("targets", ["y", "target", "labels"])
def test_names(save, inputs, targets):
    dataset = read_npz(save(**{inputs: X, targets: Y, "other": np.zeros(3)}))
    np.testing.assert_array_equal(dataset.X, X)
    np.testing.assert_array_equal(dataset.y, Y)
    assert dataset.kind == "array"


def test_compressed_and_without_targets(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", X=X)
    dataset = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(dataset.X, X)
    assert dataset.y is None
    assert dataset.source == str(tmp_path / "a.npz")


def test_highly_compressible_data_is_no_attack(tmp_path):
    zeros = np.zeros((1000, 2000))
    np.savez_compressed(tmp_path / "a.npz", X=zeros)
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz").X, zeros)


def test_npy_holds_inputs_alone(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(X))
    dataset = read_npz(tmp_path / "a.npy")
    np.testing.assert_array_equal(dataset.X, X)
    assert dataset.y is None
    with pytest.raises(InputError, match="expected to hold a test part"):
        read_npz(tmp_path / "a.npy", "test")


def test_parts(save):
    path = save(x_train=X, y_train=Y, x_test=X[:1] + 1, y_test=Y[:1] + 1)
    assert has_test_arrays(path)
    for part in (None, "train"):
        np.testing.assert_array_equal(read_npz(path, part).X, X)
        np.testing.assert_array_equal(read_npz(path, part).y, Y)
    np.testing.assert_array_equal(read_npz(path, "test").X, X[:1] + 1)
    np.testing.assert_array_equal(read_npz(path, "test").y, [1])
    with pytest.raises(InputError, match="part expected one of train, test; got 'tests'"):
        read_npz(path, "tests")


def test_no_parts(save):
    path = save(X=X, y=Y)
    assert not has_test_arrays(path)
    assert len(read_npz(path, "train")) == 4
    with pytest.raises(InputError, match=r"hold a test part, got a source without one.*part out"):
        read_npz(path, "test")


def test_whole_and_test_part_side_by_side(save):
    path = save(X=X, y=Y, X_test=X[:2], y_test=Y[:2])
    assert len(read_npz(path)) == 4
    assert len(read_npz(path, "test")) == 2


@pytest.mark.parametrize(
    ("stored", "kind", "shape"),
    [
        (IMAGES, "images", (4, 2, 3, 1)),
        (IMAGES[..., None], "images", (4, 2, 3, 1)),
        (IMAGES[..., None] / np.float32(255), "images", (4, 2, 3, 1)),
        (IMAGES.reshape(4, 6), "array", (4, 6)),
        (X > 2, "array", (4, 3)),
        (X.astype(">f4"), "array", (4, 3)),
    ],
)
def test_kinds(save, stored, kind, shape):
    dataset = read_npz(save(X=stored))
    assert dataset.kind == kind
    assert dataset.X.shape == shape
    assert dataset.X.dtype == stored.dtype
    np.testing.assert_array_equal(dataset.X.ravel(), stored.ravel())


@pytest.mark.parametrize(
    "stored",
    [
        X.astype(str),
        IMAGES.astype(int),
        IMAGES.astype(float),
        X[0],
        np.float64(3),
        X[None, None, None],
    ],
)
def test_other_inputs_are_refused(save, stored):
    with pytest.raises(InputError, match=r"expected X as numbers of shape \(n, m\).*got .* shape"):
        read_npz(save(X=stored))


def test_targets(save):
    np.testing.assert_array_equal(read_npz(save(X=X, y=Y[:, None])).y, Y)
    np.testing.assert_array_equal(read_npz(save(X=X, y=X)).y, X)
    assert read_npz(save(X=X, y=np.array(list("abca")))).y.tolist() == list("abca")
    for wrong in (Y[:3], np.int64(3), np.zeros((4, 1, 1)), np.zeros((3, 4))):
        with pytest.raises(InputError, match=r"each of the 4 rows of X, got y of shape \("):
            read_npz(save(X=X, y=wrong))
    with pytest.raises(InputError, match="at least one sample"):
        read_npz(save(X=X[:0], y=Y[:0]))


def test_pickles_are_refused_unopened(tmp_path, save):
    for arrays in ({"X": X.astype(object)}, {"X": X, "y": np.array([{}, 1, 2, 3])}):
        with pytest.raises(FileFormatError, match=r"pickled Python objects.*refused"):
            read_npz(save(**arrays))
    np.save(tmp_path / "a.npy", X.astype(object))
    with pytest.raises(FileFormatError, match="pickled Python objects"):
        read_npz(tmp_path / "a.npy")
    records = np.zeros(4, [("a", float), ("b", object)])
    with pytest.raises(FileFormatError, match="pickled Python objects"):
        read_npz(save(X=records))
    with pytest.raises(FileFormatError, match=r"a\.npz: X expected numbers or text, got \[\('é'"):
        read_npz(save(X=records[["a"]].astype([("é", float)])))


def test_names_found_are_listed(save):
    with pytest.raises(FileFormatError) as caught:
        read_npz(save(inputs=X, outputs=Y))
    for words in ("named X, x, data, images or x_train", "got inputs, outputs", "np.savez"):
        assert words in str(caught.value)
    with pytest.raises(FileFormatError, match="got no arrays"):
        read_npz(save())
    with pytest.raises(FileFormatError, match="x_test, got x_train"):
        read_npz(save(x_train=X), "test")


def test_paths_that_cannot_be_read(tmp_path):
    for name in ("no.npz", "no.npy"):
        with pytest.raises(InputError, match="No such file"):
            read_npz(tmp_path / name)
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match="directory"):
            read_npz(tmp_path / name)


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_every_truncation_is_refused(tmp_path, compress):
    compress(tmp_path / "a.npz", X=X, y=Y)
    content = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "a.npz").write_bytes(content[:length])
        with pytest.raises(FileFormatError, match=r"a\.npz expected .*again"):
            read_npz(tmp_path / "a.npz")


def test_every_truncated_npy_is_refused(tmp_path):
    content = npy(X)
    for length in range(len(content)):
        (tmp_path / "a.npy").write_bytes(content[:length])
        with pytest.raises(FileFormatError, match=r"a\.npy expected"):
            read_npz(tmp_path / "a.npy")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flipped_bytes_never_raise_anything_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("a") / data.draw(st.sampled_from(["a.npz", "a.npy"]))
    if path.suffix == ".npz":
        np.savez_compressed(path, X=X, y=Y)
    else:
        np.save(path, X)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read_npz(path)


HUGE = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 3)}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_claims_terabytes_allocates_nothing(tmp_path, compression):
    hostile = npy(HUGE, bytes(64))
    path = archive(tmp_path / "a.npz", compression, X=hostile)
    (tmp_path / "a.npy").write_bytes(hostile)
    tracemalloc.start()
    try:
        for attack in (path, tmp_path / "a.npy"):
            with pytest.raises(FileFormatError, match=r"26,388,279,066,624 bytes.*got 64\. "):
                read_npz(attack)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_directory_that_claims_terabytes_allocates_nothing(tmp_path):
    """The archive's directory repeats the header's lie: no deflate stream can grow that much."""
    shape = (400_000_000, 1)  # 3.2 GB, below the 4 GiB that the directory's four bytes can say
    hostile = npy({"descr": "<f8", "fortran_order": False, "shape": shape}, bytes(64))
    path = archive(tmp_path / "a.npz", X=hostile)
    content = bytearray(path.read_bytes())
    claim = struct.pack("<I", len(hostile) - 64 + 8 * shape[0])
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + offset
        content[at : at + 4] = claim
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="damaged, or made to fill memory"):
            read_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_member_longer_than_its_archive_is_refused(tmp_path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (10_000, 1)}
    path = archive(tmp_path / "a.npz", zipfile.ZIP_STORED, X=npy(header, bytes(64)))
    content = bytearray(path.read_bytes())
    claim = struct.pack("<I", len(npy(header)) + 10_000)
    for signature, offset in ((b"PK\x03\x04", 18), (b"PK\x01\x02", 20)):
        at = content.index(signature) + offset
        content[at : at + 8] = claim * 2
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="as NumPy writes it"):
        read_npz(path)


@pytest.mark.parametrize("shape", [(-4, 3), (-4, -3), (4, 2**70), (2**62, 0), (1,) * 70])
def test_impossible_shapes_are_refused(tmp_path, shape):
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    for size in (0, 1, 12):
        path = archive(tmp_path / "a.npz", X=npy(header, bytes(size)))
        with pytest.raises(InputError, match="expected"):
            read_npz(path)


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\x93NUMPY\x03\x00", b"\x93NUMPY\x01\x00\x10\x00{'descr': '((((',\n"]
)
def test_headers_that_are_none(tmp_path, content):
    with pytest.raises(FileFormatError, match="as NumPy writes it"):
        read_npz(archive(tmp_path / "a.npz", X=content))


def test_trailing_bytes_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"expected 96 bytes.*got 97"):
        read_npz(archive(tmp_path / "a.npz", X=npy(X) + b"\0"))


def test_other_compressions_and_encryption_are_refused(tmp_path):
    path = archive(tmp_path / "a.npz", X=npy(X))
    content = bytearray(path.read_bytes())
    for flag, method in ((1, 8), (0, 99)):
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = content.index(signature) + offset
            content[at], content[at + 2] = flag, method
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"encrypted|compression"):
            read_npz(path)


def test_memory_that_is_not_there(tmp_path, save, monkeypatch):
    def full(*args, **options):
        raise MemoryError

    path = save(X=X)
    monkeypatch.setattr(np.lib.format, "read_array", full)
    with pytest.raises(InputError, match=r"a\.npz: X expected 0\.0 GiB of free memory"):
        read_npz(path)
