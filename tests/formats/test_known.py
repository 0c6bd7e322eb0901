from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import re
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.formats import known
from lamina.formats.download import RemoteFile
from lamina.formats.idx import has_test_part, read_idx
from lamina.formats.known import KNOWN_DATASETS, KnownDataset, fetch, load_bundled, locate

CONTENT = {"a.bin": b"first file", "b.bin": b"second"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, no data folder, no proxy."""
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "lamina" / "datasets"


@pytest.fixture
def no_data_dir(monkeypatch) -> None:
    monkeypatch.delenv("LAMINA_DATA_DIR", raising=False)


def register(monkeypatch, base: str, **md5s: str) -> KnownDataset:
    files = tuple(
        RemoteFile(
            name,
            f"{base}/{name}",
            md5s.get(name[0], hashlib.md5(content).hexdigest()),
            len(content),
        )
        for name, content in CONTENT.items()
    )
    made_up = KnownDataset("made-up", "A set", "2 files", "none", "http://home.invalid/", files)
    monkeypatch.setitem(known.KNOWN_DATASETS, "made-up", made_up)
    return made_up


@pytest.fixture
def served(tmp_path):
    """A web server on loopback; ``served.paths`` lists what was asked of it."""
    root = tmp_path / "served"
    root.mkdir()
    for name, content in CONTENT.items():
        (root / name).write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(root))

        def do_GET(self):
            server.paths.append(self.path)
            super().do_GET()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.paths, server.root = [], root
    server.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("no_data_dir")
def test_fetch_downloads_into_the_cache_once(served, cache, monkeypatch):
    register(monkeypatch, served.base)
    assert locate("made-up") is None
    told = []
    folder = fetch("made-up", progress=lambda *args: told.append(args))
    assert folder == cache / "made-up"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert told == [("a.bin", 10, 10), ("b.bin", 6, 6)]
    assert locate("made-up") == folder
    assert fetch("made-up") == folder
    assert served.paths == ["/a.bin", "/b.bin"]


@pytest.mark.usefixtures("no_data_dir")
def test_a_broken_off_fetch_goes_on_where_it_stood(served, cache, monkeypatch):
    register(monkeypatch, served.base)
    (served.root / "b.bin").unlink()
    with pytest.raises(InputError, match=r"b\.bin could not be reached \(File not found\)"):
        fetch("made-up")
    assert locate("made-up") is None
    (served.root / "b.bin").write_bytes(CONTENT["b.bin"])
    fetch("made-up")
    assert served.paths == ["/a.bin", "/b.bin", "/b.bin"]


@pytest.mark.usefixtures("no_data_dir")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"FIRST FILE", "expected 10 bytes with MD5 .*, got 10 with MD5"),
        (b"first", "expected 10 bytes .*, got 5 with MD5"),
        (b"first file, and very much more" * 100_000, "got more bytes"),
        (b"", "got 0 with MD5"),
    ],
)
def test_another_file_than_published_is_not_kept(served, cache, monkeypatch, content, says):
    register(monkeypatch, served.base)
    (served.root / "a.bin").write_bytes(content)
    told = []
    with pytest.raises(FileFormatError, match=says):
        fetch("made-up", progress=lambda _, done, size: told.append(done <= size))
    assert all(told)
    assert list((cache / "made-up").iterdir()) == []


@pytest.mark.usefixtures("no_data_dir")
def test_interruption_leaves_nothing_behind(served, cache, monkeypatch):
    register(monkeypatch, served.base)

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("made-up", progress=interrupt)
    assert list((cache / "made-up").iterdir()) == []


@pytest.mark.usefixtures("no_data_dir")
def test_without_a_network_the_remedy_is_named(cache, monkeypatch):
    register(monkeypatch, "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(InputError) as caught:
        fetch("made-up")
    message = str(caught.value)
    assert message.startswith("http://127.0.0.1:9/a.bin could not be reached (")
    assert "put the files of http://home.invalid/ in LAMINA_DATA_DIR/made-up by hand" in message


@pytest.mark.usefixtures("no_data_dir")
def test_a_folder_of_ones_own(tmp_path, served, monkeypatch):
    register(monkeypatch, served.root.as_uri())  # file:// is read as well
    assert fetch("made-up", tmp_path / "mine") == tmp_path / "mine"
    assert (tmp_path / "mine" / "a.bin").read_bytes() == CONTENT["a.bin"]
    assert locate("made-up") is None
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="place that can be written to, got: File exists"):
        fetch("made-up", tmp_path / "file")


def test_the_data_folder_comes_first(tmp_path, monkeypatch):
    register(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setenv("LAMINA_DATA_DIR", str(tmp_path))
    assert locate("made-up") is None
    (tmp_path / "made-up").mkdir()
    assert locate("made-up") == tmp_path / "made-up"
    assert fetch("made-up") == tmp_path / "made-up"


@pytest.mark.usefixtures("no_data_dir")
def test_names_that_are_none():
    with pytest.raises(InputError, match="Did you mean 'fashion-mnist'"):
        locate("fashion_mnist")
    with pytest.raises(InputError, match="data set expected one of"):
        fetch("../../etc")
    with pytest.raises(InputError, match=r"digits comes with scikit-learn.*Read it by its name"):
        fetch("digits")
    with pytest.raises(InputError, match="name expected one of digits, iris"):
        load_bundled("mnist")
    assert locate("iris") is None


def test_the_table_is_well_formed():
    for name, each in KNOWN_DATASETS.items():
        assert each.name == name
        assert each.title
        assert each.shape
        assert each.licence
        assert each.home.startswith("http")
        for file in each.files:
            assert re.fullmatch("[0-9a-f]{32}", file.md5)
            assert file.url.endswith("/" + file.name)
            assert file.size > 4000


def test_digits():
    data = load_bundled("digits")
    assert data.kind == "images"
    assert data.X.shape == (1797, 8, 8, 1)
    assert data.X.dtype == np.float32
    assert (data.X.min(), data.X.max()) == (0, 1)
    assert data.y.dtype == np.int64
    # The class counts that UCI's optdigits.names states for these 1797 images.
    np.testing.assert_array_equal(
        np.bincount(data.y), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    )


def test_iris():
    data = load_bundled("iris")
    assert data.kind == "table"
    assert data.X.shape == (150, 4)
    assert next(iter(data.X.columns)) == "sepal length (cm)"
    names, counts = np.unique(data.y, return_counts=True)
    assert names.tolist() == ["setosa", "versicolor", "virginica"]
    assert counts.tolist() == [50, 50, 50]


@pytest.mark.data
def test_the_checksums_of_fashion_mnist_are_those_of_its_files():
    folder = Path(os.environ.get("LAMINA_DATA_DIR", "")) / "fashion-mnist"
    if "LAMINA_DATA_DIR" not in os.environ or not has_test_part(folder):
        pytest.skip("LAMINA_DATA_DIR names no folder with fashion-mnist")
    assert locate("fashion-mnist") == folder
    assert len(read_idx(locate("fashion-mnist"), "test")) == 10_000
    packed = {"train": 1504176606, "t10k": 1504176627}  # when the publisher ran gzip
    for file in KNOWN_DATASETS["fashion-mnist"].files:
        path = folder / file.name
        if not path.is_file():
            pytest.skip("the files are not compressed")
        content = path.read_bytes()
        if content[3] == 0:  # a mirror cut name and time from gzip's header: put them back
            time = struct.pack("<I", packed[file.name.split("-")[0]])
            name = file.name.removesuffix(".gz").encode() + b"\0"
            content = content[:3] + b"\x08" + time + content[8:10] + name + content[10:]
        assert gzip.decompress(content)[:2] == b"\0\0"
        assert len(content) == file.size
        assert hashlib.md5(content).hexdigest() == file.md5
