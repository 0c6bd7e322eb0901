"""What holds for every encoder: values that compare, unfitted and fitted, and their documents."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone

from lamina.errors import FileFormatError, InputError
from lamina.formats.dataset import Dataset
from lamina.formats.encoders import (
    ArrayEncoder,
    ImageEncoder,
    SeriesEncoder,
    TableEncoder,
    TextEncoder,
    encoder_for,
    encoder_from_document,
)

TABLE = pd.DataFrame({"age": [20.0, np.nan, 40.0], "colour": ["red", "blue", None]})
UNFITTED = [TableEncoder(), ImageEncoder(), ArrayEncoder(), SeriesEncoder(), TextEncoder()]
FITTED = [
    TableEncoder().fit(TABLE),
    ImageEncoder().fit(np.zeros((2, 3, 4, 1), np.uint8)),
    ArrayEncoder().fit(np.arange(6.0).reshape(3, 2)),
    SeriesEncoder().fit([np.arange(6.0).reshape(3, 2), np.ones((1, 2))]),
    TextEncoder().fit(["hello", "world"]),
]


def through_json(encoder):
    return encoder_from_document(json.loads(json.dumps(encoder.to_document(), allow_nan=False)))


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
    for encoder, X, width in zip(FITTED[:3], inputs, (2, 12, 2), strict=True):
        Z = encoder.transform(X)
        assert Z.dtype == np.float32
        assert Z.shape == (len(X), len(encoder.output_names))
        assert len(set(encoder.output_names)) == Z.shape[1]
        assert encoder.input_width == width


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


TABLE_DOCUMENT, IMAGE_DOCUMENT, ARRAY_DOCUMENT, SERIES_DOCUMENT, TEXT_DOCUMENT = (
    json.loads(json.dumps(encoder.to_document())) for encoder in FITTED
)


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (None, "'kind'"),
        ([], "'kind'"),
        ({}, "'kind'"),
        ({"kind": "audio"}, "one of table, images, array, series, text, got 'audio'"),
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
        (edited(SERIES_DOCUMENT, ["mean"], [1.0]), "1 numbers, as in 'mean', got 2"),
        (edited(SERIES_DOCUMENT, ["mean", 0], float("inf")), "'mean' to be a finite number"),
        (edited(SERIES_DOCUMENT, ["scale", 1], 0.0), "'scale' to be a finite number above 0"),
        (edited(SERIES_DOCUMENT, ["standardize"], "yes"), "'standardize' to be bool"),
        (edited(TEXT_DOCUMENT, ["vocabulary"], ...), "'vocabulary'"),
        (edited(TEXT_DOCUMENT, ["vocabulary", "tokens", 0], "xy"), "characters that differ"),
        (edited(TEXT_DOCUMENT, ["unknown"], "ignore"), "one of error, replace, got 'ignore'"),
        (edited(TEXT_DOCUMENT, ["most"], 0), "'most'"),
        (edited(TEXT_DOCUMENT, ["at_least"], None), "'at_least'"),
    ],
)
def test_edited_documents_are_refused(document, word):
    with pytest.raises(FileFormatError) as caught:
        encoder_from_document(document)
    assert word in str(caught.value)
    assert "save the model again" in str(caught.value)
    assert len(str(caught.value)) < 300
