"""Series, sounds and texts from the command line: fit, predict and evaluate; and refusals."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

import lamina as library

SMALL = "--hidden 4 --dropout 0 --learning-rate 0.02 --quiet"


def steps(n=40):
    """Return n series of 4 to 7 steps in a table: what drifts up, and what drifts down."""
    rng = np.random.default_rng(0)
    parts = []
    for i in range(n):
        t = int(rng.integers(4, 8))
        drift = (2.0 * (i % 2) - 1) * np.arange(t) + rng.normal(size=t) / 4
        label = ("down", "up")[i % 2]
        columns = {
            "who": f"s{i}",
            "day": np.arange(t),
            "height": drift,
            "noise": rng.normal(size=t),
        }
        parts.append(pd.DataFrame(columns).assign(label=label, mean=drift.mean()))
    return pd.concat(parts)


FIT = f"fit steps.csv --series-id who --time day --target label --drop mean {SMALL}"


@pytest.fixture(scope="module")
def model(tmp_path_factory, compiled_programs):
    """Return a model file that the command line made of the table, and what it printed."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("steps")
    steps().to_csv(folder / "steps.csv", index=False)
    done = subprocess.run(
        [sys.executable, "-m", "lamina.cli.main", *FIT.split(), "--epochs", "40"],
        check=True, cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return folder / "steps.safetensors", done.stdout


@pytest.fixture
def table(tmp_path):
    """Return the table, written as ``steps.csv``."""
    steps().to_csv("steps.csv", index=False)
    return steps()


def test_a_table_of_steps_is_fitted_as_series(model):
    path, out = model
    assert "steps.csv: 32 rows to train on" in out  # series, a fifth held out
    assert "test      accuracy 1.0000 on 8 rows" in out
    loaded = library.load(path)
    assert isinstance(loaded, library.RecurrentClassifier)
    assert loaded.cell == "lstm"
    assert loaded.encoder_.reading.channels == ("height", "noise")


def test_a_model_remembers_its_columns(model, lamina, table):
    shuffled = table[["noise", "label", "height", "who", "day"]].assign(more="text")
    shuffled.to_csv("new.csv", index=False)
    outcome = lamina("predict", model[0], "new.csv", "--proba", "--out", "found.csv")
    assert outcome.status == 0, outcome.err
    found = pd.read_csv("found.csv")
    assert found.columns.tolist() == ["who", "label", "p(down)", "p(up)"]
    assert found["who"].tolist() == [f"s{i}" for i in range(40)]
    assert found["label"].tolist() == ["down", "up"] * 20
    series = [part[["height", "noise"]].to_numpy() for _, part in table.groupby("who", sort=False)]
    expected = library.load(model[0]).predict_proba(series)[:, 1]
    np.testing.assert_allclose(found["p(up)"], expected, rtol=1e-5)
    outcome = lamina("evaluate", model[0], "new.csv")
    assert "accuracy 1.0000 on 8 rows" in outcome.out


def test_columns_of_other_names_are_told(model, lamina, table):
    table.rename(columns={"who": "name", "day": "t"}).to_csv("new.csv", index=False)
    outcome = lamina("predict", model[0], "new.csv", "--series-id", "name", "--time", "t")
    assert outcome.out.splitlines()[:2] == ["name,label", "s0,down"]
    outcome = lamina("evaluate", model[0], "new.csv", "--series-id", "name", "--time", "t")
    assert "accuracy 1.0000" in outcome.out


def test_values_of_series_are_regressed(lamina, table):
    table.drop(columns="label").to_csv("steps.csv", index=False)
    outcome = lamina(
        *f"fit steps.csv --series-id who --time day --target mean --model gru {SMALL}".split(),
        *["--epochs", "60", "--out", "m.safetensors"],
    )
    assert outcome.status == 0, outcome.err
    assert float(re.search(r"test +R² (\S+),", outcome.out)[1]) > 0.8
    outcome = lamina("predict", "m.safetensors", "steps.csv")
    assert outcome.out.startswith("who,mean\ns0,-")


def test_a_test_table_is_read_with_the_columns_of_training(lamina, table):
    table.assign(mean="text").to_csv("more.csv", index=False)
    command = f"{FIT} --epochs 1 --test more.csv --validation more.csv"
    outcome = lamina(*command.split())
    assert outcome.status == 0, outcome.err
    assert "on 40 rows" in outcome.out
    assert "val loss" in outcome.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--series-id who --target label", r"--series-id expected --time NAME beside it.* alone"),
        ("--time day --target label", r"--time expected --series-id NAME.* or --forecast COLUMNS"),
        ("--series-id who --time day", r"a target for each series, got none named\. Name its"),
        ("--series-id who --time day --target label --model mlp",
         r"--model expected one of lstm, gru, rnn for series, got 'mlp'"),
        ("--series-id who --time day --target label --text label",
         r"--series-id expected to be the only one .* got --text too"),
        ("--series-id who --time day --target label --sound samples", r"got --sound too"),
        ("--series-id who --time day --target label --series-shape 3x2",
         r"--series-shape expected rows of numbers, got series data"),
        ("--series-id who --time day --target day", r"different columns, got 'who', 'day', 'day'"),
        ("--series-id who --time dai --target label", r"column 'dai'.*Did you mean 'day'"),
        ("--series-id who --time day --forecast height",
         r"--series-id expected a model of rows, got one that forecasts series"),
        ("--target label --model gru", r"--model gru expected series or texts.*--series-id and"),
        ("--target label --series-shape 2x2", r"numbers in every column.*'s0' in column 'who'"),
        ("--target label --exogenous noise", r"--exogenous expected --forecast COLUMNS beside it"),
        ("--target label --unknown error", r"--unknown expected texts, --text COLUMN, got table"),
        ("--target label --bands 3", r"expected to be a sound or a folder of sounds"),
        ("--target mean --text lable", r"expected a column 'lable'.*Did you mean 'label'"),
        ("--target label --text label", r"texts and targets in different columns"),
        ("--text label", r"a target for each row.*Name its column: --target NAME"),
        ("--generate-level char --time day", r"--time expected a labelled data set, got a text to"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(lamina, table, options, words):
    outcome = lamina("fit", "steps.csv", *options.split())
    assert outcome.status == 2
    assert re.search(words, outcome.err)
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.assign(height=t["height"].where(t["day"] != 3)),
         r"got \d+ missing in column 'height', the first in row 4 below the header"),
        (lambda t: t.assign(day=t["day"].where(t["day"] != 3, 0)),
         r"'day' to rise within a series, got an earlier time in the series s0: 2, then 0 in row"),
        (lambda t: t.drop(columns="noise"), r"expected a column 'noise', got the columns 'who'"),
        (lambda t: t.drop(columns="who"), r"expected a column 'who'"),
        (lambda t: t.assign(height="tall"), r"numbers in the column 'height', got 'tall' in row 1"),
        (lambda t: t[:0], r"expected at least one row, got none"),
    ],
)  # fmt: skip
def test_bad_tables_at_prediction(model, lamina, table, change, words):
    change(table).to_csv("new.csv", index=False)
    outcome = lamina("predict", model[0], "new.csv")
    assert outcome.status == 2
    assert re.search(words, outcome.err)
    assert outcome.err.count("\n") == 1


