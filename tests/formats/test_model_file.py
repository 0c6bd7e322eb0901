from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from lamina.errors import FileFormatError, InputError
from lamina.formats import model_file
from lamina.formats.model_file import read_model, write_model

DTYPES = [
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
]
DOCUMENT = {"estimator": "Perceptron", "alpha": 0.1, "classes": ["é", "\u0000", "💡"], "seed": None}
ARRAYS = {
    "dense_0/W": np.arange(6, dtype=np.float32).reshape(3, 2),
    "dense_0/b": np.array([0.5, -0.5], np.float32),
    "mask": np.array([True, False, True]),
    "scale": np.array(3.5),
    "empty": np.zeros((0, 4), np.int8),
}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def model(path) -> Path:
    write_model(path, DOCUMENT, ARRAYS)
    return path


def check_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        assert got[name].shape == array.shape, name
        assert got[name].tobytes() == array.tobytes(), name


def parts(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rewrite(path: Path, header: object, data: bytes) -> None:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def row(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict:
    return {"W": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def with_metadata(path: Path, **changes: object) -> None:
    """Change metadata by hand and seal it with the right digest again."""
    header, data = parts(path)
    metadata = header["__metadata__"] | changes
    del metadata["sha256"]
    metadata["sha256"] = model_file._digest(metadata, load_file(path))
    header["__metadata__"] = metadata
    rewrite(path, header, data)


def test_a_model_comes_back_as_it_was(model):
    document, arrays = read_model(model)
    assert document == DOCUMENT
    check_same(arrays, ARRAYS)
    for array in arrays.values():
        assert type(array) is np.ndarray
        assert array.flags.writeable
        assert array.flags.owndata


arrays_of_any_kind = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter("__metadata__".__ne__),
    st.sampled_from(DTYPES).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
    ),
    max_size=4,
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(arrays=arrays_of_any_kind, document=st.dictionaries(st.text(), json_values, max_size=3))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_array_and_document_comes_back(tmp_path_factory, arrays, document):
    path = tmp_path_factory.mktemp("models") / "m.safetensors"
    write_model(path, document, arrays)
    got_document, got_arrays = read_model(path)
    assert got_document == document
    check_same(got_arrays, arrays)
    check_same(load_file(path), arrays)  # the format's own reader is the witness


def test_arrays_in_other_orders_of_memory_and_bytes(path):
    W = np.arange(12, dtype=np.float64).reshape(3, 4)
    write_model(path, {}, {"T": W.T, "big": W.astype(">f8"), "strided": W[:, ::2]})
    arrays = read_model(path)[1]
    check_same(arrays, {"T": W.T.copy(), "big": W, "strided": W[:, ::2].copy()})


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    again = tmp_path / "again.safetensors"
    write_model(again, DOCUMENT, dict(reversed(ARRAYS.items())))
    assert again.read_bytes() == model.read_bytes()


def test_the_file_is_as_documented(model):
    with safetensors.safe_open(model, framework="np") as file:
        metadata = file.metadata()
    assert json.loads(metadata["lamina"]) == DOCUMENT
    assert metadata["format_version"] == "1"
    assert set(metadata) == {"lamina", "format_version", "lamina_version", "sha256"}
    assert int.from_bytes(model.read_bytes()[:8], "little") % 8 == 0
    header, _ = parts(model)
    for name, row in header.items():
        if name != "__metadata__":
            assert row["data_offsets"][0] % ARRAYS[name].dtype.itemsize == 0  # aligned


def test_nothing_but_the_model_is_left_and_it_replaces_what_was_there(model):
    write_model(model, {"second": True}, {})
    assert read_model(model) == ({"second": True}, {})
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left"), InputError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_failure_leaves_the_old_model(model, monkeypatch, failing, error, raised):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(raised):
        write_model(model, {"second": True}, {})
    assert read_model(model)[0] == DOCUMENT
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_others_may_read_the_file_as_the_umask_says(model):
    umask = os.umask(0)
    os.umask(umask)
    assert model.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("document", "arrays", "says"),
    [
        ({"loss": float("nan")}, {}, "document expected what JSON can hold"),
        ({"loss": float("inf")}, {}, "document expected what JSON can hold"),
        ({"seed": np.int64(3)}, {}, "document expected what JSON can hold"),
        ({}, {"W": np.ones(2, complex)}, "W expected bool.*got complex128"),
        ({}, {"W": np.array(["a"])}, "W expected bool.*got <U1"),
        ({}, {"W": np.array([None])}, "W expected bool.*got object"),
        ({}, {"": np.ones(2)}, "arrays expected names"),
        ({}, {"__metadata__": np.ones(2)}, "arrays expected names"),
    ],
)
def test_what_cannot_be_written_is_refused(path, document, arrays, says):
    with pytest.raises(InputError, match=says):
        write_model(path, document, arrays)
    assert list(path.parent.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="expected a place that can be written to"):
        write_model(tmp_path, {}, {})
    assert list(tmp_path.parent.glob(".*.part")) == []
    with pytest.raises(InputError, match=r"got: No such file or directory\. Choose another"):
        write_model(tmp_path / "nowhere" / "m", {}, {})


def test_a_missing_file_names_its_neighbour(model):
    with pytest.raises(InputError, match=r"No such file.*Did you mean 'model\.safetensors'\?"):
        read_model(model.with_name("modle.safetensors"))
    with pytest.raises(InputError, match="expected a file that can be read") as caught:
        read_model(model.parent)
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        read_model(model.parent / "nowhere" / "m")


def zip_bytes(tmp_path: Path) -> bytes:
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("data.pkl", "x")
    return (tmp_path / "z").read_bytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda _: b"", "got an empty file"),
        (zip_bytes, "got a zip archive"),
        (lambda _: pickle.dumps({"W": [1.0] * 9}), "got a pickle"),
        (lambda _: pickle.dumps({"W": [1.0] * 9}, 2), "got a pickle"),
        (lambda _: b"\x89HDF\r\n\x1a\n" + bytes(99), "got an HDF5 file"),
        (lambda _: b"\x1f\x8b" + bytes(99), "got a gzip file"),
        (lambda _: b'{"a": [{}, {}, 3]}', "got JSON"),
        (lambda _: b"what is this, a text?", r"got something else"),
        (lambda _: b"\x10\0\0", r"got something else"),
    ],
)
def test_a_foreign_file_is_named_for_what_it_is(path, tmp_path, content, says):
    path.write_bytes(content(tmp_path))
    with pytest.raises(FileFormatError, match=says):
        read_model(path)


