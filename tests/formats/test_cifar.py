from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import FileFormatError, InputError
from lamina.formats.cifar import has_test_part, is_cifar, read_cifar

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def made_up(n: int, seed: int = 0, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, classes, n)


def planes(X: np.ndarray) -> np.ndarray:
    return np.stack([np.concatenate([x[..., c].ravel() for c in range(3)]) for x in X])


def binary(X: np.ndarray, y: np.ndarray, coarse: int | None = None) -> bytes:
    prefix = b"" if coarse is None else bytes([coarse])
    return b"".join(
        prefix + bytes([k]) + row.tobytes() for row, k in zip(planes(X), y, strict=True)
    )


def python2(X: np.ndarray, y: np.ndarray) -> bytes:
    """A batch as Python 2's cPickle wrote it: protocol 2, str as SHORT_BINSTRING and BINSTRING."""

    def short(text: str) -> bytes:
        return b"U" + bytes([len(text)]) + text.encode()

    data = planes(X).tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short("b") + b"\x87R"
        b"(K\x01J" + len(X).to_bytes(4, "little") + b"M\x00\x0c\x86"
        b"cnumpy\ndtype\n" + short("u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + short("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + len(data).to_bytes(4, "little") + data + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([k]) for k in y) + b"e"
    return b"\x80\x02}(" + short("data") + array + short("labels") + labels + b"u."


def batches(kind: str, n: int = 3) -> dict[str, bytes]:
    """The files of a small set; batch i of CIFAR-10 is made up from seed i, the test from 6."""
    files = {}
    for i in range(1, 7):
        X, y = made_up(n, i)
        stem = "test_batch" if i == 6 else f"data_batch_{i}"
        if kind == "binary":
            files[f"{stem}.bin"] = binary(X, y)
        else:
            files[stem] = python2(X, y)
    if kind == "binary":
        files["batches.meta.txt"] = "\n".join([*NAMES, "", ""]).encode()
    else:
        meta = {b"label_names": [name.encode() for name in NAMES], b"num_vis": 3072}
        files["batches.meta"] = pickle.dumps(meta, 2)
    return files


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def check_train_and_test(path: Path, n: int = 3) -> None:
    assert is_cifar(path)
    assert has_test_part(path)
    parts = [made_up(n, i) for i in range(1, 7)]
    train, test = read_cifar(path), read_cifar(path, "test")
    assert train.kind == "images"
    assert train.X.dtype == np.uint8
    np.testing.assert_array_equal(train.X, np.concatenate([X for X, _ in parts[:5]]))
    np.testing.assert_array_equal(
        train.y, np.array(NAMES)[np.concatenate([y for _, y in parts[:5]])]
    )
    np.testing.assert_array_equal(test.X, parts[5][0])
    np.testing.assert_array_equal(test.y, np.array(NAMES)[parts[5][1]])


@pytest.mark.parametrize("kind", ["binary", "python"])
def test_a_folder(tmp_path, kind):
    check_train_and_test(write(tmp_path, batches(kind)))


@pytest.mark.parametrize("kind", ["binary", "python"])
def test_an_archive_is_read_without_unpacking(tmp_path, kind):
    files = {f"cifar/{name}": content for name, content in batches(kind).items()}
    check_train_and_test(write_tar(tmp_path / "any.tar.gz", files))
    assert [path.name for path in tmp_path.iterdir()] == ["any.tar.gz"]


@pytest.mark.parametrize("inside", ["folder", "archive"])
def test_a_folder_that_holds_the_published_folder_or_archive(tmp_path, inside):
    if inside == "folder":
        write(tmp_path / "cifar-10-batches-bin", batches("binary"))
    else:
        write_tar(tmp_path / "cifar-10-binary.tar.gz", batches("binary"))
    check_train_and_test(tmp_path)


def test_one_pixel_by_hand(tmp_path):
    record = bytearray(3073)
    record[0] = 7
    record[1 + 2048 + 32 * 5 + 4] = 99  # third plane: blue; row 5, column 4
    write(tmp_path, {"test_batch.bin": bytes(record)})
    data = read_cifar(tmp_path / "test_batch.bin")
    assert data.X[0, 5, 4, 2] == 99
    assert data.X.sum() == 99
    np.testing.assert_array_equal(data.y, [7])


