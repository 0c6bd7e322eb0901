"""Encoders: the numbers they make, the copies they return, the words they refuse in."""

import copy
import datetime
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import BaseEstimator, clone

from lamina.errors import FileFormatError, InputError
from lamina.formats.dataset import Dataset
from lamina.formats.encoders import (
    ArrayEncoder,
    CategoryColumn,
    ImageEncoder,
    NumberColumn,
    TableEncoder,
    encoder_for,
    encoder_from_document,
)

TABLE = pd.DataFrame(
    {
        "age": [20.0, np.nan, 40.0, 60.0],
        "colour": ["red", "blue", None, "red"],
        "member": [True, False, True, False],
        "constant": [0.1, 0.1, 0.1, 0.1],
    }
)
UNFITTED = [TableEncoder(), ImageEncoder(), ArrayEncoder()]
FITTED = [
    TableEncoder().fit(TABLE),
    ImageEncoder().fit(np.zeros((2, 3, 4, 1), np.uint8)),
    ArrayEncoder().fit(np.arange(6.0).reshape(3, 2)),
]


def through_json(encoder):
    return encoder_from_document(json.loads(json.dumps(encoder.to_document(), allow_nan=False)))


# Every encoder


@pytest.mark.parametrize("encoder", UNFITTED + FITTED, ids=repr)
def test_document_gives_the_same_value_back(encoder):
    assert through_json(encoder) == encoder
    assert type(encoder).from_document(encoder.to_document()) == encoder


@pytest.mark.parametrize(("unfitted", "fitted"), list(zip(UNFITTED, FITTED, strict=True)))
def test_fit_returns_a_copy_and_values_compare(unfitted, fitted):
    assert unfitted == type(unfitted)() == copy.deepcopy(unfitted)
    assert fitted != unfitted
    assert copy.deepcopy(fitted) == fitted
    with pytest.raises(AttributeError):
        unfitted.kind = "other"


@pytest.mark.parametrize("encoder", UNFITTED + FITTED)
def test_encoder_is_a_constructor_parameter(encoder):
    class Estimator(BaseEstimator):
        def __init__(self, encoder=None):
            self.encoder = encoder

    assert clone(Estimator(encoder)).encoder == encoder


@pytest.mark.parametrize("encoder", UNFITTED)
def test_unfitted_encoder_says_so(encoder):
    with pytest.raises(InputError, match="expected to be fitted first"):
        encoder.transform(TABLE)


@pytest.mark.parametrize("encoder", UNFITTED)
def test_encoder_for_each_kind(encoder):
    assert encoder_for(Dataset(TABLE, None, encoder.kind, "here")) == encoder


def test_names_match_the_matrix():
    inputs = [TABLE, np.zeros((2, 3, 4, 1), np.uint8), np.zeros((3, 2))]
    for encoder, X, width in zip(FITTED, inputs, (4, 12, 2), strict=True):
        Z = encoder.transform(X)
        assert Z.dtype == np.float32
        assert Z.shape == (len(X), len(encoder.output_names))
        assert len(set(encoder.output_names)) == Z.shape[1]
        assert encoder.input_width == width


# Tables


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


# Images


def test_bytes_are_divided_and_floats_are_not():
    X = np.array([0, 51, 102, 255], np.uint8).reshape(1, 2, 2, 1)
    encoder = ImageEncoder().fit(X)
    np.testing.assert_allclose(encoder.transform(X), [[0, 0.2, 0.4, 1]], rtol=1e-6)
    np.testing.assert_array_equal(encoder.transform(X.astype(np.float64)), [[0, 51, 102, 255]])


def test_image_layouts():
    X = np.arange(2 * 3 * 4 * 2, dtype=np.uint8).reshape(2, 3, 4, 2)
    encoder = ImageEncoder().fit(X)
    assert encoder.image_shape == (3, 4, 2)
    np.testing.assert_array_equal(encoder.transform(X), encoder.transform(X.reshape(2, -1)))
    at = encoder.output_names.index("pixel 2,1,0")
    np.testing.assert_allclose(encoder.transform(X)[:, at], X[:, 2, 1, 0] / 255, rtol=1e-6)
    grey = ImageEncoder().fit(X[..., 0])
    assert grey.image_shape == (3, 4, 1)
    np.testing.assert_array_equal(grey.transform(X[..., 0]), grey.transform(X[..., :1]))