def test_a_model_of_another_library(path):
    for metadata in (None, {"format": "pt"}):
        save_file({"W": np.ones(2)}, path, metadata)
        with pytest.raises(FileFormatError, match="without Lamina's document"):
            read_model(path)
    rewrite(path, row(dtype="BF16", shape=[2]), b"1234")  # of a type that NumPy does not have
    with pytest.raises(FileFormatError, match="without Lamina's document"):
        read_model(path)


@pytest.mark.parametrize("keep", [-1, 300, 12])
def test_a_truncated_model(model, keep):
    content = model.read_bytes()
    model.write_bytes(content[:keep])
    with pytest.raises(FileFormatError, match=r"got a damaged or truncated one.*again"):
        read_model(model)


def test_bytes_after_the_end(model):
    model.write_bytes(model.read_bytes() + b"x")
    with pytest.raises(FileFormatError, match="damaged"):
        read_model(model)


@pytest.mark.parametrize(
    "edit",
    [
        lambda header, data: (header, data[:-1] + bytes([data[-1] ^ 1])),
        lambda header, data: (
            json.loads(json.dumps(header).replace("dense_0/W", "dense_1/W")),
            data,
        ),
        lambda header, data: (json.loads(json.dumps(header).replace("Perceptron", "Linear")), data),
        lambda header, data: (json.loads(json.dumps(header).replace("[3, 2]", "[2, 3]")), data),
        lambda header, data: (json.loads(json.dumps(header).replace('"F64"', '"I64"')), data),
        lambda header, data: (
            header | {"new": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}},
            data,
        ),
    ],
)
def test_an_edited_model(model, edit):
    rewrite(model, *edit(*parts(model)))
    with pytest.raises(FileFormatError, match="was changed after it was written"):
        read_model(model)


