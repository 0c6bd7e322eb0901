"""ONNX files read: what PyTorch exports, what is refused, and what a stranger's file may not do."""

import io
import warnings

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.formats.onnx.export import network_to_onnx
from lamina.formats.onnx.reading import read_onnx
from lamina.layers import PREDICTING

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
FLOAT = 1  # onnx.TensorProto.FLOAT


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    return torch


@pytest.fixture(scope="module")
def modules(torch):
    """Networks of PyTorch, the shape of a sample, and whether its channels come first."""
    nn = torch.nn

    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm, self.pool = nn.BatchNorm2d(4), nn.MaxPool2d(2)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            x = torch.relu(self.norm(self.first(x)))
            x = self.pool(nn.functional.silu(self.second(x) + x))
            return self.head(x.view(x.size(0), -1))

    class Series(nn.Module):
        def __init__(self, kind, both, last):
            super().__init__()
            self.rnn = getattr(nn, kind)(3, 4, 2, batch_first=True, bidirectional=both)
            self.head, self.last = nn.Linear(8 if both else 4, 2), last

        def forward(self, x):
            states, final = self.rnn(x)
            if self.last == "state":
                return self.head(final[-1])
            return self.head(states[:, -1] if self.last == "step" else states.mean(1))

    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 4, 3, padding=1)
            self.grow = nn.ConvTranspose1d(4, 2, 3, stride=2)

        def forward(self, x):
            return self.grow(torch.relu(self.conv(x))).mean(2)

    vectors = [nn.Flatten(), nn.Linear(12, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 3)]
    return {
        "images": (Images(), (2, 8, 8), True),
        "lstm": (Series("LSTM", False, "step"), (5, 3), False),
        "gru both ways": (Series("GRU", True, "mean"), (5, 3), False),
        "rnn": (Series("RNN", False, "state"), (5, 3), False),
        "gru both ways, last step": (Series("GRU", True, "step"), (5, 3), False),
        "waves": (Waves(), (3, 9), True),
        "vectors": (nn.Sequential(*vectors, nn.SiLU(), nn.Softmax(1)), (3, 4), False),
    }


