"""Streams from disk: what they hold is what a reader returns, in pieces; bad rows are named."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from lamina.errors import FileFormatError, InputError
from lamina.formats.read import read
from lamina.formats.streams import bytes_once_read, only_streams, parquet, pieces, stream

RNG = np.random.default_rng(0)
N = 300
X = RNG.normal(size=(N, 4)).astype(np.float32)
Y = RNG.integers(0, 3, N)


def table():
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["colour"] = RNG.choice(["red", "green"], N)
    frame["label"] = np.array(["no", "yes", "maybe"])[Y]
    frame["w"] = RNG.random(N)
    return frame


@pytest.fixture
def folder(tmp_path):
    """Return a folder with X.npy, y.npy; t.parquet, img/ and parts/ beside."""
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays/X.npy", X)
    np.save(tmp_path / "arrays/y.npy", Y)
    table().to_parquet(tmp_path / "t.parquet", row_group_size=70)
    (tmp_path / "parts").mkdir()
    table()[:200].to_parquet(tmp_path / "parts/a.parquet", row_group_size=70)
    table()[200:].to_parquet(tmp_path / "parts/b.parquet", row_group_size=70)
    for i, pixels in enumerate(RNG.integers(0, 256, (7, 5, 6, 3)).astype(np.uint8)):
        place = tmp_path / "img" / ("cat" if i < 4 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return tmp_path


def whole(data):
    """Return all pieces of a stream as one, each targets' part as the piece says."""
    parts = [data.read(piece) for piece in range(len(data.lengths))]
    assert [len(part.X) for part in parts] == data.lengths.tolist()
    for piece, part in enumerate(parts):
        y, _ = data.read_targets(piece)
        assert (y is None) == (part.y is None)
        assert y is None or (y == part.y).all()
    return pieces.join(parts)


@pytest.mark.parametrize("name", ["t.parquet", "img"])
def test_a_stream_holds_what_a_reader_returns(folder, name):
    target = {"target": "label", "drop": ["w"]} if name == "t.parquet" else {}
    found, known = whole(stream(folder / name, **target)), read(folder / name, **target)
    if name == "t.parquet":
        pd.testing.assert_frame_equal(found.X, known.X)
    else:
        assert_array_equal(found.X, known.X)
        assert found.X.dtype == np.uint8
    assert_array_equal(found.y, known.y)


def test_arrays_by_folder_by_file_and_by_memory_map(folder):
    at = folder / "arrays"
    mapped = np.load(at / "X.npy", mmap_mode="r")
    for data in (
        stream(at),
        stream(at / "X.npy", target=at / "y.npy"),
        stream(mapped, target=list(Y)),
    ):
        found = whole(data)
        assert_array_equal(found.X, X)
        assert_array_equal(found.y, Y)
        assert len(data) == N
        assert data.kind == "array"
        assert len(data.lengths) >= 50  # small data are cut into many pieces too
    assert not stream(at / "X.npy").has_targets


def test_a_folder_of_parquet_files_is_one_table(folder):
    parts, file = stream(folder / "parts", "label"), stream(folder / "t.parquet", "label")
    assert parts.lengths.tolist() == [70, 70, 60, 70, 30]
    assert whole(parts).X["a"].tolist() == whole(file).X["a"].tolist()
    assert whole(parts).X.index.tolist() == list(range(N))  # rows are counted over all files


def test_weights_and_several_targets(folder):
    data = stream(folder / "t.parquet", ["a", "b"], drop="label", sample_weight="w")
    found = whole(data)
    assert list(found.X.columns) == ["c", "d", "colour"]
    assert_array_equal(found.y, X[:, :2])
    assert data.target_names == ("a", "b")
    assert_array_equal(found.weight, pd.read_parquet(folder / "t.parquet")["w"])
    np.save(folder / "arrays/sample_weight.npy", np.arange(N))
    assert_array_equal(whole(stream(folder / "arrays")).weight, np.arange(N))


def test_targets_and_the_sample_are_bounded(folder, monkeypatch):
    monkeypatch.setattr(pieces, "TARGET_ROWS", 100)
    monkeypatch.setattr(pieces, "SAMPLE_BYTES", 800)
    data = stream(folder / "arrays")
    targets = [y for y, _ in data.targets()]
    assert_array_equal(np.concatenate(targets), Y)
    assert max(map(len, targets)) <= 100
    sample = data.sample
    assert 800 <= sample.X.nbytes < 800 + 5 * X[0].nbytes
    rows = [np.flatnonzero((row == X).all(axis=1))[0] for row in sample.X]
    assert rows == sorted(rows)  # in the order of the file, with their own targets
    assert_array_equal(sample.y, Y[rows])
    assert rows != list(range(len(rows)))


