"""Files from strangers: damaged, or made to fill memory, they end in one clear error."""

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.strangers import STRANGERS
from lamina.errors import FileFormatError, InputError
from lamina.formats import files
from lamina.formats.read import read

TOKENS = (
    *(bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 7, b"\n", b",", b":", b'"', b"null", b"-1", b"{}"),
    *(b"1e999", b"NaN", b"9" * 20, b"9" * 5000, b"[" * 2000, "é".encode("latin-1"), "ſ".encode()),
)
EDITS = st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.sampled_from(TOKENS) | st.binary())


@cache
def valid(kind):
    """Return files of this kind that can be read; made once."""
    return STRANGERS[kind].valid()


def damaged(content, edits):
    """Return the content with pieces of it replaced: where, how many bytes, by what."""
    for place, length, piece in edits:
        place %= len(content) + 1
        content = content[:place] + piece + content[place + length :]
    return content


@pytest.fixture(scope="module", autouse=True)
def _compiled(compiled_programs):
    """Networks of checkpoints compile once."""


@pytest.mark.parametrize("kind", STRANGERS)
def test_valid_files_are_read(kind, tmp_path):
    for content in valid(kind):
        assert STRANGERS[kind].try_with(content, tmp_path) is None


@pytest.mark.parametrize("kind", STRANGERS)
def test_damaged_files_are_refused_or_read(kind, tmp_path):
    slow = kind in ("checkpoint", "csv", "csv.gz", "onnx", "parquet")

    @settings(
        max_examples=25 if slow else 60,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 9), st.lists(EDITS, min_size=1, max_size=4))
    def refused_or_read(sample, edits):
        samples = valid(kind)
        STRANGERS[kind].try_with(damaged(samples[sample % len(samples)], edits), tmp_path)

    refused_or_read()


def npy_header(text, data=bytes(18)):
    head = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


FOUND = {
    "npy": npy_header("{'descr': '|u1', B'fortran_order': False, 'shape': (2, 3, 3)}"),
    "npy of nothing": npy_header(
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {10**30})}}", b""
    ),
    "ts": STRANGERS["ts"].valid()[0].replace(b"@dimensions 2", b"@dimensions " + b"9" * 5000),
}
"""What fuzzing has found: these ended in a traceback once."""


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once(name, tmp_path):
    error = STRANGERS[name.split()[0]].try_with(FOUND[name], tmp_path)
    assert isinstance(error, FileFormatError)


def test_a_table_with_damaged_metadata(tmp_path):
    content = STRANGERS["parquet"].valid()[0]
    at = content.index(b'{"index_columns"')
    content = content[:at] + b"!" + content[at + 1 :]
    assert isinstance(STRANGERS["parquet"].try_with(content, tmp_path), FileFormatError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("best", {}), ("best", {"loss": "low", "step": 0}), ("history", {"loss": ["a"]}),
        ("history", [1]), ("history", {"loss": [1.0], "epoch": []}), ("callbacks", [{}]),
        ("callbacks", None), ("identity", 3), ("identity", {}), ("stopped", "no"), ("step", "1"),
    ],
)  # fmt: skip
def test_a_checkpoint_with_parts_of_other_types(name, value, tmp_path):
    import json

    document, arrays = json.loads(valid("checkpoint")[0])
    content = json.dumps([{**document, name: value}, arrays]).encode()
    error = STRANGERS["checkpoint"].try_with(content, tmp_path)
    assert (error is None) == (value == {} and name == "best")
    assert error is None or "step-" in str(error)


# Files that claim more than they hold, or hold far more than they are


@pytest.fixture
def little_memory(monkeypatch):
    """Let files unpack to 1 MB at most, and assert that no more than some of that is taken."""
    monkeypatch.setattr(files, "ALWAYS_UNPACKED", 1_000_000)
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # of 50; ten are what 50 kB may unpack to


def bomb(head, size):
    """Return gzip of ``head`` and so many equal bytes: a thousandth of that."""
    return gzip.compress(head + b"0" * size, mtime=0)


