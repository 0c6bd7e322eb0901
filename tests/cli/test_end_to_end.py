"""From a file to a model, and from the model to numbers, for every kind of file."""

import gzip
import io
import re
import struct

import numpy as np
import pandas as pd
import pytest

import lamina as library
from lamina.formats.trained_on import split


def read_csv(outcome):
    return pd.read_csv(io.StringIO(outcome.out))


def accuracy(outcome):
    return float(re.search(r"accuracy (\d\.\d+) on [\d,]+ rows", outcome.out)[1])


QUICK = ("--hidden", "8", "--epochs", "2")


# Tables


def test_a_table_from_fit_to_evaluation(lamina, flowers, flowers_csv, tmp_path):
    test = flowers.iloc[::5]
    flowers.drop(test.index).to_csv("train.csv", index=False)
    test.to_csv("test.csv", index=False)
    settings = "--model mlp --hidden 16 --epochs 60 --learning-rate 0.01 --out iris.safetensors"
    fitted = lamina(
        "fit", "train.csv", "--target", "species", "--test", "test.csv", *settings.split()
    )
    assert fitted.status == 0
    assert fitted.err == ""
    assert accuracy(fitted) >= 0.9
    assert "120 rows to train on" in fitted.out
    # 4 numbers, one with a mark for missing values, and 3 kinds of soil
    assert "dense_0/W 8×16, dense_1/W 16×3" in fitted.out
    assert "saved     iris.safetensors" in fitted.out

    evaluated = lamina("evaluate", "iris.safetensors", "test.csv")
    assert evaluated.status == 0
    assert accuracy(evaluated) == accuracy(fitted)
    model = library.load("iris.safetensors")
    assert accuracy(evaluated) == pytest.approx(model.score(test, test["species"]), abs=5e-5)
    found = dict(zip(test.index, model.predict(test), strict=True))
    right = sum(found[i] == "setosa" == test["species"][i] for i in test.index)
    row = re.search(r"setosa +(\d\.\d+) +(\d\.\d+) +(\d\.\d+) +10 *\n", evaluated.out)
    assert float(row[2]) == pytest.approx(right / 10, abs=5e-4)

    new = test.drop(columns="species")
    new.to_csv("new.csv", index=False)
    predicted = lamina(
        "predict", "iris.safetensors", "new.csv", "--out", "predictions.csv", "--proba"
    )
    assert predicted.status == 0
    table = pd.read_csv("predictions.csv")
    assert table.columns.tolist() == ["species", "p(setosa)", "p(versicolor)", "p(virginica)"]
    assert table["species"].tolist() == model.predict(new).tolist()
    P = table.iloc[:, 1:].to_numpy()
    np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(P, model.predict_proba(new), rtol=1e-6)
    winners = table.columns[1:][P.argmax(axis=1)]
    assert [f"p({label})" for label in table["species"]] == winners.tolist()


def test_predictions_in_two_new_processes_are_the_same_text(
    lamina_process, flowers_model, flowers, tmp_path
):
    flowers.drop(columns="species").to_csv(tmp_path / "new.csv", index=False)
    first, second = (
        lamina_process("predict", flowers_model, "new.csv", "--proba") for _ in range(2)
    )
    assert first.status == 0
    assert first.err == ""
    assert first.out == second.out
    here = library.load(flowers_model).predict_proba(flowers)
    there = read_csv(first).iloc[:, 1:].to_numpy(np.float32)
    assert there.tobytes() == here.tobytes()  # the text holds every bit


def test_columns_are_found_by_name_and_more_are_ignored(lamina, flowers, flowers_model):
    flowers.to_csv("as it was.csv", index=False)
    mixed = flowers[flowers.columns[::-1]].assign(colour="blue")
    mixed.to_csv("mixed.csv", index=False)
    expected = lamina("predict", flowers_model, "as it was.csv")
    assert lamina("predict", flowers_model, "mixed.csv").out == expected.out


def test_unseen_categories_are_counted_in_a_warning(lamina, flowers, flowers_model):
    new = flowers.drop(columns="species")
    new.loc[[3, 4], "soil"] = "peat"
    new.to_csv("new.csv", index=False)
    outcome = lamina("predict", flowers_model, "new.csv")
    assert outcome.status == 0
    assert outcome.err == (
        "lamina: warning: column 'soil': 2 rows hold a value not seen in training.\n"
    )
    assert len(read_csv(outcome)) == 150


