"""Forecasting from a table: fit with a backtest, forecast to a file, evaluate; and refusals."""

import re

import numpy as np
import pandas as pd
import pytest

import lamina as library

FIT = "--forecast sold --horizon 4 --window 8 --hidden 4 --dropout 0 --learning-rate 0.02 --quiet"


def shop(months=84):
    """Return a table of months: a trend and a season of four."""
    t = np.arange(months)
    dates = pd.date_range("2015-01-01", periods=months, freq="MS").strftime("%Y-%m")
    sold = (50 + t) * np.array([1.0, 1.3, 0.9, 0.7])[t % 4]
    return pd.DataFrame({"Month": dates, "sold": sold, "rain": np.cos(t), "town": "Ulm"})


@pytest.fixture(scope="module")
def model(tmp_path_factory, compiled_programs):
    """Return a model file that the command line made of the table, and what it printed."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("shop")
    shop().to_csv(folder / "shop.csv", index=False)
    command = f"fit shop.csv {FIT} --model gru --out shop.safetensors"
    done = subprocess.run(
        [sys.executable, "-m", "lamina.cli.main", *command.split()],
        check=True, cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return folder / "shop.safetensors", done.stdout


def errors(text):
    """Return the mean absolute errors of a printed backtest by name."""
    rows = re.findall(r"^ *(model|seasonal naive|drift) +([\d.]+) +([\d.]+)", text, re.M)
    return {name: float(mae) for name, mae, _ in rows}


def test_fit_prints_a_backtest_and_saves_a_model_of_all_rows(model):
    path, out = model
    found = errors(out)
    assert list(found) == ["model", "seasonal naive", "drift"]
    assert found["model"] < found["seasonal naive"] / 2
    assert found["seasonal naive"] == pytest.approx(4 * 0.975, rel=1e-3)  # a season's growth
    assert "67 rows to train on, 17 not" in out
    assert "4 steps ahead from 14 origins, 2020-08 on; season 4" in out
    assert "again, with the same settings, on all 84 rows" in out
    loaded = library.load(path)
    assert loaded.tail_[-1, 0] == shop()["sold"].iloc[-1]
    assert (loaded.cell, loaded.window, loaded.time_name_) == ("gru", 8, "Month")


def test_predict_writes_dates_and_forecasts(model, lamina, tmp_path):
    shop().to_csv("shop.csv", index=False)
    outcome = lamina("predict", model[0], "shop.csv", "--out", "forecast.csv")
    assert outcome.status == 0
    assert "4 steps of sold, from 2022-01 to 2022-04" in outcome.out
    table = pd.read_csv(tmp_path / "forecast.csv")
    assert table.columns.tolist() == ["Month", "sold"]
    assert table["Month"].tolist() == ["2022-01", "2022-02", "2022-03", "2022-04"]
    np.testing.assert_allclose(table["sold"], library.load(model[0]).predict(), rtol=1e-6)
    np.testing.assert_allclose(table["sold"], shop(88)["sold"][84:], rtol=0.05)
    piped = lamina("predict", model[0], "shop.csv")
    assert piped.out == (tmp_path / "forecast.csv").read_text()


def test_evaluate_tells_rows_it_was_trained_on(model, lamina):
    shop().to_csv("shop.csv", index=False)
    outcome = lamina("evaluate", model[0], "shop.csv")
    assert outcome.status == 0
    assert list(errors(outcome.out)) == ["model", "seasonal naive", "drift"]
    assert "4 steps ahead from 14 origins, 2020-08 on" in outcome.out
    assert "trained on these rows too" in outcome.out
    shop(90).to_csv("later.csv", index=False)
    outcome = lamina("evaluate", model[0], "later.csv")
    assert "4 steps ahead from 3 origins, 2022-01 on" in outcome.out
    assert "trained on these rows too" not in outcome.out


def test_columns_beside_and_no_backtest(lamina):
    shop(30).to_csv("shop.csv", index=False)
    command = f"{FIT} --model rnn --exogenous rain --test-fraction 0 --epochs 1 -o m.safetensors"
    outcome = lamina("fit", "shop.csv", *command.split())
    assert outcome.status == 0, outcome.err
    assert errors(outcome.out) == {}
    assert "fitted    on all 30 rows" in outcome.out
    assert library.load("m.safetensors").exogenous_names_ == ("rain",)
    assert lamina("predict", "m.safetensors", "shop.csv").status == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--model conv", "--forecast expected --model lstm, gru, rnn, got 'conv'"),
        ("--target rain", "--target expected a model of rows, got one that forecasts"),
        (
            "--window 61",
            r"expected 65 rows to train on \(window 61 \+ horizon 4\) before the 16 to",
        ),
        ("--horizon 0", "--horizon expected a whole number at least 1; got 0"),
        ("--time town", "expected dates in column 'town', got 'Ulm' in row 1"),
        ("--pooling max", "--pooling expected a model that has it, got Forecaster"),
        ("--forecast solt", "Did you mean 'sold'"),
    ],
)
def test_refused(lamina, options, words):
    shop(80).to_csv("shop.csv", index=False)
    outcome = lamina("fit", "shop.csv", *FIT.split(), *options.split())
    assert outcome.status == 2
    assert re.search(words, outcome.err)
    assert outcome.err.count("\n") == 1


def test_refused_with_a_model(model, lamina):
    table = shop()
    table.drop(columns="sold").to_csv("other.csv", index=False)
    outcome = lamina("predict", model[0], "other.csv")
    assert outcome.status == 2
    assert "expected a column 'sold'" in outcome.err
    table[:5].to_csv("short.csv", index=False)
    assert "at least 8 steps, the model's window" in lamina("predict", model[0], "short.csv").err
    table[:9].to_csv("short.csv", index=False)
    assert "origin" in lamina("evaluate", model[0], "short.csv").err
    table.to_csv("shop.csv", index=False)
    assert "--proba expected" in lamina("predict", model[0], "shop.csv", "--proba").err
    assert "--horizon expected a model that has it" in lamina(
        "fit", "shop.csv", "--target", "sold", "--horizon", 3
    ).err  # fmt: skip


def test_fewer_steps_than_trained_but_not_more(model, lamina):
    shop().to_csv("shop.csv", index=False)
    every = lamina("predict", model[0], "shop.csv").out.splitlines()
    fewer = lamina("predict", model[0], "shop.csv", "--horizon", 2)
    assert fewer.out.splitlines() == every[:3]
    for horizon, words in (
        (5, "--horizon expected at most 4 steps, as many as the model was trained to forecast"),
        (0, "--horizon expected a whole number at least 1; got 0"),
    ):
        outcome = lamina("predict", model[0], "shop.csv", "--horizon", horizon)
        assert outcome.status == 2
        assert words in outcome.err
    assert "--series-id expected" in lamina("predict", model[0], "shop.csv", "--series-id", "a").err


@pytest.mark.parametrize("cell", [None, "soon"])
def test_one_cell_among_dates_that_is_none(lamina, cell):
    table = shop()
    table.loc[7, "Month"] = cell
    table.to_csv("shop.csv", index=False)
    outcome = lamina("fit", "shop.csv", *FIT.split())
    assert outcome.status == 2
    assert re.search(r"expected dates in column 'Month', got .* in row 8 below", outcome.err)
