"""Models of users and items on the command line: fit, recommend, evaluate, predict, refusals."""

import re
import sys
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lamina as library
from lamina.cli.main import main

RATINGS = (
    "fit u.data --model ratings --columns user,item,rating --rank 2 --quiet --out m.safetensors"
)


def write_ratings(path):
    """Write ratings of 20 users for 15 items as MovieLens does, without a header."""
    rng = np.random.default_rng(0)
    rows, cols = np.divmod(rng.permutation(300)[:200], 15)
    truth = 3 + np.sin(rows) * np.cos(cols) * 2
    lines = [
        f"{u + 1}\t{i + 1}\t{round(r)}\t88125" for u, i, r in zip(rows, cols, truth, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")


def write_clicks(path):
    """Write two groups of users, each with most of its own items, as a table."""
    users, items = np.divmod(np.arange(20 * 12), 12)
    own = ((users < 10) == (items < 6)) & (np.random.default_rng(0).random(240) < 0.8)
    names = [f"thing {item}" for item in items[own]]
    pd.DataFrame({"user_id": users[own], "item_id": names}).to_parquet(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory, compiled_programs):
    """Return a folder with model files of ratings and of clicks, and what their fits printed."""
    folder, printed = tmp_path_factory.mktemp("shop"), []
    write_ratings(folder / "u.data")
    write_clicks(folder / "clicks.parquet")
    clicks = "fit clicks.parquet --model implicit --user user_id --item item_id --rank 2"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.chdir(folder)
        for command in (RATINGS, f"{clicks} --solver exact --iterations 9 --out shop.safetensors"):
            patch.setattr(sys, "argv", ["lamina", *command.split()])
            with redirect_stdout(StringIO()) as text, pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code
            printed.append(text.getvalue())
    return folder, printed


def test_fit_measures_and_then_fits_on_everything(models):
    folder, (ratings, clicks) = models
    assert re.search(r"u\.data: 16\d to train on, 3\d not", ratings)
    assert re.search(r"RMSE 0\.\d{4}, mean \|error\| 0\.\d{4} on 3\d ratings", ratings)
    assert "RatingFactorization, 20 users × 15 items, rank 2" in ratings
    assert "again, with the same settings, on all 200 interactions" in ratings
    assert re.search(r"NDCG@10 0\.\d{4}, recall@10 [01]\.\d{4} for 19 users", clicks)
    model = library.load(folder / "shop.safetensors")
    assert (model.solver, model.iterations, model.columns) == ("exact", 9, ("user_id", "item_id"))


def test_recommend_for_users_prints_labels_and_scores(models, lamina):
    folder, _ = models
    outcome = lamina("recommend", folder / "m.safetensors", "--user", 3, "--user", "zoe", "-n", 2)
    assert outcome.status == 0
    model = library.load(folder / "m.safetensors")
    (first, second), popular = model.recommend(3, n=2)[0].items, model.recommend("zoe", n=2)[0]
    expected = rf"for user 3\n.*1 +{first} .*2 +{second} .*nothing is known of user zoe: the most "
    assert re.search(expected + rf"popular items\n.*1 +{popular.items[0]} ", outcome.out, re.S)


def test_recommend_the_like_of_an_item(models, lamina):
    folder, _ = models
    outcome = lamina("recommend", folder / "shop.safetensors", "--similar-to", "thing 1", "-n", 5)
    assert outcome.status == 0
    assert "like item thing 1" in outcome.out
    assert set(re.findall(r"\d +thing (\d+)", outcome.out)) == {"0", "2", "3", "4", "5"}


@pytest.mark.parametrize("name", ["recs.csv", "recs.tsv.gz", "recs.parquet"])
def test_recommend_for_all_users_into_a_file(models, lamina, name, monkeypatch):
    folder, _ = models
    monkeypatch.setattr("lamina.estimators.factorization.USERS_AT_ONCE", 7)
    monkeypatch.setattr("lamina.cli.recommending.USERS_AT_ONCE", 7)
    model = folder / "m.safetensors"
    outcome = lamina("recommend", model, "--all", "-n", 3, "--include-seen", "--out", name)
    assert outcome.out.strip() == f"saved     {name}: lists of up to 3 items for 20 users"
    if name.endswith(".parquet"):
        found = pd.read_parquet(name)
    else:
        found = pd.read_csv(name, sep="," if name.endswith(".csv") else "\t")
    expected = library.load(model).recommend(np.arange(1, 21), n=3, exclude_seen=False).to_frame()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-5)


def test_recommend_for_all_users_into_a_pipe(models, lamina):
    outcome = lamina("recommend", models[0] / "m.safetensors", "--all", "-n", 1)
    lines = outcome.out.splitlines()
    assert lines[0] == "user,rank,recommended,score,popular"
    assert len(lines) == 21


def test_evaluate_prints_figures_at_each_length(models, lamina):
    folder, _ = models
    pd.DataFrame({"user_id": [0, 19, 99], "item_id": ["thing 0", "thing 9", "new"]}).to_csv(
        "later.csv", index=False
    )
    outcome = lamina("evaluate", folder / "shop.safetensors", "later.csv", "--at", "1,3")
    model = library.load(folder / "shop.safetensors")
    found = model.evaluate(pd.read_csv("later.csv"), at=(1, 3))
    assert re.search(rf"recall +{found['recall@1']:.4f} +{found['recall@3']:.4f}", outcome.out)
    assert "means over 3 users, 1 of them unknown: they get the most popular items" in outcome.out
    assert outcome.status == 0


def test_evaluate_and_predict_ratings(models, lamina):
    folder, _ = models
    write_ratings(folder / "again.data")
    outcome = lamina("evaluate", folder / "m.safetensors", folder / "again.data")
    model = library.load(folder / "m.safetensors")
    table = pd.read_csv(folder / "u.data", sep="\t", names=["user", "item", "rating", "time"])
    assert f"RMSE {model.evaluate(table)['rmse']:.4f}" in outcome.out
    assert f"{len(table):,} of them were trained on" in outcome.out
    assert "metric" not in outcome.out
    lamina("predict", folder / "m.safetensors", folder / "u.data", "--out", "p.csv")
    found = pd.read_csv("p.csv")
    assert found.columns.tolist() == ["user", "item", "rating"]
    np.testing.assert_allclose(found["rating"], model.predict(table), rtol=1e-12)
    assert "users/P" in lamina("inspect", folder / "m.safetensors").out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("recommend m.safetensors", "one of --user, --similar-to and --all, got 0"),
        ("recommend m.safetensors --all --user 3", "got 2 of them"),
        ("recommend m.safetensors --user 3 -n 0", "-n expected"),
        ("recommend m.safetensors --similar-to 77", "one of the 15 .* got 77"),
        ("recommend m.safetensors --all --out recs.txt", "recs.txt expected a table"),
        ("evaluate m.safetensors u.data --at 10,x", "--at expected lengths of lists like"),
        ("evaluate m.safetensors u.data --target y", "--target expected a model of rows"),
        ("predict m.safetensors u.data --proba", "--proba expected a model of rows"),
        ("evaluate m.safetensors u.data --stream", "--stream expected a model of rows"),
        ("generate m.safetensors", "expected a language model"),
        ("fit u.data --model ratings --columns user,item", "expected a column of ratings"),
        ("fit u.data --model ratings --user user", "both --user and --item"),
        ("fit u.data --model ratings --columns a,b,c --item b", "Name columns in one way"),
        ("fit u.data --model ratings --target y", "--target expected a labelled data set"),
        ("fit u.data --model ratings --hidden 3", "--hidden expected a model that has it"),
        ("fit u.data --model ratings --rank 400", "rank expected at most 20"),
        ("fit u.data --model ratings --alpha 2", r"--alpha .*\(als, sgd, cg\), got bayes"),
        ("fit u.data --model ratings --epochs 2", r"--epochs .*\(sgd, bpr\), got bayes"),
        ("fit u.data --model ratings --solver sgd --iterations 2", "--iterations .* got sgd"),
        ("fit u.data --model implicit --solver als --epochs 2", "--epochs .* got als"),
        ("evaluate m.safetensors u.data --at 16", "--at expected .* at most 15; got 16"),
        ("evaluate m.safetensors u.data --at 99999999999999999999", "--at expected lengths"),
        ("evaluate shop.safetensors twice.csv", "got 1 row that repeats .* --duplicates sum"),
        ("fit u.data --model rating", "Did you mean 'ratings'"),
        ("fit iris --model mlp --rank 3", "--rank expected a model that has it, got MLP"),
        ("fit empty.data --model implicit", "got an empty file"),
        ("fit none.data --model implicit", "a file that can be read"),
    ],
)
def test_refusals_are_one_sentence(models, lamina, monkeypatch, command, message):
    monkeypatch.chdir(models[0])
    (models[0] / "empty.data").touch()
    (models[0] / "twice.csv").write_text("user_id,item_id\n1,thing 9\n1,thing 9\n")
    outcome = lamina(*command.split(), *(["--quiet"] if command.startswith("fit") else []))
    assert outcome.status == 2
    assert re.search(message, outcome.err)
    assert outcome.err.count("\n") == 1
    assert outcome.out == "" or "data" in outcome.out


