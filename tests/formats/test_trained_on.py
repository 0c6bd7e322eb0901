"""Data that a model was trained on are known again, and which of their rows were not."""

import numpy as np
import pandas as pd
import pytest

from lamina.errors import FileFormatError
from lamina.formats.dataset import Dataset
from lamina.formats.trained_on import TrainedOn, seen, split, unseen

TABLE = pd.DataFrame({"a": [1.5, 2, 3, 4, 5], "b": list("xyxyx"), "c": [1, 2, None, 4, 5]})
LABELS = np.array(list("ppqqp"), object)
WHOLE = Dataset(TABLE, LABELS, "table", "whole.csv")


class Trained:
    """A stand-in for an estimator."""

    def __init__(self, data, held_out):
        self.trained_on_ = TrainedOn.of(data, held_out, seed=3)


def test_rows_are_split_without_overlap():
    train, test = split(10, 0.3, seed=1)
    assert sorted([*train, *test]) == list(range(10))
    assert len(test) == 3
    assert split(10, 0.3, seed=2)[1].tolist() != test.tolist()


@pytest.mark.parametrize(
    "X",
    [
        np.arange(10.0).reshape(5, 2),
        [np.full((t, 1), t, np.float32) for t in range(1, 6)],
        ["one", "two", "three", "four", "five"],
    ],
    ids=["array", "series", "texts"],
)
def test_the_same_data_are_known_again(X):
    data = Dataset(X, LABELS, "array", "first")
    model = Trained(data, 0.4)
    measured, told = unseen(model, Dataset(X, LABELS.copy(), "array", "elsewhere"))
    assert (len(measured), told) == (2, ", those of 5 that it was not trained on")
    assert sorted([*measured.y, *seen(model, data).y]) == sorted(LABELS)
    for other in (Dataset(X[::-1], LABELS, "array", ""), Dataset(X, LABELS[::-1], "array", "")):
        assert unseen(model, other) == (other, "")


def test_a_table_may_have_more_columns_and_another_order():
    model = Trained(Dataset(TABLE[["a", "b"]], LABELS, "table", ""), 0.2)
    assert len(unseen(model, Dataset(TABLE[["c", "b", "a"]], LABELS, "table", ""))[0]) == 1
    changed = TABLE.assign(b="x")
    for other in (TABLE[["a", "c"]], changed, TABLE[:4]):
        assert unseen(model, Dataset(other, LABELS[: len(other)], "table", ""))[1] == ""


def test_a_model_of_all_rows_says_so():
    measured, told = unseen(Trained(WHOLE, 0), WHOLE)
    assert len(measured) == 5
    assert told == " that it was trained on: on new ones expect more error"


def test_a_document_makes_it_again_or_is_refused():
    made = TrainedOn.of(WHOLE, 0.2, 0)
    document = made.to_document()
    assert TrainedOn.from_document(document) == made
    for key, wrong in (
        ("columns", [1]),
        ("held_out", 1.0),
        ("held_out", float("nan")),
        ("seed", -1),
        ("digest", 5),
    ):
        with pytest.raises(FileFormatError):
            TrainedOn.from_document(document | {key: wrong})