def exported(torch, module, X):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is PyTorch's older one
        torch.onnx.export(
            module.eval(), (X,), file, dynamo=False, opset_version=20, input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    return file.getvalue()


@pytest.mark.parametrize("name", ["images", "lstm", "gru both ways", "rnn", "waves", "vectors"])
def test_what_pytorch_exports(name, torch, modules, ran, tmp_path):
    module, shape, channels_first = modules[name]
    X = torch.randn(3, *shape)
    with torch.no_grad():
        module(X)  # in training: running statistics that are not 0 and 1
        (tmp_path / "t.onnx").write_bytes(exported(torch, module, X))
        expected = module(X).numpy()
    found = read_onnx(tmp_path / "t.onnx")
    ours = np.moveaxis(X.numpy(), 1, -1) if channels_first else X.numpy()
    assert found.input_shape == ours.shape[1:]
    again = network_to_onnx(found.network, found.weights, found.statistics, found.input_shape)
    np.testing.assert_allclose(ran(again, X=ours)["scores"], expected, atol=2e-6)


def test_the_last_step_of_both_directions_is_no_summary_of_ours(torch, modules, tmp_path):
    module, shape, _ = modules["gru both ways, last step"]
    (tmp_path / "t.onnx").write_bytes(exported(torch, module, torch.randn(2, *shape)))
    with pytest.raises(FileFormatError, match=r"Gather .*the state after the last step read"):
        read_onnx(tmp_path / "t.onnx")


def graph(nodes, constants=(), shape=("n", 4), domain=""):
    """A file with one input X and one output Y."""
    make = onnx.helper
    made = make.make_graph(
        nodes,
        "graph",
        [make.make_tensor_value_info("X", FLOAT, list(shape))],
        [make.make_tensor_value_info("Y", FLOAT, ["a", "b"])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants],
    )
    opsets = [make.make_opsetid("", 20)]
    opsets += [make.make_opsetid(domain, 1)] if domain else []
    return make.make_model(made, opset_imports=opsets, ir_version=9)


def node(operator, *inputs, **attributes):
    return onnx.helper.make_node(operator, inputs, ["Y"], **attributes)


def test_an_affine_map_by_hand(tmp_path):
    W = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
    model = graph(
        [onnx.helper.make_node("MatMul", ["X", "W"], ["A"]), node("Add", "b", "A")],
        [("W", W), ("b", np.array([10, 20], np.float32))],
    )
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    found = read_onnx(tmp_path / "g.onnx")
    assert [type(layer).__name__ for layer in found.network.layers] == ["Dense"]
    X = np.array([[1, 0, 0, -1]], np.float32)
    A, _ = found.network.apply(found.weights, found.statistics, X, PREDICTING)
    np.testing.assert_array_equal(A, [[4, 14]])


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "domain", "message"),
    [
        ("Erf", ["X"], {}, "", r"Erf expected an operator that a layer of Lamina stands for"),
        ("LeakyRelu", ["X"], {"alpha": 0.2}, "", r"LeakyRelu expected alpha=0.01, got 0.2"),
        ("Fancy", ["X"], {"domain": "own"}, "own", r"Fancy expected an operator of ONNX itself"),
        ("Gemm", ["X", "tall"], {}, "", r"Gemm expected 5 columns"),
        ("Transpose", ["X"], {"perm": [1, 0]}, "", r"output Y"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, operator, inputs, attributes, domain, message):
    tall = [("tall", np.ones((5, 2), np.float32))] if "tall" in inputs else []
    model = graph([node(operator, *inputs, **attributes)], tall, domain=domain)
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FileFormatError, match=message):
        read_onnx(tmp_path / "g.onnx")


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "beside.bin"])
def test_weights_in_other_files_are_refused(tmp_path, place):
    (tmp_path / "beside.bin").write_bytes(bytes(32))
    model = graph([node("Gemm", "X", "W")], [("W", np.ones((4, 2), np.float32))])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FileFormatError, match="got some in other files"):
        read_onnx(tmp_path / "g.onnx")


def test_a_file_reserves_no_memory_on_its_word(tmp_path):
    sizes = np.array([10**6, 10**6], np.int64)
    nodes = [
        onnx.helper.make_node("ConstantOfShape", ["sizes"], ["Z"]),
        onnx.helper.make_node("Expand", ["Z", "sizes"], ["W"]),
        node("Gemm", "X", "W"),
    ]
    model = graph(nodes, [("sizes", sizes)])
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FileFormatError, match=r"Gemm expected a matrix of weights"):
        read_onnx(tmp_path / "g.onnx")


def test_shared_branches_do_not_multiply(tmp_path):
    """Thirty times the sum of a tensor's two branches would be a billion layers."""
    nodes, last = [], "X"
    for i in range(30):
        nodes.append(onnx.helper.make_node("Relu", [last], [f"a{i}"]))
        nodes.append(onnx.helper.make_node("Tanh", [f"a{i}"], [f"b{i}"]))
        nodes.append(onnx.helper.make_node("Add", [f"a{i}", f"b{i}"], [f"c{i}"]))
        # a tensor from before the join goes round it, so that nothing dominates
        nodes.append(onnx.helper.make_node("Add", [f"c{i}", f"b{i - 1}" if i else "X"], [f"d{i}"]))
        last = f"d{i}"
    nodes.append(node("Relu", last))
    (tmp_path / "g.onnx").write_bytes(graph(nodes).SerializeToString())
    with pytest.raises(FileFormatError, match=r"at most 10,000 layers"):
        read_onnx(tmp_path / "g.onnx")


def test_damaged_and_foreign_files(tmp_path):
    model = graph([node("Gemm", "X", "W")], [("W", np.ones((4, 2), np.float32))])
    whole = model.SerializeToString()
    path = tmp_path / "g.onnx"
    for content in (b"", b"PK\x03\x04", whole[:40], whole[:-20], b"\x00" * 100):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"g\.onnx"):
            read_onnx(path)
    with pytest.raises(InputError, match="expected a file that can be read"):
        read_onnx(tmp_path / "none.onnx")