def test_split_is_by_pieces_apart_and_by_the_seed(folder):
    data = stream(folder / "arrays")
    rest, drawn = data.split(0.25, seed=1)
    assert 60 <= len(drawn) <= 90
    assert len(rest) + len(drawn) == N
    found = {part.read(i).X.tobytes() for part in (rest, drawn) for i in range(len(part.lengths))}
    assert len(found) == len(data.lengths)
    again = data.split(0.25, seed=1)[1]
    assert_array_equal(whole(again).X, whole(drawn).X)
    assert not np.array_equal(whole(data.split(0.25, seed=2)[1]).y, whole(drawn).y)
    with pytest.raises(InputError, match=r"t\.parquet expected enough pieces to hold 0\.01"):
        stream(folder / "t.parquet", "label").split(0.01, 0)


def test_a_bad_number_is_named_by_its_row(folder):
    bad = X.copy()
    bad[123, 2] = np.inf
    np.save(folder / "arrays/X.npy", bad)
    with pytest.raises(InputError, match=r"X\.npy expected finite numbers.*in row 123 "):
        whole(stream(folder / "arrays"))


def test_a_bad_target_or_weight_is_named_by_its_row(folder):
    frame = table()
    frame.loc[150, "label"] = None
    frame.loc[222, "w"] = -1
    frame.to_parquet(folder / "t.parquet", row_group_size=70)
    with pytest.raises(InputError, match=r"t\.parquet, row group 2.*'label', the first in row 150"):
        whole(stream(folder / "t.parquet", "label"))
    data = stream(folder / "t.parquet", "a", drop="label", sample_weight="w")
    with pytest.raises(InputError, match=r"t\.parquet: Sample weights.*-1\.0 in row 222 "):
        whole(data)


def test_a_damaged_image_or_one_of_another_size_is_named(folder):
    data = stream(folder / "img")
    (folder / "img/dog/5.png").write_bytes(b"\x89PNG no")
    with pytest.raises(FileFormatError, match=r"dog/5\.png could not be read"):
        whole(data)
    Image.new("RGB", (9, 9)).save(folder / "img/dog/5.png")
    with pytest.raises(InputError, match=r"cat/0\.png of 5x6 and dog/5\.png of 9x9"):
        whole(data)
    assert whole(stream(folder / "img", size=(4, 4))).X.shape == (7, 4, 4, 3)


def test_a_damaged_row_group_is_named(folder):
    path = folder / "t.parquet"
    data = stream(path, "label")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"t\.parquet, row group \d \(rows [\d,]+ to"):
        whole(data)


def test_a_file_cut_short_while_it_is_read_is_named(folder):
    data = stream(folder / "arrays")
    with (folder / "arrays/X.npy").open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(FileFormatError, match=r"X\.npy expected rows .* has changed"):
        whole(data)


def test_row_groups_too_large_to_be_read_whole_are_refused(folder, monkeypatch):
    monkeypatch.setattr(parquet, "MOST_GROUP_BYTES", 1000)
    with pytest.raises(InputError, match=r"at most 0 MiB.*row_group_size=\d+"):
        stream(folder / "t.parquet", "label")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone.parquet",), "got nothing in"),
        (("t.parquet", "lable"), "expected a column 'lable'.*Did you mean 'label'"),
        (("arrays", "y"), "expected no target"),
        (("img", "label"), "expected no target"),
        (("t.csv",), "Write it as Parquet"),
        (("empty",), "expected images"),
        (("columns.npy",), "Fortran order"),
        (("short.npy",), "truncated or edited"),
        (("arrays/X.npy", [1, 2]), "one entry of y for each of its 300 rows, got 2"),
    ],
)
def test_unusable_streams(folder, arguments, message):
    (folder / "t.csv").write_text("a,b\n1,2\n")
    (folder / "empty").mkdir()
    np.save(folder / "columns.npy", np.asfortranarray(X))
    (folder / "short.npy").write_bytes((folder / "arrays/X.npy").read_bytes()[:-9])
    name, *others = arguments
    with pytest.raises(InputError, match=message):
        stream(folder / name, *others)


def test_parts_that_do_not_fit_together(folder):
    table().drop(columns="b").to_parquet(folder / "parts/c.parquet")
    with pytest.raises(FileFormatError, match=r"c\.parquet expected the columns of a\.parquet.*b"):
        stream(folder / "parts", "label")
    with pytest.raises(InputError, match="with shape, dtype and slices, got list"):
        stream([[1, 2]])


def test_how_much_memory_a_source_takes(folder):
    assert bytes_once_read(folder / "arrays/X.npy") == 2 * (X.nbytes + 128)
    assert bytes_once_read(folder / "img") == 7 * 5 * 6 * 3 * 5
    assert bytes_once_read(folder / "t.parquet") > N * 4 * 4
    assert bytes_once_read(folder / "gone") == 0
    assert [only_streams(folder / name) for name in ("arrays", "parts", "img")] == [
        True,
        True,
        False,
    ]