@pytest.mark.parametrize("ending", ["tsv", "csv.gz", "parquet"])
def test_other_tables_give_the_same_model(lamina, flowers, flowers_csv, ending):
    path = f"other.{ending}"
    if ending == "parquet":
        flowers.to_parquet(path)
    else:
        flowers.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    for source, out in (("flowers.csv", "a.safetensors"), (path, "b.safetensors")):
        done = lamina("fit", source, "--target", "species", *QUICK, "--out", out)
        assert done.status == 0
    a, b = (library.load(f"{name}.safetensors") for name in "ab")
    assert a.predict_proba(flowers).tobytes() == b.predict_proba(flowers).tobytes()
    predicted = lamina("predict", "a.safetensors", "flowers.csv", "-o", f"predictions.{ending}")
    assert predicted.status == 0
    read = {"parquet": pd.read_parquet, "tsv": pd.read_table}.get(ending, pd.read_csv)
    assert read(f"predictions.{ending}")["species"].tolist() == a.predict(flowers).tolist()


def test_a_table_of_values_is_regressed(lamina, flowers):
    flowers.drop(columns="species").to_csv("sizes.csv", index=False)
    fitted = lamina(
        "fit", "sizes.csv", "--target", "breadth", "--model", "linear", "--drop", "soil"
    )
    assert fitted.status == 0
    assert "LinearRegressor, values" in fitted.out
    assert float(re.search(r"R² (\d\.\d+), RMSE", fitted.out)[1]) > 0.9
    evaluated = lamina("evaluate", "sizes.safetensors", "sizes.csv")
    model = library.load("sizes.safetensors")
    test = flowers.iloc[split(len(flowers), 0.2, seed=0)[1]]  # those that it was not trained on
    error = test["breadth"] - model.predict(test)
    figures = re.search(r"breadth +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) *\n", evaluated.out)
    expected = [np.sqrt((error**2).mean()), error.abs().mean(), error.abs().median()]
    np.testing.assert_allclose([float(f) for f in figures.groups()[:3]], expected, rtol=2e-3)
    assert float(figures[4]) == pytest.approx(model.score(test, test["breadth"]), abs=5e-5)
    predicted = read_csv(lamina("predict", "sizes.safetensors", "sizes.csv"))
    assert predicted.columns.tolist() == ["breadth"]
    np.testing.assert_allclose(predicted["breadth"], model.predict(flowers), rtol=1e-6)


def test_task_decides_where_the_target_does_not(lamina, flowers):
    coded = flowers.assign(species=flowers["species"].astype("category").cat.codes)
    coded.to_csv("coded.csv", index=False)
    line = ("fit", "coded.csv", "--target", "species", "--model", "linear", "--epochs", "2")
    assert "LinearClassifier, 3 classes" in lamina(*line).out
    assert "LinearRegressor, values" in lamina(*line, "--task", "regress").out


# Arrays, images, known sets


def test_arrays_with_their_own_test_part(lamina):
    rng = np.random.default_rng(0)
    X = rng.normal(5, 3, (400, 3))
    y = (X[:, 0] + X[:, 1] > 10).astype(int)
    parts = {"x_train": X[:300], "y_train": y[:300], "x_test": X[300:], "y_test": y[300:]}
    np.savez("points.npz", **parts)
    fitted = lamina("fit", "points.npz", "--model", "linear")
    assert fitted.status == 0
    assert "300 rows to train on" in fitted.out
    assert "on 100 rows" in fitted.out
    assert accuracy(fitted) > 0.95
    assert accuracy(lamina("evaluate", "points.safetensors", "points.npz")) == accuracy(fitted)
    np.save("new.npy", X[300:])
    predicted = read_csv(lamina("predict", "points.safetensors", "new.npy", "--proba"))
    assert predicted.columns.tolist() == ["prediction", "p(0)", "p(1)"]
    assert (predicted["prediction"] == y[300:]).mean() == pytest.approx(accuracy(fitted), abs=5e-5)


