"""Series in tables of long form: grouped by id, in order of time, or refused in words."""

import os
from pathlib import Path

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.formats.long_series import read_long_series
from lamina.formats.readings import LongTable

TABLE = """\
id,time,a,b,label
x,1,1,10,good
y,5,4,40,bad
x,2,2,20,good
x,4,3,30,good
y,6,5,50,bad
"""


@pytest.fixture
def write(tmp_path):
    def of(text, name="long.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return of


def test_rows_are_grouped_by_id(write):
    data = read_long_series(write(TABLE), "id", "time", "label")
    assert data.kind == "series"
    assert data.row_names == ("x", "y")
    assert data.y.tolist() == ["good", "bad"]
    np.testing.assert_array_equal(data.X[0], [[1, 10], [2, 20], [3, 30]])
    np.testing.assert_array_equal(data.X[1], [[4, 40], [5, 50]])
    assert {series.dtype for series in data.X} == {np.dtype(np.float32)}
    assert data.take(np.array([1])).row_names == ("y",)


def test_series_come_in_order_of_their_first_rows(write):
    data = read_long_series(write("id,t,a\n9,1,1\n3,1,2\n9,2,3\n"), "id", "t")
    assert data.row_names == ("9", "3")
    assert [series.ravel().tolist() for series in data.X] == [[1, 3], [2]]
    assert data.y is None


def test_interleaved_series_keep_their_order_and_their_target(write):
    ids = np.random.default_rng(0).integers(0, 3, 200)
    rows = "".join(f"{i},{t},{t * t},{10 * i}\n" for t, i in enumerate(ids))
    data = read_long_series(write("id,t,a,y\n" + rows), "id", "t", "y")
    for name, series, y in zip(data.row_names, data.X, data.y, strict=True):
        np.testing.assert_array_equal(series[:, 0], np.flatnonzero(ids == int(name)) ** 2)
        assert y == 10 * int(name)


def test_one_series_without_id_and_dates(write):
    data = read_long_series(write("day,a\n2024-01-31,1\n2024-02-01,2\n"), None, "day")
    assert data.row_names == ()
    np.testing.assert_array_equal(data.X[0], [[1], [2]])


def test_targets_keep_their_type(write):
    data = read_long_series(write("i,t,a,y\n1,1,1,0.5\n2,1,1,7\n2,2,1,7\n"), "i", "t", "y")
    assert data.y.dtype == np.float64
    assert data.y.tolist() == [0.5, 7]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TABLE + "x,3,0,0,good\n", r"earlier time in the series x: 4, then 3 in row 6 below"),
        (TABLE + "y,6,0,0,bad\n", r"the same time in the series y: 6, then 6 in row 6.*Sort"),
        (
            TABLE.replace(",1,1", ",2024-10-02,1").replace(",2,2", ",2024-09-30,2")
            .replace("x,4", "x,2024-12-01").replace("y,5", "y,2024-01-01")
            .replace("y,6", "y,2024-01-02"),
            r"earlier time in the series x: 2024-10-02, then 2024-09-30 in row 3",
        ),
        (TABLE.replace("x,4", "x,soon"), r"numbers or ISO 8601 dates .* column 'time', got"),
        (TABLE + "y,7,0,0,good\n", r"one 'label' .*got bad and good in the series y \(row 6"),
        (TABLE + "y,7,0,low,bad\n", r"numbers in the column 'b', got 'low' in row 6"),
        (TABLE + "y,7,,0,bad\n", r"1 missing in column 'a', the first in row 6 below"),
        (TABLE + "y,7,1e39,0,bad\n", r"float32's range, got 1e\+39 in row 6.*column 'a'"),
        (TABLE + "y,,0,0,bad\n", r"1 missing in column 'time'"),
        (TABLE + ",7,0,0,bad\n", r"1 missing in column 'id'"),
        (TABLE + "y,7,0,0,\n", r"1 missing in column 'label'"),
        (TABLE + "y,7,0\n", r"expected 5 cells in every row.*got 3 in line 7"),
        ("id,time,label\nx,1,a\n", r"at least one column of values"),
        ("id,time,a,label\n", r"at least one row"),
        ("", r"empty file"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(write, text, words):
    path = write(text)
    with pytest.raises(InputError, match=words) as caught:
        read_long_series(path, "id", "time", "label")
    assert str(path) in str(caught.value)


def test_columns_that_are_not_there_or_named_twice(write):
    path = write(TABLE)
    with pytest.raises(InputError, match=r"column 'tiem', got .*Did you mean 'time'"):
        read_long_series(path, "id", "tiem")
    with pytest.raises(InputError, match=r"different columns, got 'id', 'id'"):
        read_long_series(path, "id", "id")
    with pytest.raises(FileFormatError, match=r"numbers in the column 'label', got 'good'"):
        read_long_series(path, "id", "time")


@pytest.mark.data
def test_airline():
    path = Path(os.environ.get("LAMINA_DATA_DIR", "")) / "airline" / "airline.csv"
    if "LAMINA_DATA_DIR" not in os.environ or not path.exists():
        pytest.skip("LAMINA_DATA_DIR names no folder with airline")
    (series,) = read_long_series(path, None, "Date").X
    assert series.shape == (144, 1)  # Box and Jenkins' series G: 1949 to 1960, by month
    assert series[[0, -1], 0].tolist() == [112, 432]
    assert series.sum() == 40_363


def test_channels_by_name_or_all_but_those_dropped(write):
    path = write(TABLE)
    every = read_long_series(path, "id", "time", "label")
    assert every.reading == LongTable("id", "time", ("a", "b"))
    one = read_long_series(path, "id", "time", "label", drop="a")
    assert one.reading.channels == ("b",)
    np.testing.assert_array_equal(one.X[1], [[40], [50]])
    turned = read_long_series(path, "id", "time", channels=("b", "a"))
    np.testing.assert_array_equal(turned.X[1], [[40, 4], [50, 5]])
    assert turned.y is None
    with pytest.raises(InputError, match=r"expected a column 'c', got the columns 'id', .*'label'"):
        read_long_series(path, "id", "time", channels=("a", "c"))
    with pytest.raises(InputError, match=r"at least one column of values .* drop fewer"):
        read_long_series(path, "id", "time", "label", drop=("a", "b"))
