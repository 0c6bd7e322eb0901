"""Unusable input: exit status 2 and one line that says what is wrong, for each command."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lamina import ConvClassifier


def refused(outcome, *fragments):
    """Check that a command ended with status 2, one line and these words in it."""
    assert outcome.status == 2
    assert "Traceback" not in outcome.err + outcome.out
    (line,) = outcome.err.splitlines()
    assert line.startswith("lamina: ")
    for fragment in fragments:
        assert fragment in line


FIT = ("fit", "flowers.csv", "--target", "species", "--epochs", "1", "--out", "m.safetensors")


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--model", "mpl"], ["--model expected one of linear, mlp", "Did you mean 'mlp'?"]),
        (["--alpha", "-1"], ["alpha expected a number at least 0; got -1.0"]),
        (["--alpha", "nan"], ["alpha expected a number at least 0; got nan"]),
        (["--activation", "rleu"], ["'rleu'. Did you mean 'relu'?"]),
        (["--init", "glorrot"], ["'glorrot'. Did you mean 'glorot"]),
        (["--loss", "squared"], ["loss expected one of softmax, hinge for these targets"]),
        (["--optimizer", "adma"], ["Did you mean 'adam'?"]),
        (["--schedule", "cosien"], ["Did you mean 'cosine'?"]),
        (["--penalty", "l0"], ["penalty expected one of l1, l2, elastic_net; got 'l0'"]),
        (["--task", "clasify"], ["Did you mean 'classify'?"]),
        (["--hidden", "64,many"], ["--hidden expected numbers like 32,64; got '64,many'."]),
        (["--hidden", "0"], ["units expected a whole number at least 1; got 0"]),
        (["--dropout", "1.5"], ["dropout rate expected a number at least 0 and below 1"]),
        (["--batch-size", "0"], ["--batch-size expected a whole number at least 1; got 0"]),
        (["--learning-rate", "0"], ["--learning-rate expected a number above 0; got 0.0"]),
        (["--test-fraction", "1"], ["--test-fraction expected a number at least 0 and below 1"]),
        (["--test-fraction", "0.001"], ["expected to leave rows to train and to test on"]),
        (["--target", "spices"], ["flowers.csv expected a column 'spices'", "Did you mean 'spec"]),
        (["--drop", "sol"], ["flowers.csv expected a column 'sol'", "Did you mean 'soil'?"]),
        (["--size", "8by8"], ["--size expected HEIGHTxWIDTH like 32x32; got '8by8'."]),
        (["--size", "8x8"], ["expected images of size (8, 8)"]),
        (["--model", "linear", "--hidden", "8"], ["--hidden expected a model that has it"]),
        (["--class-weight", "even"], ["--class-weight expected 'balanced'", "got 'even'"]),
        (["--precision", "float16"], ["precision expected one of float32, float64"]),
        (["--out", "nowhere/m.safetensors"], ["expected a place that can be written to"]),
        (["--seed", "-1"], ["seed", "-1"]),
        (["--task", "regress"], ["'setosa'"]),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, list) and case[0][:2] == "--" else "",
)  # fmt: skip
def test_unusable_options(lamina, flowers_csv, tmp_path, options, fragments):
    refused(lamina(*FIT, *options), *fragments)
    assert not (tmp_path / "m.safetensors").exists()


def test_usage_errors_have_status_two(lamina):
    outcome = lamina("fit", "flowers.csv", "--lerning-rate", "1")
    assert outcome.status == 2
    assert "--learning-rate" in outcome.err
    assert lamina("fti").status == 2


def test_a_missing_target(lamina, flowers_csv):
    refused(lamina("fit", "flowers.csv"), "expected a target", "--target NAME", "length, width, ")


def test_missing_files(lamina, flowers_csv, flowers_model):
    refused(lamina("fit", "flower.csv", "--target", "y"), "Did you mean 'flowers.csv'?")
    refused(lamina("fit", "digist"), "Did you mean 'digits'?")
    refused(lamina("predict", "no.safetensors", "flowers.csv"), "no.safetensors expected")
    refused(lamina("predict", flowers_model, "no.csv"), "no.csv expected a file")
    refused(lamina("fit", "fashion-mnist", "--model", "linear"), "datasets fetch fashion-mnist")


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("LAMINA_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("", ["bad.csv expected a header and rows, got an empty file"]),
        ("a,b,y\n", ["bad.csv expected at least one row"]),
        ("a,b,y\n1,2,x\n1,2\n", ["bad.csv expected 3 cells in every row", "got 2 in line 3"]),
        ("a,b,y\n1,2,x\n3,inf,z\n", ["'b' expected finite numbers", "inf"]),
        ("a,b,y\n1,2,x\n3,4,\n", ["bad.csv expected a target in every row", "1 missing"]),
        ("a,b,y\n1,2,x\n3,4,x\n5,6,x\n", ["one class only: 'x'"]),
        ("a,b,y\n,2,x\n,4,z\n,5,z\n", ["Column 'a' expected at least one value"]),
        ("y\nx\nz\n", ["at least one input column"]),
        ("a,a,y\n1,2,x\n", ["'a' more than once"]),
    ],
)
def test_unusable_tables(lamina, tmp_path, content, fragments):
    (tmp_path / "bad.csv").write_text(content)
    refused(lamina("fit", "bad.csv", "--target", "y", "--test-fraction", "0"), *fragments)


@pytest.mark.parametrize("task", ["classify", "regress"])
@pytest.mark.parametrize("part", ["X", "y"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(lamina, task, part, value):
    arrays = {"X": np.arange(40.0).reshape(20, 2), "y": np.arange(20.0) % 2}
    arrays[part].flat[5] = value
    np.savez("bad.npz", **arrays)
    line = ("fit", "bad.npz", "--task", task, "--model", "linear", "--test-fraction", "0")
    outcome = lamina(*line)
    refused(outcome)
    assert ("nan" if np.isnan(value) else "inf") in outcome.err.lower()


def test_real_numbers_as_classes(lamina):
    np.savez("values.npz", X=np.ones((20, 2)), y=np.linspace(0, 1, 20))
    refused(lamina("fit", "values.npz", "--task", "classify", "--model", "linear"), "continuous")


def test_text_arrays(lamina):
    np.savez("words.npz", X=np.array([["a", "b"]] * 4), y=np.arange(4))
    refused(lamina("fit", "words.npz"), "words.npz", "expected X as numbers")


def test_other_columns_at_prediction(lamina, flowers, flowers_model):
    flowers.drop(columns=["petal", "soil"]).to_csv("less.csv", index=False)
    for command in ("predict", "evaluate"):
        refused(lamina(command, flowers_model, "less.csv"), "without 'petal', 'soil'")
    wide = flowers.assign(petal=flowers["petal"].astype(object))
    wide.loc[7, "petal"] = "wide"
    wide.to_csv("wide.csv", index=False)
    refused(lamina("predict", flowers_model, "wide.csv"), "'petal' expected numbers, got 'wide'")


def test_another_number_of_columns_at_prediction(lamina):
    rng = np.random.default_rng(0)
    np.savez("three.npz", X=rng.normal(size=(30, 3)), y=np.arange(30) % 2)
    np.save("two.npy", rng.normal(size=(30, 2)))
    lamina("fit", "three.npz", "--model", "linear", "--epochs", "1")
    outcome = lamina("predict", "three.safetensors", "two.npy")
    refused(outcome, "expected X with 3 columns", "(30, 2)")


def test_another_kind_of_data_at_prediction(lamina, flowers_model, pictures):
    np.save("two.npy", np.ones((3, 2)))
    refused(lamina("predict", flowers_model, "two.npy"), "expected a pandas DataFrame")
    refused(lamina("predict", flowers_model, "pictures"), "expected a pandas DataFrame")


def test_images_of_another_size_at_prediction(lamina, pictures):
    lamina("fit", "pictures", "--model", "linear", "--epochs", "1", "--out", "m.safetensors")
    outcome = lamina("predict", "m.safetensors", "pictures", "--size", "3x3")
    refused(outcome, "expected images of shape (6, 6, 1)")


def test_labels_unseen_in_training(lamina, flowers, flowers_model):
    strange = flowers.assign(species=flowers["species"].replace("setosa", "sibirica"))
    strange.to_csv("strange.csv", index=False)
    refused(lamina("evaluate", flowers_model, "strange.csv"), "got sibirica as well, in 50 rows")


def test_a_missing_target_column_at_evaluation(lamina, flowers, flowers_model):
    flowers.drop(columns="species").to_csv("new.csv", index=False)
    refused(lamina("evaluate", flowers_model, "new.csv"), "new.csv expected a column 'species'")
    refused(lamina("evaluate", flowers_model, "new.csv", "--target", "specis"), "a column 'specis'")


def test_probabilities_where_there_are_none(lamina, flowers_csv, flowers):
    lamina(*FIT, "--loss", "hinge")
    refused(lamina("predict", "m.safetensors", "flowers.csv", "--proba"), "Leave --proba out")
    flowers[["length", "breadth"]].to_csv("sizes.csv", index=False)
    lamina("fit", "sizes.csv", "--target", "breadth", "--model", "linear", "--epochs", "1")
    refused(lamina("predict", "sizes.safetensors", "sizes.csv", "--proba"), "got LinearRegressor")


@pytest.mark.parametrize("command", ["predict", "evaluate", "inspect"])
def test_damaged_model_files(lamina, flowers_csv, flowers_model, tmp_path, command):
    whole = flowers_model.read_bytes()
    data = () if command == "inspect" else ("flowers.csv",)
    for content in (whole[: len(whole) // 2], whole[:-5], whole[:100], b"", b"not a model at all"):
        (tmp_path / "damaged.safetensors").write_bytes(content)
        refused(lamina(command, "damaged.safetensors", *data), "damaged.safetensors")
    edited = whole[:-1] + bytes([whole[-1] ^ 255])
    (tmp_path / "damaged.safetensors").write_bytes(edited)
    refused(lamina(command, "damaged.safetensors", *data), "was changed after it was written")
    refused(lamina(command, "flowers.csv", *data), "safetensors file")


def test_a_folder_without_images(lamina, tmp_path):
    (tmp_path / "notes" / "a").mkdir(parents=True)
    (tmp_path / "notes" / "a" / "readme.txt").write_text("no image")
    refused(lamina("fit", "notes"), "notes expected images", "got none")
    (tmp_path / "nothing").mkdir()
    refused(lamina("fit", "nothing"), "nothing expected images", "got none")


def test_an_unreadable_image_is_named(lamina, pictures):
    (pictures / "right" / "007.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    refused(lamina("fit", "pictures"), "right/007.png could not be read as an image", "--skip-bad")


def test_images_of_several_sizes(lamina, pictures):
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(pictures / "right" / "007.png")
    refused(lamina("fit", "pictures"), "images of one size", "right/007.png of 5x6", "--size")


@pytest.mark.parametrize("model", ["linear", "conv"])
def test_a_grey_image_among_colour(lamina, pictures, model):
    path = pictures / "right" / "007.png"
    Image.open(path).convert("RGB").save(path)
    outcome = lamina("fit", "pictures", "--model", model)
    refused(outcome, "all images grey or all in colour", "right/007.png in colour", "Convert the")


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--augment", "flpi"], ["augment expected one of flip, shift", "Did you mean 'flip'?"]),
        (["--filters", "8,many"], ["--filters expected numbers like 32,64; got '8,many'."]),
        (["--filters", "0"], ["filters expected a whole number at least 1; got 0"]),
        (["--kernel-size", "0"], ["--kernel-size expected a whole number at least 1; got 0"]),
        (["--depth", "0"], ["depth expected a whole number at least 1; got 0"]),
        (["--image-shape", "5x5x1"], ["--image-shape expected (h, w, c) that fits X of shape"]),
        (["--image-shape", "6x6"], ["--image-shape expected (h, w, c), got (6, 6)"]),
        (["--init", "he"], ["--init expected a model that has it, got ConvClassifier"]),
        (["--average-weights", "1"], ["--average-weights expected a number above 0 and below 1"]),
    ],
    ids=lambda case: " ".join(case) if case[0][:2] == "--" else "",
)
def test_unusable_options_of_a_convolutional_network(lamina, pictures, options, fragments):
    refused(lamina("fit", "pictures", "--model", "conv", "--epochs", "1", *options), *fragments)


def test_tables_have_no_image_shape_of_their_own(lamina, flowers_csv):
    outcome = lamina(*FIT, "--model", "conv")
    refused(outcome, "X expected images (n, h, w, c), got shape", "Pass --image-shape (h, w, c)")


def test_an_image_to_inspect_needs_a_picture_and_a_network_that_convolves(lamina, pictures):
    lamina("fit", "pictures", "--model", "linear", "--epochs", "1", "--out", "m.safetensors")
    image = pictures / "left" / "000.png"
    refused(lamina("inspect", "m.safetensors", image), "inspect expected --png FILE to draw")
    outcome = lamina("inspect", "m.safetensors", image, "--png", "maps.png")
    refused(outcome, "expected a network with convolutions, got one without")
    outcome = lamina("inspect", "m.safetensors", "no.png", "--png", "maps.png")
    refused(outcome, "no.png")


def test_data_to_inspect_are_told_like_those_to_evaluate(lamina, flowers_model, flowers_csv):
    refused(lamina("inspect", flowers_model, "--target", "species"), "--target expected data")
    outcome = lamina("inspect", flowers_model, "flowers.csv", "--target", "colour")
    refused(outcome, "expected a column 'colour'")
    refused(lamina("inspect", flowers_model, "nothing.csv"), "nothing.csv")


def test_a_model_without_an_encoder_of_images_draws_none(lamina, flowers_model, pictures):
    image = pictures / "left" / "000.png"
    X, y = np.random.default_rng(0).normal(size=(20, 6, 6)), np.arange(20) % 2
    model = ConvClassifier(filters=(4,), hidden=(), max_epochs=1).fit(X, y)
    model.save("python.safetensors")
    for path in (flowers_model, "python.safetensors"):
        outcome = lamina("inspect", path, image, "--png", "maps.png")
        refused(outcome, f"expected a model of images to show {image} to", "encoder=ImageEncoder()")


def test_a_folder_of_one_class(lamina, pictures, tmp_path):
    (pictures / "right").rename(tmp_path / "elsewhere")
    refused(lamina("fit", "pictures"), "at least 2 classes, got one class only: 'left'")


def test_pictures_without_labels(lamina, pictures):
    refused(lamina("fit", pictures / "left"), "expected a target for each row, got inputs only")


def test_templates_of_what_is_no_image(lamina, flowers_model, tmp_path):
    refused(lamina("inspect", flowers_model, "--png", "t.png"), "8 features, which make no square")
    assert not (tmp_path / "t.png").exists()


def test_a_confusion_of_values(lamina, flowers, tmp_path):
    flowers[["length", "breadth"]].to_csv("sizes.csv", index=False)
    lamina("fit", "sizes.csv", "--target", "breadth", "--model", "linear", "--epochs", "1")
    outcome = lamina("evaluate", "sizes.safetensors", "sizes.csv", "--png", "confusion.png")
    refused(outcome, "expected a classifier, got LinearRegressor")


def test_predictions_in_a_file_of_another_kind(lamina, flowers_csv, flowers_model):
    refused(
        lamina("predict", flowers_model, "flowers.csv", "--out", "p.xlsx"),
        "p.xlsx expected a table",
    )
    refused(
        lamina("predict", flowers_model, "flowers.csv", "--out", "no/p.csv"), "no/p.csv expected"
    )


def test_unknown_data_sets(lamina):
    refused(lamina("datasets", "fetch", "fasion-mnist"), "Did you mean 'fashion-mnist'?")
    refused(lamina("datasets", "fetch", "digits"), "comes with scikit-learn")


def test_a_pickled_array_is_refused(lamina):
    np.savez("objects.npz", X=np.array([[{}]], dtype=object), y=np.arange(1))
    refused(lamina("fit", "objects.npz"), "pickled Python objects")


def test_a_table_for_several_outputs_needs_one_name(lamina, flowers_csv):
    outcome = lamina("fit", "flowers.csv", "--target", "length,width")
    refused(outcome, "flowers.csv expected a column 'length,width'")


def test_a_test_table_without_the_target(lamina, flowers, flowers_csv):
    flowers.drop(columns="species").to_csv("test.csv", index=False)
    refused(lamina(*FIT, "--test", "test.csv"), "test.csv expected a column 'species'")
    other = pd.read_csv("flowers.csv").drop(columns="soil")
    other.to_csv("test.csv", index=False)
    refused(lamina(*FIT, "--test", "test.csv"), "without 'soil'")