def test_arrays_with_several_labels_a_row(lamina):
    X = np.random.default_rng(0).normal(size=(300, 2))
    np.savez("labels.npz", X=X, y=(X > 0).astype(int))
    fitted = lamina("fit", "labels.npz", "--hidden", "16", "--learning-rate", "0.02")
    assert fitted.status == 0
    assert accuracy(fitted) > 0.85
    assert lamina("evaluate", "labels.safetensors", "labels.npz").status == 0
    predicted = read_csv(lamina("predict", "labels.safetensors", "labels.npz", "--proba"))
    assert predicted.columns.tolist() == ["0", "1", "p(0)", "p(1)"]
    assert (predicted[["0", "1"]].to_numpy() == (X > 0)).mean() > 0.9


def test_a_folder_of_images(lamina, pictures):
    fitted = lamina("fit", "pictures", "--model", "linear", "--out", "sides.safetensors")
    assert fitted.status == 0
    assert accuracy(fitted) == 1.0
    assert "dense_0/W 36×2" in fitted.out
    predicted = read_csv(lamina("predict", "sides.safetensors", pictures / "left"))
    assert predicted["file"].tolist() == [f"{i:03}.png" for i in range(30)]
    assert set(predicted["prediction"]) == {"left"}
    resized = lamina("fit", "pictures", "--size", "3x4", "--model", "linear", "--epochs", "1")
    assert "dense_0/W 12×2" in resized.out


def test_unreadable_images_are_skipped_on_request_and_counted(lamina_process, pictures):
    (pictures / "left" / "torn.png").write_bytes(b"\x89PNG torn")
    outcome = lamina_process("fit", "pictures", "--skip-bad", "--model", "linear", "--epochs", "1")
    assert outcome.status == 0
    (warning,) = outcome.err.splitlines()
    assert warning.startswith("lamina: warning: ")
    assert "skipped 1 of 61 images" in warning
    assert "torn.png" in warning


# A small convolutional network, and settings that all tests share: one program serves them
CONV = (
    "--model", "conv", "--filters", "4", "--depth", "1", "--hidden", "", "--epochs", "6",
    "--batch-size", "16", "--learning-rate", "0.02", "--out", "conv.safetensors",
)  # fmt: skip


def test_a_folder_of_images_and_a_convolutional_network(lamina, pictures):
    fitted = lamina("fit", f"{pictures}/", *CONV, "--dropout", "0")
    assert fitted.status == 0
    assert fitted.err == ""
    assert accuracy(fitted) == 1.0
    assert "ConvClassifier, 2 classes" in fitted.out
    assert "conv_0/W 3×3×1×4, dense_0/W 36×2" in fitted.out
    assert accuracy(lamina("evaluate", "conv.safetensors", pictures)) == 1.0

    folder = read_csv(lamina("predict", "conv.safetensors", pictures, "--proba"))
    assert folder["file"].tolist() == [
        f"{side}/{i:03}.png" for side in ("left", "right") for i in range(30)
    ]
    assert folder["prediction"].tolist() == ["left"] * 30 + ["right"] * 30
    single = read_csv(lamina("predict", "conv.safetensors", pictures / "right" / "007.png"))
    assert single.to_dict("list") == {"file": ["007.png"], "prediction": ["right"]}


def test_an_image_of_another_size_is_resized_to_the_models(lamina, pictures):
    from PIL import Image

    lamina("fit", "pictures", *CONV, "--dropout", "0")
    large = Image.open(pictures / "left" / "003.png").resize((30, 24))
    large.save("large.jpg")
    assert read_csv(lamina("predict", "conv.safetensors", "large.jpg"))["prediction"][0] == "left"
    drawn = lamina("inspect", "conv.safetensors", "large.jpg", "--png", "maps.png")
    assert drawn.status == 0


def test_convolutions_over_images_of_a_given_size(lamina, pictures):
    fitted = lamina("fit", "pictures", *CONV, "--size", "4x5")
    assert fitted.status == 0
    assert library.load("conv.safetensors").image_shape_ == (4, 5, 1)
    assert len(read_csv(lamina("predict", "conv.safetensors", "pictures"))) == 60


