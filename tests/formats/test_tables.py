"""Tables on disk: what is read, what is refused and in which words, what is written."""

import gzip
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import FileFormatError, InputError
from lamina.formats.tables import read_table, write_predictions

IRIS = "length,width,kind\n5.1,3,setosa\n4.9,,virginica\n6.0,2,setosa\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_csv_gives_inputs_and_target(write):
    path = write(IRIS)
    dataset = read_table(path, "kind")
    assert dataset.kind == "table"
    assert dataset.source == str(path)
    assert list(dataset.X.columns) == ["length", "width"]
    np.testing.assert_array_equal(dataset.X["width"], [3, np.nan, 2])
    assert type(dataset.y) is np.ndarray
    assert dataset.y.tolist() == ["setosa", "virginica", "setosa"]


def test_without_target_every_column_is_an_input(write):
    dataset = read_table(write(IRIS))
    assert dataset.y is None
    assert list(dataset.X.columns) == ["length", "width", "kind"]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("t.tsv", lambda text: text.replace(",", "\t").encode()),
        ("t.csv.gz", lambda text: gzip.compress(text.encode())),
        ("T.CSV.GZ", lambda text: gzip.compress(text.encode())),
        ("t.tsv.gz", lambda text: gzip.compress(text.replace(",", "\t").encode())),
        ("bom.csv", lambda text: text.encode("utf-8-sig")),
        ("windows.csv", lambda text: text.replace("\n", "\r\n").encode()),
        ("bom.csv.gz", lambda text: gzip.compress(text.encode("utf-8-sig"))),
        ("bom-and-semicolons.csv", lambda text: text.replace(",", ";").encode("utf-8-sig")),
        ("semicolons.csv", lambda text: text.replace(",", ";").encode()),
        ("semicolons.csv.gz", lambda text: gzip.compress(text.replace(",", ";").encode())),
        ("tabs.csv", lambda text: text.replace(",", "\t").encode()),
        ("old-mac.csv", lambda text: text.replace("\n", "\r").encode()),
        ("blank-lines.csv", lambda text: ("\n" + text.replace("\n", "\n\n") + "  \n").encode()),
    ],
)
def test_variants_read_like_the_plain_file(write, name, pack):
    expected = read_table(write(IRIS), "kind")
    got = read_table(write(pack(IRIS), name), "kind")
    pd.testing.assert_frame_equal(got.X, expected.X)
    assert got.y.tolist() == expected.y.tolist()


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ('"a;b;c",d', ["a;b;c", "d"]),
        ('"a,b,c";d', ["a,b,c", "d"]),
        ('"say ""a,b,c""";d', ['say "a,b,c"', "d"]),
        ('"two\nlines, or\nthree, or four";d', ["two\nlines, or\nthree, or four", "d"]),
        ('inch";size, bare;d', ['inch"', "size, bare", "d"]),
        ("price, €;kg;d", ["price, €", "kg", "d"]),
        ("a;b,c", ["a;b", "c"]),  # a tie goes to the comma
        ("alone", ["alone"]),
    ],
)
def test_the_header_decides_what_separates_cells(write, header, names):
    separator = "," if names[0] in ("a;b;c", "a;b") else ";"
    row = separator.join(["1"] * len(names))
    assert list(read_table(write(f"{header}\n{row}\n")).X.columns) == names


def test_cells_may_hold_what_separates_others(write):
    X = read_table(write('name;share\nA, B, C;"1;5"\n')).X
    assert X.iloc[0].tolist() == ["A, B, C", "1;5"]
    X = read_table(write("a\tb;c\n1\t2;3\n", "t.tsv")).X
    assert list(X.columns) == ["a", "b;c"]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
def test_a_latin_1_byte_is_placed_in_its_line(write, name):
    content = b"name,town\r\n" + b"A,Bern\r\n" * 5000 + "B,Zürich\r\n".encode("latin-1")
    content = content.replace(b",", b"\t") if name.endswith("tsv") else content
    content = gzip.compress(content) if name.endswith("gz") else content
    with pytest.raises(FileFormatError, match=r"got the byte 0xfc in line 5002\. Save it as UTF-8"):
        read_table(write(content, name))