def test_images_are_refused_in_words():
    X = np.zeros((2, 3, 4, 3))
    encoder = ImageEncoder().fit(X)
    for wrong in (
        X[:, :2],
        X[..., 0],
        X[..., :1],
        X.reshape(2, 6, 6),
        X.reshape(4, -1),
        X[0, 0, 0],
    ):
        with pytest.raises(InputError, match=r"shape \(3, 4, 3\), as in its fit"):
            encoder.transform(wrong)
    for wrong in (np.zeros((2, 12)), np.zeros((0, 3, 4)), np.zeros(3)):
        with pytest.raises(InputError, match=r"\(n, h, w, c\) or \(n, h, w\).*reshape"):
            ImageEncoder().fit(wrong)
    for dtype in (int, bool, object, "U3"):
        with pytest.raises(InputError, match=r"uint8 or floating images, got .*astype"):
            ImageEncoder().fit(X.astype(dtype))
        with pytest.raises(InputError, match=r"uint8 or floating images"):
            encoder.transform(X.astype(dtype))
    for bad in (np.nan, np.inf, 1e300):
        wrong = X.copy()
        wrong[1, 2, 3, 0] = bad
        with pytest.raises(InputError, match=r"finite numbers.*image 1 \(X\[1\]\)"):
            encoder.transform(wrong)


