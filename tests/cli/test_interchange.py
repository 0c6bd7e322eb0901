"""``lamina export``, ``import-torch`` and ``import-onnx``."""

import json
import subprocess
import sys

import numpy as np
import pytest

import lamina as library
from lamina.formats import read_weights, write_weights

LAYOUT = {
    "network": {"is": "Sequential", "layers": [
        {"is": "LSTM", "units": 4}, {"is": "Dense", "units": 2},
    ]},
    "input_shape": [5, 3],
    "classes": ["no", "yes"],
    "estimator": "RecurrentClassifier",
}  # fmt: skip


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    shapes = {
        "rnn.weight_ih_l0": (16, 3), "rnn.weight_hh_l0": (16, 4), "rnn.bias_ih_l0": (16,),
        "rnn.bias_hh_l0": (16,), "fc.weight": (2, 4), "fc.bias": (2,),
    }  # fmt: skip
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_table_to_onnx_and_back(lamina, flowers_model):
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    outcome = lamina("export", flowers_model, "--onnx", "flowers.onnx")
    assert outcome.status == 0, outcome.err
    assert "MLPClassifier as ONNX" in outcome.out
    refused = lamina("import-onnx", "flowers.onnx", "--out", "again.safetensors")
    assert refused.status == 2
    assert "one input of samples" in refused.err


def test_pytorch_weights_in_and_out(lamina, tmp_path, state):
    write_weights(tmp_path / "state.pt", state)
    (tmp_path / "network.json").write_text(json.dumps(LAYOUT))
    outcome = lamina(
        "import-torch", "state.pt", "--layout", "network.json", "--out", "lstm.safetensors"
    )
    assert outcome.status == 0, outcome.err
    model = library.load("lstm.safetensors")
    series = [np.ones((t, 3), np.float32) for t in (2, 9)]
    assert set(model.predict(series)) <= {"no", "yes"}
    outcome = lamina("export", "lstm.safetensors", "--torch", "out.pt")
    assert outcome.status == 0
    assert "left out" not in outcome.out  # it has no encoder
    written = read_weights("out.pt")
    np.testing.assert_array_equal(written["lstm_0.weight_hh_l0"], state["rnn.weight_hh_l0"])
    both = state["rnn.bias_ih_l0"] + state["rnn.bias_hh_l0"]
    np.testing.assert_array_equal(written["lstm_0.bias_ih_l0"], both)


def test_classes_in_any_order_name_the_same_scores(tmp_path, state):
    write_weights(tmp_path / "state.pt", state)
    X = np.random.default_rng(1).normal(size=(8, 5, 3)).astype(np.float32)
    one, other = (
        library.import_torch(tmp_path / "state.pt", LAYOUT | {"classes": classes})
        for classes in (["no", "yes"], ["yes", "no"])
    )
    assert other.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X)[:, ::-1], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "another entry 'extra'"),
        ({"input_shape": [5, 0]}, "an input_shape of whole numbers"),
        ({"classes": ["one"]}, "classes expected 2 of them"),
        ({"classes": ["one", None]}, "labels that differ, all text or all numbers"),
        ({"network": {"is": "Magic"}}, "a layer in the model file expected one of"),
        ({"names": {"lstm_0": "rnn", "dense_0": "head"}}, "state.pt: The file expected"),
    ],
)
def test_a_layout_that_does_not_fit(lamina, tmp_path, state, change, message):
    write_weights(tmp_path / "state.pt", state)
    (tmp_path / "network.json").write_text(json.dumps(LAYOUT | change))
    outcome = lamina(
        "import-torch", "state.pt", "--layout", "network.json", "--out", "m.safetensors"
    )
    assert outcome.status == 2
    assert message in outcome.err
    assert not (tmp_path / "m.safetensors").exists()


def test_weights_for_pytorch_leave_the_encoder_out_and_say_so(lamina, flowers_model):
    outcome = lamina("export", flowers_model, "--torch", "out.safetensors")
    assert "left out" in outcome.out


def test_nothing_to_export_to(lamina, flowers_model):
    assert "expected --onnx FILE or --torch FILE" in lamina("export", flowers_model).err


def test_importing_lamina_imports_no_onnx():
    code = "import sys, lamina, lamina.estimators.persistence, lamina.estimators.torch_weights"
    code += "; assert not {'onnx', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