def test_unreadable_images_among_the_convolved_are_skipped(lamina_process, pictures):
    (pictures / "left" / "torn.png").write_bytes(b"\x89PNG torn")
    fitted = lamina_process("fit", "pictures", *CONV, "--skip-bad")
    assert fitted.status == 0
    (warning,) = fitted.err.splitlines()
    assert "skipped 1 of 61 images" in warning
    assert "48 rows to train on" in fitted.out
    predicted = lamina_process("predict", "conv.safetensors", "pictures", "--skip-bad")
    assert len(read_csv(predicted)) == 60
    assert "skipped 1 of 61 images" in predicted.err


def test_inspect_draws_filters_and_an_images_maps(lamina, pictures):
    from PIL import Image

    lamina("fit", "pictures", *CONV, "--dropout", "0")
    image = pictures / "left" / "003.png"
    for arguments, name in (((), "filters.png"), ((image,), "maps.png")):
        drawn = lamina("inspect", "conv.safetensors", *arguments, "--png", name)
        assert drawn.status == 0
        assert f"picture   {name}" in drawn.out
        assert "conv_0/W" in drawn.out
        assert "3×3×1×4" in drawn.out
        with Image.open(name) as picture:
            assert picture.format == "PNG"
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_rows_of_pixels_are_convolved_where_their_shape_is_told(lamina):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 36)), rng.integers(0, 2, 60)
    X[:, :18] += 3 * y[:, None]
    np.savez("rows.npz", X=X, y=y)
    fitted = lamina("fit", "rows.npz", *CONV, "--image-shape", "6x6x1", "--augment", "shift,mixup")
    assert fitted.status == 0
    assert accuracy(fitted) > 0.8
    model = library.load("conv.safetensors")
    assert model.image_shape == (6, 6, 1)
    assert model.augment == ("shift", "mixup")
    assert len(read_csv(lamina("predict", "conv.safetensors", "rows.npz"))) == 60