def test_a_user_with_a_like_name_is_proposed(lamina, tmp_path):
    users, items = np.divmod(np.arange(40), 5)
    frame = pd.DataFrame({"user": [f"anna{u}" for u in users], "item": items})
    frame.iloc[:-2].to_csv("named.csv", index=False)
    fit = "fit named.csv --model implicit --rank 2 --iterations 2 --test-fraction 0 --quiet -o m"
    assert lamina(*fit.split()).status == 0
    found = lamina("recommend", "m", "--user", "ana3", "-n", 2).out
    assert re.search(r"nothing is known of user ana3: .*Did\s+you\s+mean\s+'anna3'\?", found, re.S)
    saved = lamina("recommend", "m", "--user", "anna7", "-n", 1, "--out", "list.csv").out
    assert "1 list of up to 1 item\n" in saved


def test_ratings_off_the_scale_are_told(models, lamina, tmp_path):
    folder, _ = models
    Path("off.data").write_text("1\t1\t3\t0\n2\t2\t50\t0\n")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        outcome = lamina("evaluate", folder / "m.safetensors", "off.data")
    assert outcome.status == 0
    assert outcome.err.count("1 of 2 ratings lie outside the scale from 1 to 5") == 1


def test_pairs_that_repeat_are_one_before_any_is_held_out(lamina, tmp_path):
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(30) for i in rng.permutation(20)[:8]]
    lines = [f"{u}\t{i}\t{rng.integers(1, 6)}\n" for u, i in pairs]
    Path("once.data").write_text("".join(lines))
    Path("twice.data").write_text("".join(lines * 2))
    fit = [
        "--model",
        "ratings",
        "--columns",
        "user,item,rating",
        "--rank",
        "2",
        "--iterations",
        "3",
        "--quiet",
    ]
    once, refused = lamina("fit", "once.data", *fit), lamina("fit", "twice.data", *fit)
    assert (refused.status, "240 rows that repeat" in refused.err) == (2, True)
    merged = lamina("fit", "twice.data", *fit, "--duplicates", "mean")
    assert merged.status == 0, merged.err
    figures = [line for line in once.out.splitlines() if line.startswith(("test", "columns"))]
    assert [line for line in merged.out.splitlines() if line in figures] == figures