def test_parquet_keeps_types(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame(
        {"flag": [True, False], "n": [1, 2], "c": pd.Categorical(["u", "v"]), "y": [7, 8]}
    )
    frame.to_parquet(path)
    dataset = read_table(path, "y")
    assert dataset.X.dtypes.astype(str).tolist() == ["bool", "int64", "category"]
    assert dataset.y.dtype == np.int64
    assert read_table(path, "c").y.tolist() == ["u", "v"]
    assert type(read_table(path, "c").y) is np.ndarray


def test_parquet_index_is_kept_only_if_it_was_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": [1, 2]}, index=[9, 8])
    frame.to_parquet(path)
    assert list(read_table(path).X.columns) == ["a"]
    frame.rename_axis("id").to_parquet(path)
    assert list(read_table(path).X.columns) == ["id", "a"]


@pytest.mark.parametrize(
    ("cells", "dtype"), [("1 2", "int64"), ("1.5 2", "float64"), ("True False", "bool")]
)
def test_target_keeps_its_type(write, cells, dtype):
    first, second = cells.split()
    y = read_table(write(f"a,y\n0,{first}\n0,{second}\n"), "y").y
    assert y.dtype == dtype


def test_several_targets_make_a_matrix(write):
    path = write("a,u,v\n0,1,2\n0,3,4\n")
    np.testing.assert_array_equal(read_table(path, ["v", "u"]).y, [[2, 1], [4, 3]])
    assert read_table(path, ["v"]).y.shape == (2, 1)
    assert read_table(path, "v").y.shape == (2,)


def test_y_can_be_written_to(write):
    y = read_table(write("a,y\n0,1\n"), "y").y
    y[0] = 5
    assert y[0] == 5


def test_drop_leaves_columns_out(write):
    assert list(read_table(write(IRIS), "kind", drop=["width"]).X.columns) == ["length"]
    assert list(read_table(write(IRIS), "kind", drop="width").X.columns) == ["length"]


def test_cells_are_not_stripped(write):
    assert read_table(write("a,b\n x ,1\n")).X["a"].tolist() == [" x "]


def test_one_type_for_a_long_column(write):
    row = ",".join("1" * 64) + "\n"  # wide, so that pandas would read it in several pieces
    header = ",".join(f"c{i}" for i in range(64)) + "\n"
    column = read_table(write(header + row * 20_000 + row.replace("1", "x"))).X["c0"]
    assert set(map(type, column)) == {str}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty file"]),
        ("\n\n", ["empty file"]),
        ("a,b\n", ["at least one row", "none below its columns"]),
        ("a,b,a\n1,2,3\n", ["own name", "'a' more than once", "Rename"]),
        ("a,b\n1,2\n1,2,3\n", ["2 cells", "got 3 in line 3"]),
        ("a,b\n1,2,3\n4,5,6\n", ["2 cells", "got 3 in line 2"]),
        ('a,b\n"1\n1",2\n3\n', ["2 cells", "got 1 in line 4"]),
        ('a,b\n1,2\n"3,4\n', ["2 cells", "got 1 in line 3"]),
        ('a,b\n1,2\n3,"4\n', ["expected a table", "quotes"]),
        ("a,b\n1," + '"' + "x" * 200_000, ["line 2", "quote"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00", ["UTF-8", "0x89"]),
        (b"a\x00b,c\n1,2\n", ["binary data"]),
        ("é\n1\n".encode("utf-16"), ["UTF-8", "0xff"]),
    ],
)
def test_a_file_that_is_no_table_is_refused(write, content, words):
    path = write(content)
    with pytest.raises(FileFormatError) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_damaged_gzip_is_refused(write):
    whole = gzip.compress(IRIS.encode() * 500)
    for content in (IRIS.encode(), whole[:-20], whole[:30] + b"\0\0\0\0" + whole[34:]):
        with pytest.raises(FileFormatError, match=r"whole gzip file"):
            read_table(write(content, "t.csv.gz"))


def test_damaged_parquet_is_refused(write, tmp_path):
    whole = tmp_path / "whole.parquet"
    pd.DataFrame({"a": np.random.default_rng(0).normal(size=1000)}).to_parquet(whole)
    content = whole.read_bytes()
    for damaged in (b"", b"junk", content[:-30], b"PAR1" + bytes(3000) + content[3004:]):
        with pytest.raises(FileFormatError, match="expected a Parquet file"):
            read_table(write(damaged, "t.parquet"))


def test_parquet_with_repeated_columns_is_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([[1], [2]], names=["a", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(FileFormatError, match="'a' more than once"):
        read_table(tmp_path / "t.parquet")


def test_columns_without_names_get_some(write):
    assert read_table(write("a,,\n1,2,3\n")).X.shape == (1, 3)


def test_parquet_column_names_become_text(tmp_path):
    pd.DataFrame({0: [1], 1: [2]}).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", "1").X.columns.tolist() == ["0"]


def test_missing_column_lists_the_columns_and_the_nearest(write):
    with pytest.raises(InputError) as caught:
        read_table(write(IRIS), "kinds")
    assert "expected a column 'kinds', got the columns 'length', 'width', 'kind'" in str(
        caught.value
    )
    assert "Did you mean 'kind'?" in str(caught.value)
    with pytest.raises(InputError, match="Did you mean 'width'"):
        read_table(write(IRIS), "kind", drop=["widht"])


def test_a_wide_table_lists_only_some_columns(write):
    header = ",".join(f"c{i}" for i in range(100))
    with pytest.raises(InputError, match="and 80 more"):
        read_table(write(header + "\n" + ",".join("1" * 100) + "\n"), "target")


def test_missing_targets_are_counted_and_placed(write):
    path = write("a,y\n1,u\n2,\n3,NA\n")
    with pytest.raises(InputError, match=r"2 missing in column 'y', the first in row 2 below"):
        read_table(path, "y")
    with pytest.raises(InputError, match=r"2 missing in column 'y'"):
        read_table(path, ["y"])


def test_no_input_left_is_refused(write):
    with pytest.raises(InputError, match="at least one input column"):
        read_table(write("a,y\n1,2\n"), "y", drop=["a"])


def test_paths_that_cannot_be_read(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    for name, word in [
        ("no.csv", "No such file"),
        ("no.parquet", "No such file"),
        ("no.csv.gz", "No such file"),
        ("folder.csv", "directory"),
        ("folder.parquet", "directory"),
    ]:
        with pytest.raises(InputError, match=word):
            read_table(tmp_path / name)
    with pytest.raises(InputError, match=r"ending in .csv, .*\.parquet, got '.xls'"):
        read_table(tmp_path / "t.xls")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet"])
def test_predictions_are_read_back(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    columns = {
        "prediction": np.array(["a, b", 'c"\t', "é\nf"], dtype=object),
        "p": np.array([0.1, 1 / 3, 1e-30]),
    }
    write_predictions(path, columns)
    got = read_table(path).X
    assert list(got.columns) == ["prediction", "p"]
    assert got["prediction"].tolist() == columns["prediction"].tolist()
    np.testing.assert_allclose(got["p"], columns["p"], rtol=1e-15)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=5))
def test_float32_survives_csv(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("t") / "out.csv"
    column = np.array(values, np.float32)
    write_predictions(path, {"p": column})
    np.testing.assert_array_equal(read_table(path).X["p"].to_numpy(np.float32), column)


def test_failed_writing_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def full(self, target, **options):
        target.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_predictions(path, {"p": np.zeros(2)})
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_predictions_refuse_bad_places_and_columns(tmp_path):
    p = np.zeros(2)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "no" / "out.csv", tmp_path / "file" / "out.parquet"):
        with pytest.raises(InputError, match="place that can be written to"):
            write_predictions(path, {"p": p})
    with pytest.raises(InputError, match=r"ending in \.csv"):
        write_predictions(tmp_path / "out.txt", {"p": p})
    with pytest.raises(InputError, match=r"one length.*a \(2,\), b \(3,\)"):
        write_predictions(tmp_path / "out.csv", {"a": p, "b": np.zeros(3)})
    with pytest.raises(InputError, match=r"a \(2, 2\).*column for each output"):
        write_predictions(tmp_path / "out.csv", {"a": np.zeros((2, 2))})
    with pytest.raises(InputError, match="got no column"):
        write_predictions(tmp_path / "out.csv", {})


def test_importing_the_formats_is_light():
    code = (
        "import sys, lamina.formats.tables, lamina.formats.encoders, lamina.formats.arrays, "
        "lamina.formats.read; "
        "print([m for m in ('pandas', 'jax', 'sklearn', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_row_numbers_that_pandas_wrote_are_left_out(tmp_path):
    path = tmp_path / "rows.csv"
    pd.DataFrame({"a": [1.5, 2, 3], "y": list("pqp")}, index=[4, 1, 7]).to_csv(path)
    with pytest.warns(UserWarning, match="the first column has no name and numbers the rows"):
        data = read_table(path, "y")
    assert data.X.columns.tolist() == ["a"]
    path.write_text(",a\n1.5,2\n2.5,3\n")  # no row numbers
    assert read_table(path).X.shape == (2, 2)
