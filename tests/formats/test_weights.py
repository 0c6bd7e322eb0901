"""Files of weights: PyTorch's own, read without it and without running what they ask for."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.formats import read_weights, write_weights

ARRAYS = {
    "lstm.weight_ih_l0": np.arange(12, dtype=np.float32).reshape(4, 3) / 7,
    "fc.bias": np.array([1.5, -2.0]),
    "steps": np.array(7),
    "mask": np.array([True, False]),
    "half": np.array([0.5, 3.0], np.float16),
    "empty": np.zeros((0, 3), np.float32),
}
"""Names, a scalar, an empty array, several dtypes."""


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        wanted = array.astype(np.float32) if array.dtype == np.float16 else array
        assert (found[name].shape, found[name].dtype) == (wanted.shape, wanted.dtype), name
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_reads_what_torch_saves(torch, tmp_path, zipped):
    state = {name: torch.from_numpy(array.copy()) for name, array in ARRAYS.items()}
    state["transposed"] = state["lstm.weight_ih_l0"].T
    state["slice"] = state["lstm.weight_ih_l0"][1:3, 1]
    state["bf16"] = torch.tensor([1.0, -0.15625, 3e38], dtype=torch.bfloat16)
    expected = {name: tensor.float().numpy() if name == "bf16" else tensor.numpy()
                for name, tensor in state.items()}  # fmt: skip
    torch.save(state, tmp_path / "state.pt", _use_new_zipfile_serialization=zipped)
    found = read_weights(tmp_path / "state.pt")
    assert_same(found, expected)
    assert np.shares_memory(found["transposed"], found["lstm.weight_ih_l0"])


@pytest.mark.parametrize("held", [None, "state_dict", "model"])
def test_reads_modules_and_checkpoints(torch, tmp_path, held):
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    state = module.state_dict()
    saved = state if held is None else {held: state, "epoch": 3, "best": 0.9, "note": "x"}
    torch.save(saved, tmp_path / "state.pth")
    found = read_weights(tmp_path / "state.pth")
    assert_same(found, {name: tensor.numpy() for name, tensor in state.items()})


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_written_is_read_again_by_us_and_by_torch(torch, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    write_weights(path, ARRAYS)
    found = read_weights(path)
    assert_same({name: found[name] for name in ARRAYS}, ARRAYS)
    if suffix == ".pt":
        loaded = torch.load(path, weights_only=True)
    else:
        loaded = pytest.importorskip("safetensors.torch").load_file(path)
    for name, array in ARRAYS.items():
        assert loaded[name].numpy().dtype == array.dtype
        np.testing.assert_array_equal(loaded[name].numpy(), array)


def test_safetensors_of_bfloat16(torch, tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    numbers = torch.tensor([[1.0, -0.15625]], dtype=torch.bfloat16)
    save_file({"W": numbers}, tmp_path / "w.safetensors")
    found = read_weights(tmp_path / "w.safetensors")["W"]
    np.testing.assert_array_equal(found, numbers.float().numpy())


class _Runs:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def archive(path, content, storages=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as out:
        out.writestr("archive/data.pkl", content)
        for number, storage in enumerate(storages):
            out.writestr(f"archive/data/{number}", storage)
    return path


def test_a_pickle_that_wants_to_run_code_is_refused_and_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path / "bad.pt", pickle.dumps({"w": _Runs()}, protocol=2))
    with pytest.raises(FileFormatError, match=rf"bad.pt asks to run {os.system.__module__}.system"):
        read_weights(path)
    assert not (tmp_path / "hacked").exists()


def tensor(shape, strides, count, at=0):
    """A state dict with one tensor of a storage of ``count`` numbers, as PyTorch pickles it."""

    class Global:
        def __init__(self, name):
            self.name = name

        def __reduce__(self):
            return self.name

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        def save_global(self, obj, name=None):
            module, _, last = obj.name.rpartition(".")
            self.write(f"c{module}\n{last}\n".encode())

        def persistent_id(self, obj):
            return obj[1:] if isinstance(obj, tuple) and obj[:1] == ("pid",) else None

        def save(self, obj, save_persistent_id=True):
            if isinstance(obj, Global):
                self.save_global(obj)
            elif isinstance(obj, Call):
                self.save_global(Global("torch._utils._rebuild_tensor_v2"))
                self.save(obj.arguments)
                self.write(b"R")
            else:
                super().save(obj, save_persistent_id)

    class Call:
        def __init__(self, *arguments):
            self.arguments = arguments

    out = io.BytesIO()
    storage = ("pid", "storage", Global("torch.FloatStorage"), "0", "cpu", count)
    Pickler(out, 2).dump({"w": Call(storage, at, shape, strides, False, None)})
    return out.getvalue()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (((2, 2), (2, 1), 4, 0), None),
        (((2, 2), (2, 1), 4, 1), "larger than its storage"),
        (((2, 3), (2, 1), 4, 0), "larger than its storage"),
        (((10**9, 10**9), (0, 0), 4, 0), "larger than its storage"),
        (((-1, 2), (2, 1), 4, 0), "whole numbers"),
        (((2,), (-1,), 4, 1), "whole numbers"),
        (((2, 2), (2, 1), 10**12, 0), "16 bytes instead of"),
    ],
)
def test_a_tensor_lies_within_its_storage(tmp_path, case, message):
    path = archive(tmp_path / "w.pt", tensor(*case), [np.arange(4, dtype=np.float32).tobytes()])
    if message is None:
        np.testing.assert_array_equal(read_weights(path)["w"], [[0, 1], [2, 3]])
        return
    with pytest.raises(FileFormatError, match=message):
        read_weights(path)


def test_compressed_records_are_refused(tmp_path):
    path = archive(tmp_path / "w.pt", tensor((1,), (1,), 1), [bytes(4)], zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match="compressed or overlapping"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", "legacy"])
def test_a_truncated_file_is_told(tmp_path, suffix, request):
    path = tmp_path / f"w{suffix}"
    if suffix == "legacy":
        torch = request.getfixturevalue("torch")
        state = {"w": torch.arange(100.0)}
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        write_weights(path, {"w": np.arange(100, dtype=np.float32)})
    whole = path.read_bytes()
    for size in range(1, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=path.name):
            read_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([1, 2]), "expected a state dict, tensors by name; got list"),
        (pickle.dumps({"epoch": 3}), "got none among epoch"),
        (b"\x80\x02R.", "damaged"),
        (b"", "damaged"),
    ],
)
def test_what_is_no_state_dict_is_told(tmp_path, content, message):
    with pytest.raises(FileFormatError, match=message):
        read_weights(archive(tmp_path / "w.pt", content))


def test_paths_and_names(tmp_path):
    with pytest.raises(InputError, match=r"expected a file that can be read"):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({}))
    with pytest.raises(FileFormatError, match="foreign"):
        read_weights(tmp_path / "plain.pt")
    with pytest.raises(InputError, match=r"ends in .safetensors, .pt or .pth"):
        write_weights(tmp_path / "w.h5", {})