def test_times_taken_for_values_are_told(lamina_process, tmp_path):
    lines = [f"{u},{i},{1_600_000_000 + u}\n" for u in range(20) for i in range(u % 3, 9, 2)]
    Path("clicks.csv").write_text("visitor,film,t\n" + "".join(lines))
    fit = ["--model", "implicit", "--rank", "2", "--iterations", "2", "--quiet"]
    done = lamina_process("fit", "clicks.csv", *fit)
    assert "user visitor, item film, value t" in done.out
    assert "look like times" in done.err


def test_another_tests_columns_are_told(lamina, tmp_path):
    rows = "".join(f"{u},{i},{(u * i) % 5 + 1}\n" for u in range(20) for i in range(u % 3, 9, 2))
    Path("a.csv").write_text("user,item,rating\n" + rows)
    Path("b.csv").write_text("who,what,stars\n" + rows)
    done = lamina(
        "fit", "a.csv", *["--model", "ratings", "--rank", "2", "--test", "b.csv", "--quiet"]
    )
    assert (done.status, "b.csv" in done.err) == (2, True), done.err


def test_what_is_no_network_is_not_exported(models, lamina, monkeypatch):
    monkeypatch.chdir(models[0])
    done = lamina("export", "m.safetensors", "--onnx", "m.onnx")
    assert (done.status, "expected a network" in done.err) == (2, True)
