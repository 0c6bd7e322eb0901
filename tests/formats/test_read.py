"""One door: every kind of source goes to its reader, and what has none is refused in words."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from lamina.errors import InputError
from lamina.formats import known
from lamina.formats.read import has_test_part, is_images, read
from lamina.formats.readings import LongTable, SoundFrames

X = np.arange(6.0).reshape(3, 2)


def write_idx(path, array):
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    content = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(folder, parts=("train", "t10k")):
    folder.mkdir(parents=True, exist_ok=True)
    for n, part in enumerate(parts, start=2):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", np.full((n, 4, 5), n))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(n))
    return folder


def write_cifar(folder, test=True):
    folder.mkdir()
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"] * test:
        (folder / f"{name}.bin").write_bytes(bytes([7] + [9] * 3072) * 2)
    return folder


def write_pictures(folder, classes=("cat", "dog"), size=(4, 3)):
    for shade, name in enumerate(classes, start=1):
        (folder / name).mkdir(parents=True)
        Image.new("L", size, shade).save(folder / name / "0.png")
    return folder


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,y\n1,2,u\n3,4,v\n")
    return path


def test_tables(table):
    dataset = read(str(table), target="y", drop=["b"])
    assert list(dataset.X.columns) == ["a"]
    assert dataset.y.tolist() == ["u", "v"]
    assert read(table, part="train").kind == "table"
    assert not has_test_part(table)


def test_parquet(tmp_path, table):
    path = tmp_path / "T.PARQUET"
    read(table).X.to_parquet(path)
    assert read(path, "y").y.tolist() == ["u", "v"]


def test_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=X[:, 0], x_test=X[:1], y_test=X[:1, 0])
    assert len(read(tmp_path / "a.npz")) == 3
    assert len(read(tmp_path / "a.npz", part="test")) == 1
    assert has_test_part(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", X)
    np.testing.assert_array_equal(read(tmp_path / "b.npy").X, X)
    assert not has_test_part(tmp_path / "b.npy")


def test_idx_folder_and_file(tmp_path):
    folder = write_mnist(tmp_path / "mnist")
    assert has_test_part(folder)
    for part, n in ((None, 2), ("train", 2), ("test", 3)):
        dataset = read(folder, part=part)
        assert dataset.X.shape == (n, 4, 5, 1)
        assert dataset.y.tolist() == list(range(n))
    images = folder / "train-images-idx3-ubyte.gz"
    for part in (None, "train"):
        assert read(images, part=part).X.shape == (2, 4, 5, 1)
    assert not has_test_part(images)
    assert not has_test_part(write_mnist(tmp_path / "half", ["train"]))


def test_cifar_folder_and_batch(tmp_path):
    folder = write_cifar(tmp_path / "cifar")
    assert has_test_part(folder)
    assert read(folder).X.shape == (10, 32, 32, 3)
    assert read(folder, part="train").X.shape == (10, 32, 32, 3)
    assert read(folder, part="test").X.shape == (2, 32, 32, 3)
    assert read(folder / "test_batch.bin", part="train").y.tolist() == [7, 7]
    assert not has_test_part(folder / "test_batch.bin")
    assert not has_test_part(write_cifar(tmp_path / "half", test=False))


def test_image_folder(tmp_path):
    folder = write_pictures(tmp_path / "pets")
    for part in (None, "train"):
        dataset = read(folder, part=part)
        assert dataset.y.tolist() == ["cat", "dog"]
        assert dataset.X.shape == (2, 3, 4, 1)
    assert read(folder, size=(6, 5)).X.shape == (2, 6, 5, 1)
    assert not has_test_part(folder)
    (folder / "dog" / "1.png").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"1\.png could not be read"):
        read(folder)
    with pytest.warns(UserWarning, match="skipped 1 of 3"):
        assert len(read(folder, skip_bad=True)) == 2


def test_split_image_folder(tmp_path):
    write_pictures(tmp_path / "pets" / "train")
    write_pictures(tmp_path / "pets" / "test", ["dog"])
    assert has_test_part(tmp_path / "pets")
    for part, labels in ((None, ["cat", "dog"]), ("train", ["cat", "dog"]), ("test", ["dog"])):
        assert read(tmp_path / "pets", part=part).y.tolist() == labels


def write_ts(path, label):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"@classLabel true a b\n@data\n1,2:{label}\n3:{label}\n")
    return path


def test_series_file_and_folder(tmp_path):
    train = write_ts(tmp_path / "set" / "S_TRAIN.ts", "a")
    write_ts(tmp_path / "set" / "S_TEST.ts", "b")
    for part, label in ((None, "a"), ("train", "a"), ("test", "b")):
        dataset = read(tmp_path / "set", part=part)
        assert dataset.kind == "series"
        assert dataset.y.tolist() == [label] * 2
    assert has_test_part(tmp_path / "set")
    assert not has_test_part(train)
    assert not is_images(tmp_path / "set")
    assert len(read(train, part="train")) == 2
    with pytest.raises(InputError, match="expected to hold a test part"):
        read(train, part="test")
    with pytest.raises(InputError, match=r"size \(2, 2\), got series"):
        read(train, size=(2, 2))


def write_sounds(folder, classes=("no", "yes")):
    for name in classes:
        (folder / name).mkdir(parents=True)
        wavfile.write(folder / name / "0.wav", 8000, np.arange(500, dtype=np.int16))
    return folder


def test_sounds(tmp_path):
    folder = write_sounds(tmp_path / "words")
    for part in (None, "train"):
        dataset = read(folder, part=part)
        assert dataset.kind == "series"
        assert dataset.y.tolist() == ["no", "yes"]
    assert not has_test_part(folder)
    assert not is_images(folder)
    assert len(read(folder / "no" / "0.wav", part="train")) == 1
    for source in (folder, folder / "no" / "0.wav"):
        with pytest.raises(InputError, match=r"test"):
            read(source, part="test")
    write_sounds(tmp_path / "split" / "train")
    write_sounds(tmp_path / "split" / "test", ["yes"])
    assert has_test_part(tmp_path / "split")
    assert read(tmp_path / "split", part="test").y.tolist() == ["yes"]


def test_text(tmp_path):
    path = tmp_path / "a.TXT"
    path.write_text("one two")
    for part in (None, "train"):
        dataset = read(path, part=part)
        assert (dataset.kind, dataset.X) == ("text", "one two")
    assert not has_test_part(path)
    with pytest.raises(InputError, match="expected to hold a test part"):
        read(path, part="test")


def test_a_folder_without_images_gets_its_readers_error(tmp_path):
    with pytest.raises(InputError, match=r"expected images \(\.png"):
        read(tmp_path)


def test_no_test_part_is_refused(tmp_path, table):
    np.savez(tmp_path / "a.npz", X=X)
    sources = [
        table,
        tmp_path / "a.npz",
        write_mnist(tmp_path / "mnist", ["train"]),
        write_mnist(tmp_path / "both") / "train-images-idx3-ubyte.gz",
        write_cifar(tmp_path / "cifar", test=False),
        write_pictures(tmp_path / "pets"),
    ]
    for source in sources:
        with pytest.raises(InputError, match=r"test|part"):
            read(source, part="test")
    with pytest.raises(InputError, match=r"part expected one of train, test; got 'val'"):
        read(table, part="val")
    with pytest.raises(InputError, match=r"table\.csv expected to hold a test part"):
        read(table, part="test")


def test_a_target_is_for_tables(tmp_path):
    np.savez(tmp_path / "a.npz", X=X)
    for source in (tmp_path / "a.npz", write_pictures(tmp_path / "pets")):
        for options in ({"target": "y"}, {"drop": ["y"]}):
            with pytest.raises(InputError, match=r"not a table's file, got target=.*Leave them"):
                read(source, **options)


def test_size_is_checked_where_nothing_resizes(tmp_path, table):
    folder = write_mnist(tmp_path / "mnist")
    assert len(read(folder, size=(4, 5))) == 2
    with pytest.raises(
        InputError, match=r"size \(5, 4\), got images of shape \(4, 5, 1\).*resized"
    ):
        read(folder, size=(5, 4))
    with pytest.raises(InputError, match=r"size \(5, 4\), got table"):
        read(table, size=(5, 4))


def test_unknown_files_list_what_is_readable(tmp_path):
    for name in ("a.xlsx", "README", "a.tar.gz"):
        (tmp_path / name).write_bytes(b"junk")
        with pytest.raises(InputError) as caught:
            read(tmp_path / name)
        for words in (
            name,
            ".csv",
            ".parquet",
            ".npz",
            ".ts",
            ".wav",
            ".txt",
            "idx3-ubyte",
            "CIFAR",
        ):
            assert words in str(caught.value)


def test_nothing_there_suggests_a_neighbour(tmp_path, table):
    for call in (read, has_test_part):
        with pytest.raises(InputError, match=r"got nothing in .*Did you mean 'table\.csv'\?"):
            call(tmp_path / "tabel.csv")
    with pytest.raises(InputError, match="got nothing in"):
        read(tmp_path / "no" / "table.csv")
    with pytest.raises(InputError, match="Did you mean 'fashion-mnist'"):
        read("fashion_mnist")


def test_known_sets_go_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMINA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(known, "cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(InputError, match=r"expected its.*lamina datasets fetch fashion-mnist"):
        read("fashion-mnist")
    write_mnist(tmp_path / "data" / "fashion-mnist")
    assert len(read("fashion-mnist", part="test")) == 3
    assert has_test_part("fashion-mnist")


def test_bundled_sets_go_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    iris = read("iris")
    assert iris.X.shape == (150, 4)
    assert set(iris.y) == {"setosa", "versicolor", "virginica"}
    digits = read("digits", part="train", size=(8, 8))
    np.testing.assert_array_equal(np.bincount(digits.y)[:2], [178, 182])
    assert not has_test_part("digits")
    with pytest.raises(InputError, match="digits expected to hold a test part"):
        read("digits", part="test")
    with pytest.raises(InputError, match=r"got target='kind'.*Leave them out"):
        read("iris", target="kind")
    write_pictures(tmp_path / "digits", size=(2, 2))
    assert read("digits").X.shape == (2, 2, 2, 1)


def test_a_path_comes_before_a_known_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMINA_DATA_DIR", str(tmp_path / "data"))
    write_mnist(tmp_path / "data" / "mnist")
    write_pictures(tmp_path / "mnist", size=(2, 2))
    assert read("mnist").X.shape == (2, 2, 2, 1)


def test_a_table_of_steps_is_read_as_series(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("id,t,a,skip,y\nx,1,1,9,up\nx,2,2,9,up\nz,1,5,9,down\n")
    data = read(path, target="y", drop=["skip"], reading=LongTable("id", "t"))
    assert (data.kind, data.row_names, data.y.tolist()) == ("series", ("x", "z"), ["up", "down"])
    assert [series.ravel().tolist() for series in data.X] == [[1, 2], [5]]
    assert data.take(np.array([1])).reading == LongTable("id", "t", ("a",))
    with pytest.raises(InputError, match=r"one target for each series, got \['y', 'a'\]"):
        read(path, target=["y", "a"], reading=LongTable("id", "t"))
    with pytest.raises(InputError, match=r"to be a sound or a folder of sounds"):
        read(path, reading=SoundFrames())
    with pytest.raises(InputError, match=r"to be a table \(\.csv.*Leave out the columns' names"):
        read("digits", reading=LongTable("id", "t"))
