"""Interactions: every form of input gives the same matrix; labels both ways; what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, csr_array

from lamina.errors import FileFormatError, InputError
from lamina.factorization.interactions import Interactions, new_rows
from lamina.factorization.labels import Labels

USERS, ITEMS, VALUES = ["b", "a", "b"], [7, 9, 9], [3.0, 4.0, 5.0]
MATRIX = [[0, 4], [3, 5]]
FRAME = pd.DataFrame({"user": USERS, "item": ITEMS, "rating": VALUES})

FORMS = {
    "tuple": ((USERS, ITEMS, VALUES), None, None),
    "pairs and y": ((USERS, ITEMS), VALUES, None),
    "array of objects": (FRAME.to_numpy(dtype=object), None, None),
    "frame by usual names": (FRAME.assign(time=0), None, None),
    "frame by position": (FRAME.set_axis(["u", "i", "r"], axis=1), None, None),
    "frame by given names": (FRAME.rename(columns={"user": "w"}), None, ("w", "item", "rating")),
    "frame and y": (FRAME[["user", "item"]], FRAME["rating"], ("user", "item", "rating")),
    "categories": (FRAME.assign(user=FRAME["user"].astype("category")), None, None),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_matrix_and_labels(form):
    X, y, columns = FORMS[form]
    found = Interactions.of(X, y, columns=columns)
    np.testing.assert_array_equal(found.by_user.toarray(), MATRIX)
    np.testing.assert_array_equal(found.by_item.toarray(), np.transpose(MATRIX))
    assert found.users.values.tolist() == ["a", "b"]
    assert found.items.values.tolist() == [7, 9]


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil"])
def test_sparse_matrices_are_taken_by_row_numbers(form):
    found = Interactions.of(csr_array(MATRIX).asformat(form))
    np.testing.assert_array_equal(found.by_user.toarray(), MATRIX)
    assert found.users.values.tolist() == [0, 1]


def test_a_sparse_matrix_is_left_as_it_was():
    unsorted = csr_array((np.array([5.0, 3.0]), np.array([1, 0]), np.array([0, 0, 2])), (2, 2))
    found = Interactions.of(unsorted)
    assert unsorted.indices.tolist() == [1, 0]
    assert found.by_user.indices.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("how", "value"), [("sum", 9.0), ("mean", 4.5), ("last", 8.0), ("error", None)]
)
@pytest.mark.parametrize("sparse", [False, True])
def test_pairs_that_come_twice(how, value, sparse):
    users, items, values = np.array([0, 1, 0]), np.array([0, 0, 0]), np.array([1.0, 2.0, 8.0])
    X = coo_array((values, (users, items)), (2, 1)) if sparse else (users, items, values)
    if how == "error":
        with pytest.raises(InputError, match=r"got 1 of 3 that repeat"):
            Interactions.of(X)
        return
    found = Interactions.of(X, duplicates=how)
    assert found.by_user.toarray().ravel().tolist() == [value, 2.0]


@pytest.mark.parametrize(
    ("X", "y", "columns", "message"),
    [
        (([], []), None, None, "at least one pair"),
        (csr_array((3, 3)), None, None, "at least one pair"),
        (csr_array(MATRIX), [1.0], None, "None beside a sparse matrix"),
        (np.eye(4), None, None, "A dense matrix"),
        (([1, 2], [1]), None, None, "one length"),
        (([1], [2], [3.0]), [3.0], None, "got both"),
        (
            (["a", None], [1, 2]),
            None,
            None,
            "user .* in every row, got none in row 2",
        ),
        (([1.0, np.nan], [1, 2]), None, None, "got none in row 2"),
        (([1.5, 2.0], [1, 2]), None, None, "whole numbers, got 1.5 in row 1"),
        (([[1], [2]], [1, 2]), None, None, "told apart"),
        (([1, 2], [1, 2], [1.0, np.nan]), None, None, "got 1 that are NaN or infinite"),
        (([1, 2], [1, 2], ["x", "y"]), None, None, "Values expected numbers"),
        (FRAME, None, ("user", "film"), "got 'film'"),
        (FRAME, None, ("user",), "two or three names"),
        (FRAME.assign(a=1).rename(columns={"user": "w"}), None, None, "Say which"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(X, y, columns, message):
    with pytest.raises(InputError, match=message):
        Interactions.of(X, y, columns=columns)


@pytest.mark.parametrize(
    "labels",
    [
        [5, -3, 2**60],
        ["ü", "a", ""],
        ["a\0", "a", "b" * 300],
        [("x", 1), 2, "z"],
        [2**70, 1, 2],
    ],
)
def test_labels_of_any_kind_have_codes(labels):
    found, codes = Labels.of(labels, "user")
    assert [found.values[code] for code in codes] == labels
    assert found.codes(labels).tolist() == codes.tolist()
    assert found.codes([-999, "none"]).tolist() == [-1, -1]


@pytest.mark.parametrize("labels", [[5, -3], ["ü", "a", ""], ["a\0", "a", "b" * 300]])
def test_labels_go_to_arrays_and_back(labels):
    known, _ = Labels.of(labels, "user")
    assert Labels.from_arrays(known.arrays()).values.tolist() == known.values.tolist()


def test_labels_that_cannot_be_stored_are_refused():
    known, _ = Labels.of([("x", 1)], "user")
    with pytest.raises(InputError, match=r"got \('x', 1\) of type tuple"):
        known.arrays()


@pytest.mark.parametrize(
    "arrays",
    [
        {"numbers": np.array([2, 1])},
        {"numbers": np.array([1, 1])},
        {"numbers": np.array([1.0, 2.0])},
        {"ends": np.array([1, 5]), "text": np.zeros(3, np.uint8)},
        {"ends": np.array([2, 1, 3]), "text": np.zeros(3, np.uint8)},
        {"texts": np.zeros(3)},
    ],
)
def test_damaged_labels_are_refused(arrays):
    with pytest.raises(FileFormatError):
        Labels.from_arrays(arrays)


def test_new_rows_are_aligned_with_known_items():
    known = Interactions.of(FRAME).items
    found = new_rows((["x", "x", "y"], [9, 7, 9]), known)
    np.testing.assert_array_equal(found.by_user.toarray(), [[1, 1], [0, 1]])
    with pytest.raises(InputError, match=r"got 8 in row 1"):
        new_rows((["x"], [8]), known)
    with pytest.raises(InputError, match=r"2 items, got 3 columns"):
        new_rows(csr_array((1, 3)), known)
