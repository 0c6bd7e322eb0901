"""Files of interactions, with and without a header."""

import pandas as pd
import pytest

from lamina.errors import InputError
from lamina.formats.pairs import read_pairs

ROWS = [["ann", 7, 3.5], ["bob", 9, 4.0]]


@pytest.mark.parametrize("mark", ["\t", "::", ";", ",", "|", " "])
@pytest.mark.parametrize("header", [False, True])
def test_text_with_and_without_a_header(mark, header, tmp_path):
    lines = [["who", "stars", "what", "when"]] if header else []
    for user, item, value in ROWS:
        lines.append([user, value, item, 5] if header else [user, item, value, 5])
    path = tmp_path / "u.data"
    path.write_text("".join(mark.join(map(str, line)) + "\n" for line in lines))
    names = ("who", "what", "stars")
    found = read_pairs(path, names)
    pd.testing.assert_frame_equal(found, pd.DataFrame(ROWS, columns=list(names)), check_dtype=False)


def test_columns_without_names_are_user_item_value(tmp_path):
    path = tmp_path / "u.data"
    path.write_text("1\t7\t3\n2\t9\t4\n")
    assert read_pairs(path).to_dict("list") == {"user": [1, 2], "item": [7, 9], "value": [3, 4]}
    assert read_pairs(path, ("a", "b")).to_dict("list") == {"a": [1, 2], "b": [7, 9]}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_tables_have_a_header(suffix, tmp_path):
    frame, path = pd.DataFrame(ROWS, columns=["u", "i", "r"]), tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    pd.testing.assert_frame_equal(read_pairs(path), frame, check_dtype=False)
    assert read_pairs(path, ("i", "u")).columns.tolist() == ["i", "u"]
    with pytest.raises(InputError, match="a column 'user', got the columns 'u', 'i', 'r'"):
        read_pairs(path, ("user", "i"))


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", None, "got an empty file"),
        ("\n\n", None, "got an empty file"),
        ("alone\n", None, "a user and an item in each line, got 'alone'"),
        ("1,2\n", ("a", "b", "c"), "3 columns, a, b, c, got 2"),
        ("a,b,c\n", ("a", "b", "c"), "rows below its header, got none"),
        ("user,film,stars\n1,2,3\n", None, "'value', got 'stars' in row 1. Has it a header"),
        ("u,i,r\n1,2,x\n", ("u", "i", "r"), "'r', got 'x' in row 1"),
        ("1\t2\t3\n1\t2\t3\t4\t5\n", None, "3 cells in each line"),
        ("1,2,3\n", ("a", "a"), "two or three different names"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(text, columns, message, tmp_path):
    path = tmp_path / "u.data"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(path, columns)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="a file that can be read"):
        read_pairs(tmp_path / "u.data")