def zipped(size, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (size // 1000, 1000)}
    with zipfile.ZipFile(file, "w", method) as archive, archive.open("X.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(size))
    return file.getvalue()


def tar_with(name, size, kind=tarfile.REGTYPE):
    """Return an archive whose first member claims to be so long, and has 100 kB."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT) + b"a" * 102_400


SIZE = 50_000_000
BATCH = "cifar-10-batches-bin/data_batch_1.bin"
BOMBS = {
    "npz": ("a.npz", lambda: zipped(SIZE), "made to fill memory"),
    "npz, lzma": ("a.npz", lambda: zipped(10_000, zipfile.ZIP_LZMA), "stored or deflated"),
    "idx": (
        "a-idx3-ubyte.gz",
        lambda: bomb(struct.pack(">4B3I", 0, 0, 8, 3, SIZE // 100, 10, 10), SIZE),
        "made to fill memory",
    ),
    "one line": ("a.csv.gz", lambda: bomb(b"a,b\n1,", SIZE), "made to fill memory"),
    "archive": (
        "cifar-10-binary.tar.gz",
        lambda: gzip.compress(tar_with("a", SIZE) + bytes(SIZE)),
        "made to fill memory",
    ),
    "batch": ("cifar-10-binary.tar.gz", lambda: gzip.compress(tar_with(BATCH, 2**60)), "expected"),
    "name": (
        "cifar-10-binary.tar.gz",
        lambda: gzip.compress(tar_with("a", 2**60, tarfile.GNUTYPE_LONGNAME)),
        "expected|not a whole",
    ),
    "wav": (
        "a.wav",
        lambda: STRANGERS["wav"].valid()[0].replace(b"data", b"data" + b"\xfe" * 3),
        "cut short",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name, tmp_path, request):
    file, content, says = BOMBS[name]
    path = tmp_path / file
    path.write_bytes(content())
    request.getfixturevalue("little_memory")
    with pytest.raises(FileFormatError, match=says):
        read(path)


def test_a_parquet_file_of_one_value(tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.setattr(files, "ALWAYS_UNPACKED", 1_000_000)
    path = tmp_path / "a.parquet"
    pd.DataFrame({"a": np.zeros(500_000), "b": np.zeros(500_000)}).to_parquet(path)
    with pytest.raises(FileFormatError, match="made to fill memory"):
        read(path)


def test_a_table_with_a_million_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"{','.join(['c'] * 1_000_000)}\n{','.join(['1'] * 1_000_000)}\n")
    with pytest.raises(FileFormatError, match="at most 100,000 columns, got 1,000,000"):
        read(path)


# Paths that lead out of their folder


def test_links_and_members_that_lead_out_of_the_folder(tmp_path):
    from PIL import Image

    outside, folder = tmp_path / "outside", tmp_path / "pets"
    for place in (outside, folder / "cat", folder / "dog"):
        place.mkdir(parents=True)
    image = Image.new("RGB", (2, 2))
    for path in (outside / "secret.png", folder / "cat" / "a.png", folder / "dog" / "b.png"):
        image.save(path)
    (folder / "cat" / "link.png").symlink_to(outside / "secret.png")
    (folder / "cat" / "loop.png").symlink_to("loop.png")
    (folder / "bird").symlink_to(outside)
    (folder / "dog" / "up").symlink_to("..")
    os.mkfifo(folder / "dog" / "pipe.png")
    assert read(folder).row_names == ("cat/a.png", "dog/b.png")

    archive = tmp_path / "cifar-10-binary.tar.gz"
    content = STRANGERS["cifar"].valid()[0]
    with tarfile.open(archive, "w:gz") as out:
        for name in ("../../escaped", "/tmp/absolute"):
            out.addfile(tarfile.TarInfo(name))
        for number in range(1, 6):
            link = tarfile.TarInfo(f"x/data_batch_{number}.bin")
            link.type, link.linkname = tarfile.SYMTYPE, str(outside / "secret.png")
            out.addfile(link)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"expected batches of CIFAR|expected a file"):
        read(archive)
    with tarfile.open(archive, "w:gz") as out:
        for number in range(1, 6):
            member = tarfile.TarInfo(f"../../../data_batch_{number}.bin")
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    assert len(read(archive)) == 5
    assert {path.name for path in tmp_path.iterdir()} == before