def test_cifar_100_gives_fine_labels(tmp_path):
    X, y = made_up(4, classes=100)
    names = [f"class_{k}" for k in range(100)]
    write(tmp_path, {"train.bin": binary(X, y, coarse=19)})
    assert is_cifar(tmp_path)
    assert not has_test_part(tmp_path)
    np.testing.assert_array_equal(read_cifar(tmp_path).y, y)
    write(tmp_path, {"fine_label_names.txt": "\n".join(names).encode()})
    data = read_cifar(tmp_path)
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, np.array(names)[y])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("as_array", [False, True])
def test_batches_pickled_again_by_python_3(tmp_path, protocol, as_array):
    X, y = made_up(3)
    document = {b"data": planes(X), "labels": y if as_array else y.tolist()}
    write(tmp_path, {"data_batch_1": pickle.dumps(document, protocol)})
    data = read_cifar(tmp_path / "data_batch_1")
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, y)


def test_an_array_in_fortran_order(tmp_path):
    X, y = made_up(3)
    document = {b"data": np.asfortranarray(planes(X)), b"labels": y.tolist()}
    write(tmp_path, {"data_batch_1": pickle.dumps(document)})
    np.testing.assert_array_equal(read_cifar(tmp_path / "data_batch_1").X, X)


class Runs:
    """A pickle of this asks to run ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("evil", "named"),
    [
        (lambda mark: Runs(__import__("os").system, f"touch {mark}"), "posix.system|nt.system"),
        (lambda mark: Runs(eval, f"open({str(mark)!r}, 'w')"), r"(__builtin__|builtins)\.eval"),
        (lambda mark: Runs(Path.touch, mark), r"pathlib|builtins\.getattr|__builtin__\.getattr"),
        (lambda mark: Runs(np.load, mark), r"numpy\.load"),
        (lambda mark: np.float64(3), r"multiarray\.scalar"),
    ],
)
def test_a_pickle_that_asks_to_run_something_is_refused(tmp_path, evil, named, protocol):
    mark = tmp_path / "it-ran"
    X, y = made_up(2)
    document = {b"data": planes(X), b"labels": y.tolist(), b"extra": evil(mark)}
    write(tmp_path, {"data_batch_1": pickle.dumps(document, protocol)})
    with pytest.raises(FileFormatError, match=f"asks to run .*({named}).*; refused"):
        read_cifar(tmp_path / "data_batch_1")
    assert not mark.exists()


def test_the_names_file_may_not_run_anything_either(tmp_path):
    mark = tmp_path / "it-ran"
    files = batches("python")
    files["batches.meta"] = pickle.dumps({b"label_names": Runs(eval, f"open({str(mark)!r}, 'w')")})
    write(tmp_path, files)
    with pytest.raises(FileFormatError, match="asks to run"):
        read_cifar(tmp_path)
    assert not mark.exists()


def raw_array(shape: str, dtype: str = "u1", content: str = "C\x03abc") -> bytes:
    return (
        "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        f"(I1\n{shape}cnumpy\ndtype\n(S'{dtype}'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n{content}tb"
    ).encode("latin1")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({b"data": np.array([{}, []], object), b"labels": [0, 1]}), "array of O8"),
        (pickle.dumps({b"data": np.zeros(2, "f8"), b"labels": [0, 1]}), "array of f8"),
        (pickle.dumps({b"data": np.zeros((2, 5), "u1"), b"labels": [0, 1]}), "3072 uint8"),
        (pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": [0, 1]}), "2 labels"),
        (pickle.dumps({b"data": np.zeros((0, 3072), "u1"), b"labels": []}), "0 labels"),
        (pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": [10]}), "from 0 to 9"),
        (pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": ["a"]}), "and labels"),
        (pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": [[1]]}), "and labels"),
        (pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": [9**99]}), "from 0 to 9"),
        (pickle.dumps([1, 2]), "expected a dictionary; got list"),
        (pickle.dumps({}), "expected an array of data"),
        (b"", "damaged pickle"),
        (b"\x80\x02not a pickle", "damaged pickle"),
        (b"\x80\x02}P9\n.", "damaged pickle"),
        # Lengths, indices and shapes that claim gigabytes.
        (b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x.", "damaged pickle"),
        (b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.", "damaged pickle"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "fill memory"),
        (b"}" * 1_100_000 + b".", "fill memory"),
        (b"\x80\x02" + raw_array("(I1000000000000\nt") + b".", "damaged pickle"),
        (b"\x80\x02" + raw_array("(I3\nt", "O8") + b".", "array of O8"),
        (b"\x80\x02" + raw_array("(I3\nt", content="](e") + b".", "damaged pickle"),
    ],
)
def test_damaged_and_hostile_pickles(tmp_path, content, says):
    write(tmp_path, {"data_batch_1": content})
    with pytest.raises(FileFormatError, match=says):
        read_cifar(tmp_path / "data_batch_1")


@given(data=st.data())
@settings(deadline=None)
def test_damage_gives_a_format_error_or_a_set(tmp_path_factory, data):
    content = bytearray(python2(*made_up(1)))
    outside = [i for i in range(len(content)) if not 160 < i < 3150]  # not a pixel
    position = data.draw(st.sampled_from(outside), "position")
    if data.draw(st.booleans(), "truncate"):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255), "flip")
    path = tmp_path_factory.mktemp("cifar") / "data_batch_1"
    path.write_bytes(content)
    try:
        got = read_cifar(path)
    except FileFormatError:
        return
    assert got.X.shape == (1, 32, 32, 3)


def test_damaged_binary_batches(tmp_path):
    content = binary(*made_up(2))
    for damaged in (content[:-1], b""):
        write(tmp_path, {"data_batch_1.bin": damaged})
        with pytest.raises(FileFormatError, match="whole records of 3073 bytes"):
            read_cifar(tmp_path / "data_batch_1.bin")
    write(tmp_path, {"data_batch_1.bin": b"\x0a" + content[1:]})
    with pytest.raises(FileFormatError, match="labels from 0 to 9"):
        read_cifar(tmp_path / "data_batch_1.bin")


def test_missing_batches_and_parts_are_named(tmp_path):
    files = batches("binary")
    del files["data_batch_3.bin"], files["test_batch.bin"]
    write(tmp_path, files)
    assert not has_test_part(tmp_path)
    with pytest.raises(InputError, match=r"expected the batch data_batch_3\.bin as well"):
        read_cifar(tmp_path)
    with pytest.raises(InputError, match=r"expected the batch test_batch\.bin as well"):
        read_cifar(tmp_path, "test")
    with pytest.raises(InputError, match="part expected a folder"):
        read_cifar(tmp_path / "data_batch_1.bin", "train")
    with pytest.raises(InputError, match="part expected one of train, test"):
        read_cifar(tmp_path, "valid")
    write(tmp_path, {"batches.meta.txt": b"cat dog"})
    with pytest.raises(FileFormatError, match="expected 10 class names"):
        read_cifar(tmp_path / "data_batch_1.bin")


def test_other_paths_are_not_cifar(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    write(tmp_path, {"notes.txt": b"", "broken.tar.gz": b"\x1f\x8b"})
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "broken.tar.gz", tmp_path / "none"):
        assert not is_cifar(path)
        assert not has_test_part(path)
    with pytest.raises(InputError, match="expected batches of CIFAR-10 or CIFAR-100; got none"):
        read_cifar(tmp_path)
    with pytest.raises(InputError, match="expected a CIFAR folder, archive or batch"):
        read_cifar(tmp_path / "none")


def test_a_truncated_archive_is_named(tmp_path):
    path = write_tar(tmp_path / "cifar-10-binary.tar.gz", batches("binary"))
    path.write_bytes(path.read_bytes()[:-2000])
    assert is_cifar(path)
    with pytest.raises(FileFormatError, match="expected a whole gzip file"):
        read_cifar(path)


def test_path_tricks_and_links_in_an_archive_are_harmless(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(binary(*made_up(1, 42)))
    path = tmp_path / "tricks.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, link in (("data_batch_1.bin", str(secret)), ("test_batch.bin", "../secret")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
        for name, content in batches("binary").items():
            member = tarfile.TarInfo(f"../../{tmp_path}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    check_train_and_test(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"secret", "tricks.tar.gz"}


def test_a_file_too_large_to_be_a_batch_is_not_read(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    with path.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(FileFormatError, match="expected at most"):
        read_cifar(path)
