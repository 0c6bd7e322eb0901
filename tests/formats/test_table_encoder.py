"""TableEncoder: the numbers it makes of each column, what it refuses and in which words."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import InputError
from lamina.formats.table_columns import CategoryColumn, NumberColumn
from lamina.formats.table_encoder import TableEncoder

TABLE = pd.DataFrame(
    {
        "age": [20.0, np.nan, 40.0, 60.0],
        "colour": ["red", "blue", None, "red"],
        "member": [True, False, True, False],
        "constant": [0.1, 0.1, 0.1, 0.1],
    }
)


def through_json(encoder):
    return TableEncoder.from_document(json.loads(json.dumps(encoder.to_document())))


def test_table_by_hand():
    encoder = TableEncoder().fit(TABLE)
    assert encoder.output_names == (
        "age",
        "age is missing",
        "colour=blue",
        "colour=red",
        "member",
        "constant",
    )
    s = np.sqrt(1.5)  # (20, 40, 60) has mean 40 and deviation sqrt(800 / 3)
    np.testing.assert_allclose(
        encoder.transform(TABLE),
        [
            [-s, 0, 0, 1, 1, 0],
            [0, 1, 1, 0, -1, 0],
            [0, 0, 0, 0, 1, 0],
            [s, 0, 0, 1, -1, 0],
        ],
        rtol=1e-6,
    )


def test_no_indicator_where_fit_saw_nothing_missing():
    encoder = TableEncoder().fit(pd.DataFrame({"a": [1.0, 3.0]}))
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame({"a": [np.nan, 3.0]})), [[0], [1]])


def test_columns_are_found_by_name():
    encoder = TableEncoder().fit(TABLE)
    shuffled = TABLE.assign(extra=pd.Timestamp("2020-01-01"))[
        ["extra", "constant", "member", "colour", "age"]
    ]
    np.testing.assert_array_equal(encoder.transform(shuffled), encoder.transform(TABLE))


def test_unseen_categories_are_zeros_and_counted():
    encoder = TableEncoder().fit(TABLE)
    other = TABLE.assign(colour=["green", "red", None, "green"])
    np.testing.assert_array_equal(
        encoder.transform(other)[:, 2:4], [[0, 0], [0, 1], [0, 0], [0, 0]]
    )
    assert encoder.unseen(other) == {"colour": 2}
    assert encoder.unseen(TABLE) == {}


@pytest.mark.parametrize(
    "dtype", ["object", "str", "string", "category", "string[pyarrow]"], ids=str
)
def test_text_encodes_alike_whatever_its_dtype(dtype):
    text = pd.DataFrame({"c": pd.Series(["b", "a", None, "b"], dtype=dtype)})
    encoder = TableEncoder().fit(text)
    assert encoder.columns == (CategoryColumn("c", ("a", "b")),)
    np.testing.assert_array_equal(encoder.transform(text), [[0, 1], [1, 0], [0, 0], [0, 1]])


@pytest.mark.parametrize("dtype", ["object", "float32", "Int64", "Float32", "int64[pyarrow]"])
def test_numbers_encode_alike_whatever_their_dtype(dtype):
    numbers = pd.DataFrame({"c": pd.Series([1, 3, None, 5], dtype=dtype)})
    encoder = TableEncoder().fit(numbers)
    assert encoder.columns == (NumberColumn("c", 3.0, np.sqrt(8 / 3), True),)


@pytest.mark.parametrize("dtype", ["object", "boolean", "bool[pyarrow]"])
def test_booleans_with_gaps_are_numbers(dtype):
    flags = pd.DataFrame({"c": pd.Series([True, None, False], dtype=dtype)})
    np.testing.assert_array_equal(
        TableEncoder().fit(flags).transform(flags), [[1, 0], [0, 1], [-1, 0]]
    )


def test_categories_survive_a_change_of_dtype():
    encoder = TableEncoder().fit(pd.DataFrame({"zone": ["1", "2", "x", "1"]}))
    expected = [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    for cells in (["2", "1", None], [2.0, 1.0, np.nan], pd.Categorical([2, 1, None])):
        Z = encoder.transform(pd.DataFrame({"zone": cells}))
        np.testing.assert_array_equal(Z, expected)
    big = TableEncoder().fit(pd.DataFrame({"zone": pd.Categorical([2**60 + 1, 2**60 + 3])}))
    assert big.output_names == (f"zone={2**60 + 1}", f"zone={2**60 + 3}")


def test_numbers_stay_exact_far_from_zero():
    seconds = pd.DataFrame({"t": 1.7e9 + np.arange(5.0)})
    z = TableEncoder().fit(seconds).transform(seconds)[:, 0]
    np.testing.assert_allclose(z, (np.arange(5) - 2) / np.sqrt(2), rtol=1e-6)


def test_a_category_per_row_is_fine_in_a_small_table():
    names = [f"n{i}" for i in range(51)]
    few = pd.DataFrame({"name": names[:50]})
    assert TableEncoder().fit(few).transform(few).sum() == 50
    with pytest.raises(InputError, match=r"'name'.*51 different values in 51 rows.*identifier"):
        TableEncoder().fit(pd.DataFrame({"name": names}))
    TableEncoder().fit(pd.DataFrame({"name": [*names, names[0]]}))  # one repeats: a category


def test_too_many_categories_are_refused_with_the_remedy():
    names = pd.DataFrame({"name": ["a", "b", "c", "a"]})
    TableEncoder(max_categories=3).fit(names)
    with pytest.raises(InputError, match=r"at most 2 categories") as caught:
        TableEncoder(max_categories=2).fit(names)
    assert "--drop name on the command line, drop=['name'] in Python" in str(caught.value)
    with pytest.raises(InputError, match="max_categories expected a whole number at least 1"):
        TableEncoder(max_categories=0).fit(names)


@pytest.mark.parametrize(
    ("cells", "word"),
    [
        (pd.to_datetime(["2020-01-01", "2021-01-01"]), "datetime64"),
        ([datetime.date(2020, 1, 1), None], "date"),
        (pd.to_timedelta([1, 2]), "timedelta64"),
        ([1j, 2j], "complex"),
        ([b"a", b"b"], "bytes"),
        ([[1], [2]], "cannot be compared"),
        ([(1,), (2,)], "tuple"),
    ],
    ids=str,
)
def test_other_contents_are_refused_by_name(cells, word):
    message = rf"Column 'when' expected numbers, booleans or text, got .*{word}.*drop=\['when'\]"
    with pytest.raises(InputError, match=message):
        TableEncoder().fit(pd.DataFrame({"when": pd.Series(cells)}))
    for fitted in (["a", "b"], [1, 2]):
        encoder = TableEncoder().fit(pd.DataFrame({"when": fitted}))
        with pytest.raises(InputError, match="Column 'when' expected numbers"):
            encoder.transform(pd.DataFrame({"when": pd.Series(cells)}))


@pytest.mark.parametrize("dtype", ["float64", "object", "str", "Int64", "category"])
def test_a_column_without_values_is_refused_by_fit_alone(dtype):
    empty = pd.DataFrame({"a": pd.Series([None, None], dtype=dtype)})
    with pytest.raises(InputError, match=r"Column 'a' expected at least one value, got 2 missing"):
        TableEncoder().fit(empty)
    for values in (["u", "v"], [1, 2]):
        encoder = TableEncoder().fit(pd.DataFrame({"a": values}))
        assert not encoder.transform(empty).any()


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_infinity_is_placed(value):
    table = pd.DataFrame({"a": [1.0, 2.0, value]}, index=["u", "v", "w"])
    message = r"Column 'a' expected finite numbers.*got -?(inf|1e\+39) in row w"
    with pytest.raises(InputError, match=message):
        TableEncoder().fit(table)
    with pytest.raises(InputError, match=message):
        TableEncoder().fit(table[:2]).transform(table)


def test_numbers_as_categories_are_numbers_again():
    encoder = TableEncoder().fit(pd.DataFrame({"age": [1, 3]}))
    Z = encoder.transform(pd.DataFrame({"age": pd.Categorical([3, None, 1])}))
    np.testing.assert_array_equal(Z, [[1], [0], [-1]])


@pytest.mark.parametrize("dtype", ["object", "str", "category"])
def test_text_among_numbers_is_placed(dtype):
    encoder = TableEncoder().fit(pd.DataFrame({"age": [1, 2]}))
    cells = pd.Series(["1", None, "old", "older"], dtype=dtype)
    with pytest.raises(InputError, match=r"'age' expected numbers, got 'old' in row 2.*1 more"):
        encoder.transform(pd.DataFrame({"age": cells}))
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame({"age": cells[:2]})), [[-1], [0]])


def test_numpy_parameters_become_plain():
    assert through_json(TableEncoder(max_categories=np.int64(9)).fit(TABLE)).max_categories == 9


def test_missing_columns_are_named_at_once():
    encoder = TableEncoder().fit(TABLE)
    with pytest.raises(InputError, match=r"the 4 columns .* without 'age', 'member'\."):
        encoder.transform(TABLE[["constant", "colour"]])


def test_frames_that_are_none():
    with pytest.raises(InputError, match=r"DataFrame, got ndarray.*ArrayEncoder"):
        TableEncoder().fit(np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"DataFrame, got ndarray"):
        TableEncoder().fit(TABLE).transform(TABLE.to_numpy())
    with pytest.raises(InputError, match=r"names that are text, got 0"):
        TableEncoder().fit(pd.DataFrame(np.zeros((2, 2))))
    with pytest.raises(InputError, match=r"different names, got 'a' more than once"):
        TableEncoder().fit(pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]))
    for shape in ((0, 2), (2, 0)):
        with pytest.raises(InputError, match="at least one row and one column"):
            TableEncoder().fit(pd.DataFrame(np.zeros(shape), columns=list("ab")[: shape[1]]))


def test_no_rows_to_transform_is_fine():
    assert TableEncoder().fit(TABLE).transform(TABLE[:0]).shape == (0, 6)


CELLS = st.one_of(
    st.lists(st.floats(-1e30, 1e30) | st.none(), min_size=6, max_size=6),
    st.lists(st.text(max_size=3) | st.none(), min_size=6, max_size=6),
    st.lists(st.booleans() | st.none(), min_size=6, max_size=6),
    st.lists(st.integers(-(2**62), 2**62), min_size=6, max_size=6),
).filter(lambda cells: any(cell is not None for cell in cells))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), CELLS, min_size=1, max_size=4))
def test_any_table_survives_the_document(columns):
    X = pd.DataFrame({name: pd.Series(cells) for name, cells in columns.items()})
    encoder = TableEncoder().fit(X)
    again = through_json(encoder)
    assert again == encoder
    Z = encoder.transform(X)
    assert np.isfinite(Z).all()
    assert Z.shape == (6, len(encoder.output_names))
    np.testing.assert_array_equal(again.transform(X), Z)
    assert encoder.unseen(X) == {}


def test_numbers_with_signs_are_told_to_be_read_as_categories():
    prices = pd.DataFrame({"price": ["$1,000", "$200", "300", "5,1", "?", "$7", "12"]})
    with pytest.warns(UserWarning, match=r"'price' is read as 7 categories, .*; '\$1,000' is none"):
        TableEncoder().fit(prices)
    TableEncoder().fit(pd.DataFrame({"code": list("123456") * 2}))  # numbers all: names of kinds
    TableEncoder().fit(pd.DataFrame({"size": ["1 m", "2 m", "3 m", "4 m", "5 m"] * 2}))
