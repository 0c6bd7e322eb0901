"""Series in `.ts` files: what is read, and what of a bad file is named, with its line."""

import os
from pathlib import Path

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.formats.ts_file import has_test_part, is_ts_folder, read_ts, read_ts_folder

HEADER = """\
#A comment
@problemName Made up
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true 1 b
"""
DATA = "@data\n1,2,3:4,5,6:1\n\n7.5:-8e-1:b\n"


def write(tmp_path, text, name="a.ts"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_unequal_series_of_two_channels(tmp_path):
    data = read_ts(write(tmp_path, HEADER + DATA))
    assert data.kind == "series"
    assert len(data) == 2
    assert [series.dtype for series in data.X] == [np.float32] * 2
    np.testing.assert_array_equal(data.X[0], [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(data.X[1], np.float32([[7.5, -0.8]]))
    assert data.y.tolist() == ["1", "b"]  # a number stays text


def test_rows_are_taken_in_order(tmp_path):
    data = read_ts(write(tmp_path, HEADER + DATA + "0:0:b\n"))
    taken = data.take(np.array([2, 0]))
    assert taken.y.tolist() == ["b", "1"]
    assert [series.shape for series in taken.X] == [(1, 2), (3, 2)]
    assert taken.kind == "series"


def test_univariate_with_capitals_tabs_and_windows_lines(tmp_path):
    text = "@UNIVARIATE\tTRUE\r\n@CLASSLABEL false\r\n@DATA\r\n1, 2,3\r\n4\r\n"
    data = read_ts(write(tmp_path, text))
    assert data.y is None
    assert [series.ravel().tolist() for series in data.X] == [[1, 2, 3], [4]]


def test_real_targets_are_numbers(tmp_path):
    text = HEADER.replace("@classLabel true 1 b", "@targetLabel true")
    y = read_ts(write(tmp_path, text + "@data\n1:2:0.5\n3:4:-7\n")).y
    assert y.dtype == np.float64
    assert y.tolist() == [0.5, -7]


@pytest.mark.parametrize("same", ["@equalLength true\n@seriesLength 3", "@equalLength true"])
def test_series_of_equal_length_are_held_to_it(tmp_path, same):
    text = HEADER.replace("@equalLength false", same)
    with pytest.raises(FileFormatError, match=r"expected 3 steps in every series.*got 1 in line"):
        read_ts(write(tmp_path, text + DATA))
    assert len(read_ts(write(tmp_path, text + "@data\n1,2,3:4,5,6:1\n1,2,3:4,5,6:b\n"))) == 2


def test_a_length_told_for_unequal_series_binds_none(tmp_path):
    assert len(read_ts(write(tmp_path, HEADER + "@seriesLength 3\n" + DATA))) == 2


@pytest.mark.parametrize("cell", ["?", "NaN", "nan", ""])
def test_missing_values_are_named_by_series_channel_and_line(tmp_path, cell):
    text = HEADER + DATA + f"1,2,3:4,{cell},6:b\n"
    words = r"a missing value\) in series 2, channel 1, step 1 \(line 13\)\. Fill it in"
    with pytest.raises(FileFormatError, match=words):
        read_ts(write(tmp_path, text))


@pytest.mark.parametrize("cell", ["x", "1e39", "-inf", "1 2", "(0"])
def test_what_is_no_number_is_named(tmp_path, cell):
    with pytest.raises(FileFormatError) as caught:
        read_ts(write(tmp_path, HEADER + f"@data\n{cell}:4:b\n"))
    assert f"got {cell!r} in series 0, channel 0, step 0 (line 10)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"header that ends in the line @data, got none in 1 lines"),
        (HEADER, r"header that ends in the line @data"),
        ("@problemName x\n1,2,3\n", r"'@name value' a line.*got '1,2,3' in line 2"),
        (HEADER + "@missing true\n" + DATA, r"@missing again in line 9"),
        (HEADER + "@data\n", r"one series a line below @data, got none"),
        (HEADER + "@data\n# nothing\n", r"one series a line below @data, got none"),
        (HEADER.replace("s false", "s true") + DATA, r"even steps, got @timeStamps true in line 3"),
        (HEADER.replace("s 2", "s two") + DATA, r"@dimensions to be a whole.*got 'two' in line 6"),
        (HEADER.replace("s 2", "s 0") + DATA, r"@dimensions to be a whole.*got '0' in line 6"),
        (HEADER.replace("g false", "g no") + DATA, r"@missing to be true or false, got 'no' in"),
        (HEADER.replace("h false", "h maybe") + DATA, r"@equallength to be true or false.*line 7"),
        (HEADER.replace("l true", "l") + DATA, r"@classlabel to be true or false, got '1 b'"),
        (HEADER.replace("e false", "e true") + DATA, r"@univariate true in line 5, got 2 dim"),
        (HEADER.replace("@classLabel true 1 b\n", "") + DATA, r"got neither in its header"),
        (HEADER + "@targetlabel true\n" + DATA, r"got both true in its header"),
        (HEADER + "@data\n1,2:b\n", r"expected 2 channels.*besides the label.*got 1 in line 10"),
        (HEADER + "@data\n1:2:3:b\n", r"expected 2 channels.*got 3 in line 10"),
        (HEADER + "@data\nb\n", r"expected 2 channels.*got 0 in line 10"),
        (HEADER + "@data\n1:2:c\n", r"a label behind.*one of 1, b, got 'c' in line 10"),
        (HEADER + "@data\n1:2:\n", r"a label behind the last ':'.*got '' in line 10"),
        (HEADER + "@data\n1,2:3:b\n", r"got 2 steps in channel 0 and 1 in channel 1 of series 0"),
        (
            HEADER.replace("@classLabel true 1 b", "@targetlabel true") + "@data\n1:2:high\n",
            r"finite number behind the last ':'.*got 'high' in line 10",
        ),
        (
            "@classlabel false\n@data\n1:2\n1\n",
            r"expected 2 channels, separated by ':', in every series, got 1 in line 4",
        ),
    ],
)
def test_bad_files_are_refused_with_file_and_line(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(FileFormatError, match=words) as caught:
        read_ts(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 300


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.ts").write_bytes(HEADER.encode() + b"@data\n\xff\n")
    with pytest.raises(FileFormatError, match=r"UTF-8, got the byte 0xff at .*\(line 10\)"):
        read_ts(tmp_path / "a.ts")
    with pytest.raises(InputError, match=r"No such file.*Did you mean 'a\.ts'"):
        read_ts(tmp_path / "b.ts")


def test_a_folder_with_both_parts(tmp_path):
    write(tmp_path, HEADER + "@data\n1:2:1\n", "Made_TRAIN.ts")
    assert is_ts_folder(tmp_path)
    assert not has_test_part(tmp_path)
    assert read_ts_folder(tmp_path).y.tolist() == ["1"]
    with pytest.raises(InputError, match=r"ends in _TEST\.ts, got Made_TRAIN\.ts"):
        read_ts_folder(tmp_path, "test")
    write(tmp_path, HEADER + "@data\n1:2:b\n", "Made_TEST.ts")
    assert has_test_part(tmp_path)
    for part, label in ((None, "1"), ("train", "1"), ("test", "b")):
        assert read_ts_folder(tmp_path, part).y.tolist() == [label]
    with pytest.raises(InputError, match="part expected one of train, test"):
        read_ts_folder(tmp_path, "val")
    write(tmp_path, HEADER + DATA, "Other_TRAIN.ts")
    assert not has_test_part(tmp_path)
    with pytest.raises(InputError, match=r"one file.*got Made_TEST\.ts, Made_TRAIN\.ts, Other"):
        read_ts_folder(tmp_path)


def test_a_folder_with_one_file_of_any_name(tmp_path):
    assert not is_ts_folder(tmp_path)
    write(tmp_path, HEADER + DATA)
    assert len(read_ts_folder(tmp_path)) == 2


@pytest.mark.data
def test_japanese_vowels():
    folder = Path(os.environ.get("LAMINA_DATA_DIR", "")) / "japanese-vowels"
    if "LAMINA_DATA_DIR" not in os.environ or not is_ts_folder(folder):
        pytest.skip("LAMINA_DATA_DIR names no folder with japanese-vowels")
    train, test = read_ts_folder(folder), read_ts_folder(folder, "test")
    # As M. Kudo's own description counts them: speakers, and the shortest and longest utterance.
    labels, counts = np.unique(train.y, return_counts=True)
    assert labels.tolist() == list("123456789")
    assert set(counts) == {30}
    counts = np.unique(test.y, return_counts=True)[1]
    assert counts.tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    lengths = [len(series) for series in train.X + test.X]
    assert (min(lengths), max(lengths)) == (7, 29)
    assert {series.shape[1] for series in train.X + test.X} == {12}
    np.testing.assert_allclose(train.X[0][:2, :2], [[1.860936, -0.207383], [1.891651, -0.193249]])
