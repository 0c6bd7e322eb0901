"""``lamina compress``, and ``lamina fit --watch``."""

import re

import pytest

import lamina as library


def test_a_smaller_model_predicts_and_travels(lamina, flowers_model, flowers_csv):
    done = lamina(
        "compress", flowers_model, "flowers.csv", "--budget", "0.5", "--sweep", "0.8", "--method",
        "units", "--epochs", "2", "--out", "small.safetensors", "--png", "curve.png",
    )  # fmt: skip
    assert done.status == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert [row[1] for row in rows if row[:1] == ["units"] and row[1].endswith("%")] == [
        "50%",
        "80%",
    ]
    assert [row[1] for row in rows if row[-1:] == ["saved"]] == ["50%"]
    with open("curve.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    small, whole = library.load("small.safetensors"), library.load(flowers_model)
    assert small.weights_["dense_0"]["W"].shape[1] < whole.weights_["dense_0"]["W"].shape[1] == 16
    again = lamina("evaluate", "small.safetensors", "flowers.csv")
    assert float(re.search(r"accuracy ([\d.]+) on 30 rows", again.out)[1]) >= 0.9
    assert lamina("predict", "small.safetensors", "flowers.csv", "--out", "p.csv").status == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--budget", "1.5"], "budget expected a number above 0 and below 1; got 1.5"),
        (["--budget", "0.01"], "budget expected at least"),
        (["--sweep", "0.5,half"], "--sweep expected numbers like 0.5,0.1; got '0.5,half'"),
        (["--method", "unit"], "Did you mean 'units'?"),
        (["--epochs", "-1"], "epochs expected a whole number at least 0; got -1"),
        (["--target", "spices"], "Did you mean 'species'?"),
        (
            ["--out", "nowhere/m.safetensors"],
            "nowhere/m.safetensors expected a place that can be written",
        ),
        (
            ["--png", "nowhere/curve.png"],
            "nowhere/curve.png expected a place that can be written to",
        ),
        (["--png", "curve.xyz"], "--png expected a file's name that ends in .png, got curve.xyz"),
    ],
)
def test_bad_input(lamina, flowers_model, flowers_csv, options, told):
    done = lamina("compress", flowers_model, "flowers.csv", "--epochs", "0", *options)
    assert (done.status, told in done.err) == (2, True), done.err
    assert done.err.count("\n") == 1
    assert not flowers_model.with_name("flowers-small.safetensors").exists()


def test_a_watched_fit_prints_what_each_matrix_did(lamina, flowers_csv):
    fit = (
        "fit flowers.csv --target species --epochs 3 --quiet --hidden 4 --watch --out m.safetensors"
    )
    done = lamina(*fit.split())
    assert done.status == 0, done.err
    assert "watched: epoch 1 → 3, 2 looks" in done.out
    watched = library.load("m.safetensors").watched_["matrices"]["dense_1/W"]
    norms = watched["weight_norm"]
    assert f"{norms[0]:.2g} → {norms[-1]:.2g}" in done.out
