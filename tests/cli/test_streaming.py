"""Data larger than memory on the command line."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lamina.cli import streaming, training

RNG = np.random.default_rng(0)
N = 800
SMALL = (
    "--hidden",
    "8",
    "--batch-size",
    "16",
    "--epochs",
    "4",
    "--quiet",
    "--learning-rate",
    "0.01",
)


@pytest.fixture(autouse=True)
def _files(_folder):
    """Write a table, arrays and images into the test's folder."""
    frame = pd.DataFrame(RNG.normal(size=(N, 3)).astype(np.float32), columns=list("abc"))
    frame["late"] = np.where(frame.a + frame.b > 0, "yes", "no")
    frame.to_parquet("t.parquet", row_group_size=40)


def test_a_table_is_fitted_evaluated_and_predicted(lamina):
    fitted = lamina("fit", "t.parquet", "--target", "late", "--stream", *SMALL)
    assert fitted.status == 0, fitted.err
    assert "640 rows to train on, read from disk as needed" in fitted.out
    assert "learned from 640 rows\n" in fitted.out
    assert "on 160 rows" in fitted.out
    streamed = lamina("evaluate", "t.safetensors", "t.parquet", "--stream")
    in_memory = lamina("evaluate", "t.safetensors", "t.parquet")
    assert streamed.status == 0, streamed.err
    assert streamed.out == in_memory.out
    for option in ((), ("--stream",)):
        lamina("predict", "t.safetensors", "t.parquet", "-o", f"p{len(option)}.csv", *option)
    predicted = pd.read_csv("p1.csv")
    assert predicted.equals(pd.read_csv("p0.csv"))
    assert (predicted.late == pd.read_parquet("t.parquet").late).mean() > 0.8


def test_arrays_and_images_in_folders(lamina, tmp_path):
    (tmp_path / "big").mkdir()
    X = RNG.normal(size=(N, 3)).astype(np.float32)
    np.save("big/X.npy", X)
    np.save("big/y.npy", X @ [1.0, 2, 3])
    found = lamina("fit", "big", "--stream", "--test-fraction", "0.1", *SMALL)
    assert found.status == 0, found.err
    assert "R²" in found.out
    assert lamina("fit", "big").err.endswith("read piece by piece. Add --stream.\n")
    for i, pixels in enumerate(RNG.integers(0, 99, (40, 4, 4)).astype(np.uint8)):
        place = tmp_path / "img" / ("train" if i < 30 else "test") / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels + np.uint8(150 * (i % 2))).save(place / f"{i}.png")
    found = lamina("fit", "img", "--stream", *SMALL)
    assert found.status == 0, found.err
    assert "img: 30 rows to train on" in found.out
    assert "on 10 rows" in found.out
    predicted = lamina("predict", "img.safetensors", "img", "--stream").out.splitlines()
    assert predicted[0] == "file,prediction"
    assert [line.split("/")[0] for line in predicted[1:]] == ["a"] * 5 + ["b"] * 5


def test_streaming_is_named_where_the_data_exceed_the_memory(lamina, monkeypatch, capsys):
    monkeypatch.setattr(training, "free_memory", lambda: 10_000)
    told = lamina("fit", "t.parquet", "--target", "late", *SMALL).err
    assert "GiB of memory once it is read" in told
    assert "--stream reads it piece by piece instead." in told
    pd.read_parquet("t.parquet").to_csv("t.csv", index=False)
    streaming.notice("t.csv")
    way = "Written as Parquet it can be read piece by piece, with --stream."
    assert way in capsys.readouterr().err
    monkeypatch.setattr(training, "free_memory", lambda: 10_000_000)
    streaming.notice("t.csv")
    assert capsys.readouterr().err == ""


def test_a_bad_row_saves_the_model_that_was_trained(lamina, tmp_path, monkeypatch):
    monkeypatch.setattr("lamina.formats.streams.pieces.SAMPLE_BYTES", 1)
    monkeypatch.setattr("lamina.estimators.streaming.WINDOW_BYTES", 1)
    (tmp_path / "big").mkdir()
    X = RNG.normal(size=(N, 3)).astype(np.float32)
    np.save("big/y.npy", (X[:, 0] > 0).astype(int))
    X[500] = np.nan
    np.save("big/X.npy", X)
    found = lamina("fit", "big", "--stream", "--test-fraction", "0", *SMALL)
    assert found.status == 1
    assert "big/X.npy expected finite numbers, got NaN or infinity in row 500 " in found.err
    assert "The model as trained before that is saved in big.safetensors." in found.err
    np.save("good.npy", X[:500])
    assert lamina("predict", "big.safetensors", "good.npy", "--stream").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stream",), "expected a target for each row.*--target NAME"),
        (("--stream", "--target", "late", "--model", "lstm"), "one of linear, mlp, conv; got"),
        (("--stream", "--target", "late", "--skip-bad"), "--skip-bad expected rows read whole"),
        (("--stream", "--target", "late", "--forecast", "a"), "--forecast expected rows read"),
        (("--stream", "--target", "late", "--test-fraction", "0.001"), "enough pieces"),
    ],
)
def test_bad_options_are_told(lamina, arguments, message):
    found = lamina("fit", "t.parquet", *arguments)
    assert found.status == 2
    assert re.search(message, found.err), found.err