# Arrays


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_any_array_survives_the_document(X):
    if not (np.abs(X) <= np.float64(np.finfo(np.float32).max)).all():
        with pytest.raises(InputError, match="expected finite numbers"):
            ArrayEncoder().fit(X)
        return
    encoder = ArrayEncoder().fit(X)
    assert through_json(encoder) == encoder
    Z = encoder.transform(X)
    np.testing.assert_array_equal(through_json(encoder).transform(X), Z)
    wide = X.astype(np.float64)
    constant = wide.min(axis=0) == wide.max(axis=0)
    assert not Z[:, constant].any()
    normal = ~constant & (wide.std(axis=0) > 1e-12 * np.abs(wide).max(axis=0) + 1e-300)
    np.testing.assert_allclose(Z[:, normal].mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(Z[:, normal].std(axis=0), 1, atol=1e-3)


def test_array_by_hand_over_many_blocks():
    X = np.random.default_rng(0).normal([3, -1e6], [2, 1e-3], size=(10_000, 2))
    exact = X.astype(np.longdouble)
    expected = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    np.testing.assert_allclose(ArrayEncoder().fit(X).transform(X), expected, rtol=1e-5, atol=1e-6)


def test_array_as_it_is():
    X = np.array([[1, 2], [3, 4]])
    encoder = ArrayEncoder(standardize=False).fit(X)
    Z = encoder.transform(X)
    assert Z.dtype == np.float32
    np.testing.assert_array_equal(Z, X)
    assert encoder.output_names == ("x0", "x1")


def test_a_constant_column_that_rounds_is_constant():
    X = np.full((7, 1), 0.1)
    assert ArrayEncoder().fit(X).scale == (1.0,)
    assert not ArrayEncoder().fit(X).transform(X).any()


def test_a_deviation_below_all_normal_numbers_is_no_scale():
    X = np.array([[0.0], [5e-324]])
    assert ArrayEncoder().fit(X).scale == (1.0,)


def test_arrays_are_refused_in_words():
    X = np.zeros((3, 2))
    encoder = ArrayEncoder().fit(X)
    with pytest.raises(InputError, match=r"X with 2 columns, as in its fit, got shape \(3, 3\)"):
        encoder.transform(np.zeros((3, 3)))
    for wrong in (np.zeros(3), np.zeros((3, 2, 1)), X.astype(object), X.astype(str), X + 1j):
        for call in (ArrayEncoder().fit, encoder.transform):
            with pytest.raises(InputError, match=r"numeric array of shape \(n, m\), got"):
                call(wrong)
    for bad in (np.nan, np.inf, 1e300):
        wrong = X.copy()
        wrong[2, 1] = bad
        for call in (ArrayEncoder().fit, ArrayEncoder(standardize=False).fit, encoder.transform):
            with pytest.raises(InputError, match=r"got .* in row 2, column 1 \(X\[2, 1\]\)"):
                call(wrong)
    with pytest.raises(InputError, match="at least one row"):
        ArrayEncoder().fit(np.zeros((0, 2)))


# Documents from strangers


def edited(document, path, value):
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


TABLE_DOCUMENT, IMAGE_DOCUMENT, ARRAY_DOCUMENT = (
    json.loads(json.dumps(encoder.to_document())) for encoder in FITTED
)


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (None, "'kind'"),
        ([], "'kind'"),
        ({}, "'kind'"),
        ({"kind": "audio"}, "one of table, images, array, got 'audio'"),
        ({"kind": ["table"]}, "'kind' to be str"),
        (edited(TABLE_DOCUMENT, ["columns"], ...), "'columns'"),
        (edited(TABLE_DOCUMENT, ["columns"], {}), "'columns'"),
        (edited(TABLE_DOCUMENT, ["columns", 0], "age"), "'name'"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "name"], 3), "'name' to be str"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "name"], "colour"), "names that differ"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "mean"], ...), "'mean'"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "mean"], "0"), "'mean'"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "mean"], True), "'mean'"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "mean"], float("nan")), "finite"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "mean"], -(10**400)), "finite"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "scale"], 0), "above 0"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "scale"], -1.5), "above 0"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "scale"], float("inf")), "finite"),
        (edited(TABLE_DOCUMENT, ["columns", 0, "marks_missing"], 1), "'marks_missing'"),
        (edited(TABLE_DOCUMENT, ["columns", 1, "categories"], []), "texts that differ"),
        (edited(TABLE_DOCUMENT, ["columns", 1, "categories"], ["a", "a"]), "texts that differ"),
        (edited(TABLE_DOCUMENT, ["columns", 1, "categories"], ["a", 1]), "texts that differ"),
        (edited(TABLE_DOCUMENT, ["columns", 1, "categories"], ["a", []]), "texts that differ"),
        (edited(TABLE_DOCUMENT, ["columns", 1, "categories"], "ab"), "'categories'"),
        (edited(TABLE_DOCUMENT, ["max_categories"], 0), "'max_categories'"),
        (edited(TABLE_DOCUMENT, ["max_categories"], True), "'max_categories'"),
        (edited(TABLE_DOCUMENT, ["max_categories"], 2.5), "'max_categories'"),
        (edited(IMAGE_DOCUMENT, ["image_shape"], ...), "'image_shape'"),
        (edited(IMAGE_DOCUMENT, ["image_shape"], [3, 4]), "three whole numbers"),
        (edited(IMAGE_DOCUMENT, ["image_shape"], [3, 4, 0]), "whole number of at least 1"),
        (edited(IMAGE_DOCUMENT, ["image_shape"], [3, 4, 1.0]), "whole number of at least 1"),
        (edited(IMAGE_DOCUMENT, ["image_shape"], "abc"), "'image_shape'"),
        (edited(ARRAY_DOCUMENT, ["mean"], [1.0]), "1 numbers, as in 'mean', got 2"),
        (edited(ARRAY_DOCUMENT, ["mean"], [1.0, None]), "'mean' to be a finite number"),
        (edited(ARRAY_DOCUMENT, ["scale", 1], 0.0), "'scale' to be a finite number above 0"),
        (edited(ARRAY_DOCUMENT, ["standardize"], 0), "'standardize' to be bool"),
        (edited(ARRAY_DOCUMENT, ["kind"], "table"), "'columns'"),
    ],
)
def test_edited_documents_are_refused(document, word):
    with pytest.raises(FileFormatError) as caught:
        encoder_from_document(document)
    assert word in str(caught.value)
    assert "save the model again" in str(caught.value)
    assert len(str(caught.value)) < 300
