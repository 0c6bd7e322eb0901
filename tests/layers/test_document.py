"""Networks as JSON documents: there and back, and nothing else gets in."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.layers import (
    Activation,
    AveragePool1D,
    AveragePool2D,
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Parallel,
    Penalty,
    Reshape,
    Residual,
    Sequential,
    SpatialDropout,
)
from lamina.layers.document import from_document, to_document

NETWORK = Sequential(
    [
        Flatten(),
        Dense(8, "relu", init="orthogonal", penalty=Penalty(l1=0.1, l2=1e-3)),
        Sequential([Dropout(0.25), Activation("gelu")]),
        Dense(2, bias=False),
    ]
)


def test_round_trip_through_json():
    back = from_document(json.loads(json.dumps(to_document(NETWORK))))
    assert back == NETWORK
    assert hash(back) == hash(NETWORK)


@pytest.mark.parametrize(
    "layer",
    [
        MaxPool2D(3, (2, 1), ((1, 1), (0, 2))),
        AveragePool2D([2, 3], padding="same"),
        MaxPool1D(3, 2, (1, 0)),
        AveragePool1D(np.int64(4)),
        GlobalAveragePool(keep_axes=True),
        BatchNorm(0.99, 1e-3, frozen=True),
        LayerNorm(np.float64(1e-6)),
        Reshape([4, -1]),
        SpatialDropout(0.2),
        Parallel([Dense(2), Sequential([Dropout(0.1), Dense(2)])], join="sum"),
        Residual(Sequential([BatchNorm(), Dense(4)])),
        Residual(Dense(3), shortcut=Parallel([Dense(3, penalty=Penalty(l2=0.1))])),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_each_layer_round_trips(layer):
    back = from_document(json.loads(json.dumps(to_document(Sequential([layer])))))
    assert back == Sequential([layer])
    assert hash(back) == hash(Sequential([layer]))


def test_a_document_is_readable():
    assert to_document(Sequential([Dropout(0.5)])) == {
        "is": "Sequential",
        "layers": [{"is": "Dropout", "rate": 0.5}],
    }
    assert to_document(Dense(3, penalty=Penalty(l2=1.0)))["penalty"] == {
        "is": "Penalty",
        "l1": 0.0,
        "l2": 1.0,
    }


def test_fields_left_out_take_their_defaults():
    assert from_document({"is": "Dense", "units": 3}) == Dense(3)


def test_numbers_of_numpy_are_json_too():
    network = Sequential([Dense(np.int64(3)), Dropout(np.float32(0.5))])
    assert from_document(json.loads(json.dumps(to_document(network)))) == network


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"is": "Denze", "units": 3}, r"got 'Denze'\. Did you mean 'Dense'\?"),
        ({"is": "os.system", "command": "ls"}, "got 'os.system'"),
        ({"units": 3}, "got None"),
        ({"is": ["Dense"], "units": 3}, "a layer in the model file expected one of"),
        ({"is": "Dense", "units": 3, "colour": "red"}, "colour"),
        ({"is": "Dense"}, "units"),
        ({"is": "Dense", "units": -3}, "units expected a whole number at least 1; got -3"),
        ({"is": "Dense", "units": "3"}, "got '3'"),
        ({"is": "Sequential", "layers": ["relu"]}, "got 'relu' in it"),
        ({"is": "Sequential", "layers": 7}, "cannot be built"),
        ({"is": "Residual", "body": {"is": "Penalty"}}, "got Penalty.* in it"),
        (
            {"is": "Parallel", "branches": [{"is": "Flatten"}], "join": "dot"},
            "join expected one of",
        ),
        ({"is": "MaxPool2D", "window": [2, 2, 2]}, "MaxPool2D window expected"),
        ({"is": "Sequential", "layers": [{"is": "Dropout", "rate": 2}]}, "dropout rate"),
    ],
)
def test_strange_documents_are_refused(document, words):
    with pytest.raises(FileFormatError, match=words):
        from_document(document)


def test_a_layer_of_ones_own_cannot_be_saved():
    @dataclass(frozen=True)
    class Mine(Dropout):
        pass

    @dataclass(frozen=True)
    class Dense(Dropout):  # the name of a layer that Lamina knows
        pass

    for layer in (Mine(0.1), Dense(0.1)):
        with pytest.raises(InputError, match=f"got {type(layer).__name__}"):
            to_document(Sequential([layer]))