def test_other_data_and_options_at_prediction(model, lamina, table, flowers_model):
    np.savez("rows.npz", X=np.zeros((4, 2)))
    for arguments, words in (
        ((model[0], "rows.npz"), r"expected series, as the model was trained on, got rows of num"),
        ((model[0], "steps.csv", "--unknown", "error"), r"--unknown expected a model of texts"),
        ((model[0], "steps.csv", "--horizon", "3"), r"--horizon expected a model that forecasts"),
        ((flowers_model, "steps.csv", "--time", "day"), r"--time expected a model of series"),
    ):
        outcome = lamina("predict", *arguments)
        assert outcome.status == 2
        assert re.search(words, outcome.err)
        assert outcome.err.count("\n") == 1


def write_sounds(folder, rate=8000):
    """Write twelve sounds, a sub-folder for low and one for high tones."""
    rng = np.random.default_rng(0)
    for name, pitch in (("high", 1500), ("low", 200)):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            t = np.arange(rng.integers(500, 800)) / rate
            samples = np.sin(2 * np.pi * pitch * t) + rng.normal(size=len(t)) / 10
            wavfile.write(folder / name / f"{i}.wav", rate, (10_000 * samples).astype(np.int16))


@pytest.mark.parametrize(
    ("options", "reading"),
    [
        ("--bands 8", ("log-mel", 0.025, 0.01, 8, 8000)),
        ("--sound samples --frame 0.004 --hop 0.002", ("samples", 0.004, 0.002, 40, 8000)),
    ],
)
def test_a_model_remembers_how_sounds_were_read(lamina, tmp_path, options, reading):
    write_sounds(tmp_path / "sounds")
    command = f"fit sounds {options} {SMALL} --epochs 30 --test-fraction 0 --out m.safetensors"
    outcome = lamina(*command.split())
    assert outcome.status == 0, outcome.err
    kept = library.load("m.safetensors").encoder_.reading
    assert (kept.features, kept.frame, kept.hop, kept.bands, kept.rate) == reading
    assert "accuracy 1.0000 on 12 rows" in lamina("evaluate", "m.safetensors", "sounds").out
    outcome = lamina("predict", "m.safetensors", "sounds/low/3.wav")
    assert outcome.out == "file,prediction\n3.wav,low\n"
    write_sounds(tmp_path / "fast", 16_000)
    for path in ("fast", "fast/low/3.wav"):
        outcome = lamina("predict", "m.safetensors", path)
        assert outcome.status == 2
        assert "wav expected a sound of 8000 Hz, as in training, got 16000 Hz" in outcome.err
        assert outcome.err.count("\n") == 1
    outcome = lamina(*command.split(), "--test", "fast")
    assert "expected a sound of 8000 Hz, as in training, got 16000 Hz" in outcome.err