def write_idx(path, array, compress=False):
    """Write bytes in the layout of http://yann.lecun.com/exdb/mnist/."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    data = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if compress else data)


@pytest.mark.parametrize("compress", [False, True])
def test_a_folder_of_idx_files(lamina, tmp_path, compress):
    rng = np.random.default_rng(0)
    folder = tmp_path / "tiny"
    folder.mkdir()
    for part, n in (("train", 120), ("t10k", 40)):
        y = rng.integers(0, 3, n)
        X = rng.integers(0, 60, (n, 4, 4))
        X[np.arange(n), y] += 150  # the class is the bright row
        suffix = ".gz" if compress else ""
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", X, compress)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", y, compress)
    fitted = lamina("fit", "tiny", "--model", "linear")
    assert fitted.status == 0
    assert "120 rows to train on" in fitted.out
    assert "on 40 rows" in fitted.out
    assert accuracy(fitted) == 1.0
    assert accuracy(lamina("evaluate", "tiny.safetensors", "tiny")) == 1.0
    assert len(read_csv(lamina("predict", "tiny.safetensors", "tiny"))) == 40


@pytest.mark.parametrize(("name", "rows", "least"), [("digits", 1438, 0.93), ("iris", 120, 0.9)])
def test_known_sets_by_name(lamina, name, rows, least):
    fitted = lamina("fit", name, "--model", "linear")
    assert fitted.status == 0
    assert f"{rows:,} rows to train on" in fitted.out
    assert accuracy(fitted) >= least
    assert accuracy(lamina("evaluate", f"{name}.safetensors", name)) >= least


# Options


def test_options_reach_the_estimator(lamina, flowers_csv):
    line = (
        "fit flowers.csv --target species --hidden 6,5 --activation tanh --init lecun "
        "--dropout 0.1 --loss hinge --penalty elastic_net --alpha 0.003 --l1-ratio 0.25 "
        "--optimizer rmsprop --learning-rate 0.002 --schedule one_cycle --clip-norm 2 "
        "--batch-size 16 --epochs 3 --early-stopping 9 --class-weight balanced "
        "--precision float64 --seed 5 --out m.safetensors"
    )
    assert lamina(*line.split()).status == 0
    model = library.load("m.safetensors")
    given = {
        "hidden": (6, 5), "activation": "tanh", "init": "lecun", "dropout": 0.1, "loss": "hinge",
        "penalty": "elastic_net", "alpha": 0.003, "l1_ratio": 0.25, "optimizer": "rmsprop",
        "learning_rate": 0.002, "schedule": "one_cycle", "clip_norm": 2.0, "batch_size": 16,
        "max_epochs": 3, "early_stopping": 9, "class_weight": "balanced", "precision": "float64",
        "random_state": 5,
    }  # fmt: skip
    parameters = model.get_params()
    assert {name: parameters[name] for name in given} == given
    assert model.weights_["dense_1"]["W"].shape == (6, 5)
    assert model.weights_["dense_1"]["W"].dtype == np.float64


def test_penalty_none_is_no_penalty(lamina, flowers_csv):
    line = "fit flowers.csv --target species --epochs 1 --penalty none --out m.safetensors"
    assert lamina(*line.split()).status == 0
    assert library.load("m.safetensors").penalty is None


def test_validation_data_are_shown(lamina, flowers_csv):
    line = "fit flowers.csv --target species --validation flowers.csv --test-fraction 0 --epochs 2"
    outcome = lamina(*line.split())
    assert re.search(r"trained +2 epochs.*val loss .*val accuracy", outcome.out)
    assert "test " not in outcome.out


def test_the_seed_decides(lamina, flowers_csv, flowers):
    def bits(seed, out):
        lamina("fit", "flowers.csv", "--target", "species", *QUICK, "--seed", seed, "--out", out)
        return library.load(out).predict_proba(flowers).tobytes()

    first = bits(1, "a.safetensors")
    assert bits(1, "b.safetensors") == first
    assert bits(2, "c.safetensors") != first


def test_without_out_nothing_is_overwritten(lamina, flowers_csv, tmp_path):
    line = ("fit", "flowers.csv", "--target", "species", *QUICK)
    assert "saved     flowers.safetensors" in lamina(*line).out
    first = (tmp_path / "flowers.safetensors").read_bytes()
    assert "saved     flowers-2.safetensors" in lamina(*line, "--seed", "1").out
    assert "saved     flowers-3.safetensors" in lamina(*line, "--seed", "2").out
    assert (tmp_path / "flowers.safetensors").read_bytes() == first
    named = lamina(*line, "--seed", "3", "--out", "flowers.safetensors")
    assert named.status == 0
    assert (tmp_path / "flowers.safetensors").read_bytes() != first


# What is printed


def test_inspect_ends_with_verdicts(lamina, flowers_model, flowers_csv):
    """Without data by matrices and history, with data by what they do to it as well."""
    alone = lamina("inspect", flowers_model)
    assert "verdicts  none: its matrices and history look healthy" in alone.out
    assert "gain back" not in alone.out
    shown = lamina("inspect", flowers_model, "flowers.csv")
    assert shown.status == 0, shown.err
    assert "verdicts  none: its matrices, history and data look healthy" in shown.out
    assert accuracy(shown) == accuracy(lamina("evaluate", flowers_model, "flowers.csv"))
    figures = next(line.split() for line in shown.out.splitlines()[::-1] if " dense_0 " in line)
    model, table = library.load(flowers_model), pd.read_csv("flowers.csv")
    table = table.iloc[split(len(table), 0.2, seed=0)[1]]
    weights = model.weights_["dense_0"]
    A = np.maximum(model.encoder_.transform(table) @ weights["W"] + weights["b"], 0)
    assert float(figures[1]) == pytest.approx(A.mean(), rel=0.01)


def test_a_fit_hints_and_inspect_says_where(lamina, flowers_csv):
    line = ("fit", "flowers.csv", "--target", "species", "--hidden", "16", "--epochs", "20")
    wild = ("--learning-rate", "5", "--schedule", "constant", "--quiet", "-o", "wild.safetensors")
    assert "hint      learning rate too high in training: " in lamina(*line, *wild).out
    calm = ("--learning-rate", "0.05", "--quiet", "-o", "calm.safetensors")
    assert "hint" not in lamina(*line, *calm).out
    model = library.load("wild.safetensors")
    W = model.weights_["dense_0"]["W"]
    W[:, 8:] = W[:, :1]
    model.weights_["dense_0"]["b"][8:] = model.weights_["dense_0"]["b"][0]
    model.save("wild.safetensors")
    said = lamina("inspect", "wild.safetensors").out.splitlines()[-2:]
    assert said[0].startswith("problem   duplicate units in dense_0/W: ")
    assert said[1].startswith("problem   learning rate too high in training: ")


def test_inspect_shows_every_matrix(lamina, flowers_model):
    outcome = lamina("inspect", flowers_model)
    assert outcome.status == 0
    assert "classes   setosa, versicolor, virginica" in outcome.out
    assert "target    species" in outcome.out
    assert "60 epochs" in outcome.out
    W = library.load(flowers_model).weights_["dense_0"]["W"]
    rows = (line.split() for line in outcome.out.splitlines())
    _, shape, mean, deviation, frobenius, spectral, rank, zeros = next(
        row for row in rows if row and row[0] == "dense_0/W"
    )
    assert shape == "8×16"
    assert float(mean) == pytest.approx(W.mean(), abs=1e-4)
    assert float(deviation) == pytest.approx(W.std(), abs=1e-4)
    assert float(frobenius) == pytest.approx(np.linalg.norm(W), abs=1e-3)
    assert float(spectral) == pytest.approx(np.linalg.svd(W)[1][0], abs=1e-3)
    assert float(rank) == pytest.approx((np.linalg.norm(W) / np.linalg.svd(W)[1][0]) ** 2, abs=0.06)
    assert zeros == "0.0%"


def test_inspect_and_evaluate_draw_pictures(lamina, pictures):
    from PIL import Image

    lamina("fit", "pictures", "--model", "linear", "--out", "m.safetensors", "--epochs", "5")
    drawn = lamina("inspect", "m.safetensors", "--png", "templates.png")
    assert "picture   templates.png" in drawn.out
    assert (
        "picture   confusion.png"
        in lamina("evaluate", "m.safetensors", "pictures", "--png", "confusion.png").out
    )
    for name in ("templates.png", "confusion.png"):
        with Image.open(name) as image:
            assert image.format == "PNG"
            assert len(np.unique(np.asarray(image.convert("L")))) > 20


def test_inspect_writes_a_report(lamina, pictures, tmp_path):
    lamina("fit", "pictures", "--model", "linear", "--out", "m.safetensors", "--epochs", "5")
    outcome = lamina("inspect", "m.safetensors", "pictures", "--html", "shown.html")
    assert (outcome.status, outcome.err) == (0, "")
    assert "report    shown.html (" in outcome.out
    page = (tmp_path / "shown.html").read_text(encoding="utf-8")
    accuracy = re.search(
        r"accuracy (\d\.\d+)", lamina("evaluate", "m.safetensors", "pictures").out
    )[1]
    assert f"<dd>{float(accuracy):.2%}</dd>" in page
    assert "shown 12 rows of pictures" in page
    outcome = lamina("inspect", "m.safetensors", "--html", "alone.html")
    assert "report    alone.html (" in outcome.out
    page = (tmp_path / "alone.html").read_text(encoding="utf-8")
    assert "<h2" in page
    assert "Predictions" not in page


def test_text_in_data_cannot_move_the_cursor_or_colour_the_screen(lamina, flowers):
    evil = flowers.assign(species=flowers["species"].replace("setosa", "\x1b[2J[bold]setosa"))
    evil.to_csv("evil.csv", index=False)
    line = ("fit", "evil.csv", "--target", "species", "--model", "linear", "--epochs", "2")
    assert lamina(*line).status == 0
    for command in (("inspect", "evil.safetensors"), ("evaluate", "evil.safetensors", "evil.csv")):
        outcome = lamina(*command)
        assert outcome.status == 0
        assert "\x1b" not in outcome.out
        assert "[bold]setosa" in outcome.out


def test_divergence_exits_with_one_and_keeps_the_good_weights(lamina, flowers_csv, tmp_path):
    line = (
        "fit flowers.csv --target species --model mlp --hidden 8 --optimizer sgd --epochs 4 "
        "--batch-size 32 --learning-rate 1e30 --out m.safetensors"
    )
    outcome = lamina(*line.split())
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    assert outcome.err.startswith("lamina: Training diverged in epoch 1, minibatch 2: ")
    assert not (tmp_path / "m.safetensors").exists()  # not one epoch to keep
