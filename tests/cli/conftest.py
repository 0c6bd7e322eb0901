"""The command line as a function, and small files for it to read."""

import os
import subprocess
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session", autouse=True)
def _cached(compiled_programs):
    """Compile programs once for all of these tests."""


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """Run each test in a folder of its own, so that a relative path leads there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def lamina(monkeypatch, capsys):
    """Return the command line as a function of its arguments, run in this process."""
    from lamina.cli.main import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lamina", *map(str, arguments)])
        with warnings.catch_warnings():  # commands set how warnings are shown
            try:
                main()
                status = 0
            except SystemExit as end:
                status = end.code or 0
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def lamina_process(tmp_path):
    """Return the command line as a function of its arguments, run in a process of its own."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "lamina.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
            env={**os.environ, **environment},
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


def flower_table():
    """Return 150 irises with missing sizes, a column of categories and the species' names."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    rng = np.random.default_rng(0)
    table = pd.DataFrame(iris.data.round(1), columns=["length", "width", "petal", "breadth"])
    table.loc[rng.choice(150, 12, replace=False), "width"] = np.nan
    table["soil"] = np.array(["clay", "loam", "sand"])[(iris.target + (rng.random(150) < 0.2)) % 3]
    table.loc[rng.choice(150, 5, replace=False), "soil"] = None
    table["species"] = iris.target_names[iris.target]
    return table


@pytest.fixture(scope="session")
def flowers():
    """Return the irises' table."""
    return flower_table()


@pytest.fixture
def flowers_csv(flowers, tmp_path):
    """Return the irises' table as ``flowers.csv``."""
    flowers.to_csv(tmp_path / "flowers.csv", index=False)
    return tmp_path / "flowers.csv"


@pytest.fixture(scope="session")
def flowers_model(tmp_path_factory, compiled_programs):
    """Return a model file that the command line made of the irises' table."""
    folder = tmp_path_factory.mktemp("flowers")
    flower_table().to_csv(folder / "flowers.csv", index=False)
    command = "fit flowers.csv --target species --hidden 16 --epochs 60 --learning-rate 0.01"
    subprocess.run(
        [sys.executable, "-m", "lamina.cli.main", *command.split()],
        check=True,
        cwd=folder,
        capture_output=True,
        timeout=300,
    )
    return folder / "flowers.safetensors"


def save_images(folder, images, names=None):
    """Write grey images (n, h, w) of uint8 as PNG files."""
    from PIL import Image

    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / (f"{i:03}.png" if names is None else names[i]))


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of 6×6 pictures: ``bright`` at the left, ``dark`` at the left."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 80, (2, 30, 6, 6), np.uint8)
    noise[0, :, :, :3] += 150
    noise[1, :, :, 3:] += 150
    for name, images in zip(("left", "right"), noise, strict=True):
        save_images(tmp_path / "pictures" / name, images)
    return tmp_path / "pictures"
