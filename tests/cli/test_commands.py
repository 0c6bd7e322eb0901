"""Help, lists, the demonstration, output to a pipe; and Fashion-MNIST where it is at hand."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lamina as library

COMMANDS = (
    "fit",
    "predict",
    "evaluate",
    "inspect",
    "export",
    "import-torch",
    "import-onnx",
    "datasets",
    "demo",
)


HELP = """
import sys
sys.argv = ["lamina", *sys.argv[1:]]
from lamina.cli.main import main
try:
    main()
finally:
    heavy = {"numpy", "jax", "pandas", "sklearn", "matplotlib", "optax", "scipy"}
    print("LOADED", sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command):
    arguments = [command, "--help"] if command else ["--help"]
    done = subprocess.run(
        [sys.executable, "-c", HELP, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout.endswith("LOADED []\n")
    assert f"Usage: lamina {command}".strip() in done.stdout
    if not command:
        assert all(re.search(rf"^\W*{name} +[A-Z]", done.stdout, re.M) for name in COMMANDS)


def test_no_command_shows_help(lamina):
    outcome = lamina()
    assert all(name in outcome.out + outcome.err for name in COMMANDS)


def test_version(lamina):
    import jax

    expected = f"lamina {library.__version__} (jax {jax.__version__}, Python "
    assert lamina("--version").out.startswith(expected)


def test_datasets_are_listed_with_their_place(lamina, tmp_path, monkeypatch):
    (tmp_path / "mine" / "fashion-mnist").mkdir(parents=True)
    monkeypatch.setenv("LAMINA_DATA_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    outcome = lamina("datasets")
    assert outcome.status == 0
    rows = {line.split()[0]: line for line in outcome.out.splitlines() if line.strip()}
    assert {"mnist", "fashion-mnist", "cifar-10", "cifar-100", "digits", "iris"} <= set(rows)
    assert str(tmp_path / "mine" / "fashion-mnist") in rows["fashion-mnist"]
    assert rows["cifar-10"].rstrip().endswith("not here")
    assert "170 MB" in rows["cifar-10"]
    assert "comes with scikit-learn" in rows["digits"]


def test_the_demonstration(lamina_process, tmp_path):
    from PIL import Image
    from sklearn.datasets import load_digits

    outcome = lamina_process("demo", "shown")
    assert outcome.status == 0
    assert outcome.err == ""
    names = sorted(path.name for path in (tmp_path / "shown").iterdir())
    assert names == ["confusion.png", "digits.safetensors", "report.html", "templates.png"]
    linear, mlp = (float(a) for a in re.findall(r"accuracy (\d\.\d+) on 449 rows", outcome.out))
    assert linear > 0.94
    assert mlp > 0.97
    table = [
        line.split()
        for line in outcome.out.splitlines()
        if re.match(r"\d( +[\d·]+){10}$", line.strip())
    ]
    confusion = np.array([[0 if n == "·" else int(n) for n in row[1:]] for row in table])
    assert confusion.shape == (10, 10)
    assert confusion.sum() == 449
    assert np.trace(confusion) / 449 == pytest.approx(mlp, abs=5e-5)
    for name in names[::3]:
        with Image.open(tmp_path / "shown" / name) as image:
            assert min(image.size) > 300
    assert "report    shown/report.html" in outcome.out
    assert f"{mlp:.2%}" in (tmp_path / "shown" / "report.html").read_text(encoding="utf-8")
    assert "lamina inspect shown/digits.safetensors" in outcome.out
    X, y = load_digits(return_X_y=True)
    model = library.load(tmp_path / "shown" / "digits.safetensors")
    assert model.score((X / 16).reshape(-1, 8, 8, 1), y) > 0.98


def test_piped_output_is_plain_text(lamina_process, flowers_model, flowers, tmp_path):
    flowers.to_csv(tmp_path / "flowers.csv", index=False)
    commands = [
        ("fit", "flowers.csv", "--target", "species", "--epochs", "2", "--model", "linear"),
        ("evaluate", flowers_model, "flowers.csv"),
        ("datasets",),
    ]
    for command in commands:
        outcome = lamina_process(*command, FORCE_COLOR="", TERM="xterm-256color")
        assert outcome.status == 0
        assert outcome.out
        assert "\x1b" not in outcome.out
        assert outcome.err == ""  # and no progress bar


def test_predictions_can_be_piped_on(lamina_process, flowers_model, flowers, tmp_path):
    flowers.to_csv(tmp_path / "flowers.csv", index=False)
    command = f"{sys.executable} -m lamina.cli.main predict {flowers_model} flowers.csv | head -n 2"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout == "species\nsetosa\n"
    assert done.stderr == ""


# Real data


@pytest.fixture
def fashion_mnist():
    """Return the folder of Fashion-MNIST's four files."""
    folder = Path(os.environ.get("LAMINA_DATA_DIR") or "/nowhere") / "fashion-mnist"
    if not folder.is_dir():
        pytest.skip("LAMINA_DATA_DIR names no folder that holds fashion-mnist")
    return folder


@pytest.mark.data
def test_fashion_mnist_with_a_sparse_support_vector_machine(lamina, fashion_mnist):
    began = time.perf_counter()
    fitted = lamina(
        "fit", fashion_mnist, "--model", "linear", "--loss", "hinge", "--penalty", "l1",
        "--alpha", "1e-4", "--epochs", "3", "--out", "fashion.safetensors",
    )  # fmt: skip
    seconds = time.perf_counter() - began
    assert fitted.status == 0
    assert "60,000 rows to train on" in fitted.out
    assert float(re.search(r"accuracy (\d\.\d+) on 10,000 rows", fitted.out)[1]) > 0.80
    W = library.load("fashion.safetensors").weights_["dense_0"]["W"]
    assert W.shape == (784, 10)
    assert 0.02 < (W == 0).mean() < 0.9
    shown = re.search(r"dense_0/W .*?(\d+\.\d)%", lamina("inspect", "fashion.safetensors").out)
    assert float(shown[1]) == pytest.approx(100 * (W == 0).mean(), abs=0.06)
    assert seconds < 30


def test_a_run_goes_on_from_its_folder(lamina, flowers_csv):
    fit = ["fit", "flowers.csv", "--target", "species", "--hidden", "4", "--quiet"]
    refused = lamina(*fit, "--epochs", 3, "--resume", "run1")
    assert (refused.status, "--checkpoint run1" in refused.err) == (2, True)
    begun = lamina(*fit, "--epochs", 3, "--checkpoint", "run1", "--out", "a.safetensors")
    assert begun.status == 0, begun.err
    again = lamina(
        *fit, "--epochs", 3, "--resume", "run1", "--out", "b.safetensors", "--metrics", "m.jsonl"
    )
    assert again.status == 0, again.err
    assert len(Path("m.jsonl").read_text().splitlines()) == 3
    other = lamina(*fit, "--epochs", 4, "--resume", "run1")
    assert (other.status, "another --epochs (3" in other.err) == (2, True)