def test_impossible_sounds(lamina, tmp_path):
    write_sounds(tmp_path / "sounds")
    for options, words in (
        ("--sound mel", r"--sound expected one of log-mel, samples; .* Did you mean 'log-mel'"),
        ("--sound samples --bands 4", r"--bands expected --sound log-mel, which has bands"),
        ("--frame 0", r"frame, in seconds, expected a number above 0"),
        ("--bands 900", r"Ask for fewer bands or longer frames"),
        ("--model conv", r"--model expected one of lstm, gru, rnn for series, got 'conv'"),
        ("--series-id a --time b", r"expected to be a table .* Leave out the columns' names"),
    ):
        outcome = lamina("fit", "sounds", *options.split())
        assert outcome.status == 2
        assert re.search(words, outcome.err)
        assert outcome.err.count("\n") == 1


def test_texts_and_words_never_seen(lamina):
    rng = np.random.default_rng(0)
    filler = ["the", "film", "was", "it", "and"]
    texts = [" ".join([("bad", "fine")[i % 2], *rng.choice(filler, 3)]) for i in range(60)]
    stars = np.where(np.arange(60) % 2, "many", "few")
    pd.DataFrame({"no": range(60), "review": texts, "stars": stars}).to_csv("t.csv", index=False)
    command = f"fit t.csv --text review --target stars {SMALL} --epochs 40 --out m.safetensors"
    outcome = lamina(*command.split())
    assert outcome.status == 0, outcome.err
    assert "accuracy 1.0000 on 12 rows" in outcome.out
    assert "accuracy 1.0000 on 12 rows" in lamina("evaluate", "m.safetensors", "t.csv").out
    pd.DataFrame({"review": ["fine the unheardof film"]}).to_csv("new.csv", index=False)
    assert lamina("predict", "m.safetensors", "new.csv").out == "stars\nmany\n"
    outcome = lamina("predict", "m.safetensors", "new.csv", "--unknown", "error")
    assert outcome.status == 2
    assert re.search(r"In text 0.*got 'unheardof' at position 2.*--unknown replace", outcome.err)
    outcome = lamina(*command.split(), "--unknown", "error")
    assert outcome.status == 0
    assert lamina("predict", "m.safetensors", "new.csv").status == 2
    assert lamina("predict", "m.safetensors", "new.csv", "--unknown", "replace").status == 0
    outcome = lamina("predict", "m.safetensors", "new.csv", "--unknown", "maybe")
    assert "--unknown expected one of error, replace; got 'maybe'" in outcome.err


def test_rows_of_numbers_are_series_where_their_shape_is_told(lamina):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 6)), columns=list("abcdef"))
    frame["y"] = np.where(frame[["a", "c", "e"]].sum(axis=1) > 0, "plus", "minus")
    frame.to_csv("wide.csv", index=False)
    command = f"fit wide.csv --target y --series-shape 3x2 {SMALL} --epochs 60 -o m.safetensors"
    outcome = lamina(*command.split(), "--test-fraction", "0")
    assert outcome.status == 0, outcome.err
    found = re.search(
        r"accuracy (\S+) on 60 rows", lamina("evaluate", "m.safetensors", "wide.csv").out
    )
    assert float(found[1]) > 0.9
    frame[list("fedcba")].assign(name="more").to_csv("new.csv", index=False)
    outcome = lamina("predict", "m.safetensors", "new.csv")
    X = frame[list("abcdef")]
    assert outcome.out.split()[1:] == library.load("m.safetensors").predict(X).tolist()
    frame.drop(columns="c").to_csv("new.csv", index=False)
    assert (
        "expected a column 'c', as in training" in lamina("predict", "m.safetensors", "new.csv").err
    )
    frame.assign(c=[np.nan] + [0] * 59).to_csv("new.csv", index=False)
    outcome = lamina("predict", "m.safetensors", "new.csv")
    assert "got none in row 1 below the header, column 'c'" in outcome.err


def test_a_language_model_predicts_nothing(lamina):
    text = "to be or not to be, that is the question. " * 40
    Path("text.txt").write_text(text)
    command = "fit text.txt --generate-level char --hidden 4 --epochs 1 --quiet -o m.safetensors"
    assert lamina(*command.split()).status == 0
    outcome = lamina("predict", "m.safetensors", "text.txt")
    assert outcome.status == 2
    assert "got a language model. Let it write: lamina generate" in outcome.err
    outcome = lamina("evaluate", "m.safetensors", "text.txt")
    bits = library.load("m.safetensors").evaluate(text)["bits_per_code"]
    assert f"result    {bits:.3f} bits per char" in outcome.out
    outcome = lamina("generate", "m.safetensors", "--prompt", "Zoë")
    assert outcome.status == 2
    assert re.search(r"got 'Z' at position 0.*--unknown replace", outcome.err)
    outcome = lamina("generate", "m.safetensors", "--prompt", "Zoë", "--unknown", "replace")
    assert outcome.status == 0
    assert outcome.out.startswith("Zoë")
