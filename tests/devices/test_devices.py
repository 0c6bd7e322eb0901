"""Several devices, and several processes, find what one finds."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lamina import MLPClassifier, RatingFactorization
from lamina.cli.main import app
from lamina.errors import InputError
from lamina.formats.model_file import read_model
from lamina.placement import mesh_of

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what ``fits.py`` wrote: a vector of all numbers by fit, and what was told."""
    folder = tmp_path_factory.mktemp("fits")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", HERE / "fits.py", folder],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fits = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    return fits, json.loads((folder / "told.json").read_text())


def difference(one, other):
    """Return the relative difference of two vectors."""
    return np.linalg.norm(one - other) / np.linalg.norm(one)


def numbers(path):
    """Return all numbers of a model file as a vector."""
    arrays = read_model(path)[1]
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)])


@pytest.mark.parametrize(
    ("one", "others"),
    [
        ("perceptron 1", ("perceptron 2", "perceptron 8", "perceptron 2x4")),
        ("conv 1", ("conv 8",)),
        ("ratings 1", ("ratings 8",)),
        ("implicit 1", ("implicit 8",)),
    ],
)
def test_several_devices_find_what_one_finds(found, one, others):
    for other in others:
        assert difference(found[0][one], found[0][other]) < 1e-6, other


@pytest.mark.parametrize("fit", ["perceptron 8 then None", "perceptron None then 8"])
def test_a_run_goes_on_over_other_devices(found, fit):
    assert difference(found[0]["perceptron 1"], found[0][fit]) < 1e-6


def test_the_work_is_split(found):
    of_first, of_last = 4 * 100 * 64 * 1024, 6 * 100 * 1024 * 10  # the input needs no gradient
    assert found[1]["8"]["products"] < (of_first + of_last) / 3


def test_a_large_matrix_is_split_along_the_model_axis(found):
    shapes = {fit: told["W"] for fit, told in found[1].items()}
    assert shapes == {"2": [64, 1024], "8": [64, 1024], "2x4": [64, 256]}


def test_each_mesh_has_one_program(found):
    programs = [told["programs"] for told in found[1].values()]
    assert np.diff(programs).tolist() == [1, 1]


@pytest.mark.parametrize("devices", [0, -1, 2, True, 1.0, "al", (1, 2), (1,), (1, 1, 1), ("1", 1)])
def test_devices_that_are_not_there(devices):
    with pytest.raises(InputError, match=r"as there is 1 CPU device, got .+\. Use \"all\"") as told:
        mesh_of(devices)
    assert repr(devices) in str(told.value)


def test_one_device_needs_no_mesh():
    assert mesh_of("all") is mesh_of(1) is mesh_of((1, 1)) is mesh_of(None) is None


def test_a_fit_with_devices_that_are_not_there_leaves_the_estimator_as_it_was():
    model = MLPClassifier(devices=3)
    with pytest.raises(InputError, match="devices expected"):
        model.fit(np.eye(4), [0, 1, 0, 1])
    assert not hasattr(model, "weights_")


def test_bayes_says_that_it_takes_no_devices():
    with pytest.raises(InputError, match='devices expected solver="als" or "sgd"'):
        RatingFactorization(devices="all").fit(([0, 0, 1], [0, 1, 1], [1, 2, 3]))


def test_devices_are_no_part_of_a_model_file(tmp_path):
    model = MLPClassifier(hidden=(2,), max_epochs=1, devices=1).fit(np.eye(4), [0, 1, 0, 1])
    model.save(tmp_path / "m.safetensors")
    assert "devices" not in read_model(tmp_path / "m.safetensors")[0]["parameters"]


FIT = ["fit", "iris", "--hidden", "16384", "--batch-size", "50", "--epochs", "2"]
"""16,384 units, so that the matrices of (4, 16384) and (16384, 3) are among those that are split:
two of four devices are in each process."""


def test_two_processes_find_what_one_finds(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    kept = ["--checkpoint", "run", "--metrics", "epochs.jsonl"]
    over = ["--distributed", "--devices", "2x2"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    environment |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    (tmp_path / "two").mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "lamina", *FIT, *kept, *over, "--out", "model.safetensors"],
            env={**environment, "JAX_PROCESS_ID": number}, cwd=tmp_path / "two", text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in "01"
    ]  # fmt: skip
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    # The collectives' own library prints too, at times in the middle of its own lines.
    labels = ["data", "model", "trained", "test", "saved"]
    printed = [re.findall(rf"^(?:{'|'.join(labels)})\b", out, re.MULTILINE) for out, _ in outputs]
    assert printed == [labels, []]
    assert len((tmp_path / "two" / "epochs.jsonl").read_text().splitlines()) == 2
    # What they left, a single process on one device goes on with, and finds alone.
    for folder, name, more in (("two", "on", ["--resume", "run"]), ("one", "model", [])):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        app([*FIT, *more, "--out", f"{name}.safetensors"], standalone_mode=False)
    alone = numbers(tmp_path / "one" / "model.safetensors")
    for name in ("model", "on"):
        together = numbers(tmp_path / "two" / f"{name}.safetensors")
        assert difference(alone, together) < 1e-6, name