def test_a_newer_format_asks_for_an_upgrade(model):
    with_metadata(model, format_version="2", lamina_version="9.1.0", lamina="<not even JSON>")
    with pytest.raises(FileFormatError, match=r"written by Lamina 9\.1\.0 in format 2;.*Upgrade"):
        read_model(model)


def test_an_older_format_is_migrated_or_refused(model, monkeypatch):
    with_metadata(model, format_version="0", lamina_version="0.0.1")
    with pytest.raises(
        FileFormatError, match=r"written by Lamina 0\.0\.1 in format 0;.*no longer reads"
    ):
        read_model(model)
    monkeypatch.setitem(
        model_file.MIGRATIONS,
        0,
        lambda document, arrays: ({**document, "new": 1}, {"W": arrays["mask"]}),
    )
    document, arrays = read_model(model)
    assert document == {**DOCUMENT, "new": 1}
    check_same(arrays, {"W": ARRAYS["mask"]})


@pytest.mark.parametrize(
    "changes",
    [
        {"lamina": '{"a": '},
        {"lamina": "[1, 2]"},
        {"lamina": '{"a": NaN}'},
        {"lamina": "[" * 100_000},
        {"format_version": "one"},
    ],
)
def test_a_broken_document(model, changes):
    with_metadata(model, **changes)
    with pytest.raises(FileFormatError, match="damaged document"):
        read_model(model)


@pytest.mark.parametrize(
    "rows",
    [
        row(shape=[1 << 38], offsets=[0, 1 << 40]),
        row(shape=[1 << 38], offsets=[0, 4]),
        row(shape=[1 << 62, 1 << 62]),
        row(shape=[0, 1 << 62, 1 << 62], offsets=[0, 0]),
        row(shape=[0] * 70, offsets=[0, 0]),
        row(shape=[1 << 40, [0]]),
        row(offsets=[4, 0]),
        row(offsets=[-4, 4]),
        row(offsets=["a", "b"]),
        row(offsets=[0]),
        row(dtype="BF16", shape=[2]),
        row(dtype="F8_E4M3", shape=[4]),
        row(dtype=[]),
        {"W": 3},
        {"__metadata__": {"lamina": ["not", "text"]}},
    ],
)
def test_headers_that_lie_reserve_no_memory(model, rows):
    header, _ = parts(model)
    rewrite(model, {"__metadata__": header["__metadata__"], **rows}, b"1234")
    tracemalloc.start()
    try:
        # With JAX imported, NumPy knows the 8-bit floats, and the digest is what refuses them.
        with pytest.raises(FileFormatError, match=r"damaged or truncated one|was changed after"):
            read_model(model)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("header", [b"{", b"{not json}", b'{"a":' * 50_000, b"{\xff\xfe}"])
def test_headers_that_are_not_json(model, header):
    rewrite(model, header, b"")
    with pytest.raises(FileFormatError, match="damaged"):
        read_model(model)


def test_a_header_length_of_terabytes(model):
    content = model.read_bytes()
    model.write_bytes((1 << 42).to_bytes(8, "little") + content[8:])
    with pytest.raises(FileFormatError, match="header too large"):
        read_model(model)


@given(data=st.data())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None
)
def test_damage_anywhere_is_found(model, data):
    whole = model.read_bytes()
    content = bytearray(whole)
    position = data.draw(st.integers(0, len(content) - 1), "position")
    if data.draw(st.booleans(), "truncate"):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255), "flip")
    damaged = model.with_name("damaged")
    damaged.write_bytes(content)
    try:
        document, arrays = read_model(damaged)
    except FileFormatError:
        return
    assert document == DOCUMENT
    check_same(arrays, ARRAYS)


def test_the_digest_by_hand(path):
    write_model(path, {"a": 1}, {"b": np.array([1], "<u2")})
    metadata = parts(path)[0]["__metadata__"]
    texts = {name: metadata[name] for name in ("format_version", "lamina", "lamina_version")}
    content = json.dumps(texts).encode() + b'["b", "uint16", [1]]' + b"\x01\x00"
    assert metadata["sha256"] == hashlib.sha256(content).hexdigest()
