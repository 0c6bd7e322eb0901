"""``lamina fit --model transfer``: from a folder of images and a file of weights to predictions."""

import numpy as np
import pytest

from lamina import NetworkClassifier
from lamina.layers import Conv2D, Dense, GlobalAveragePool, Sequential


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of red and blue images, of several sizes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 90, (20 + number, 24, 3), np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def old(tmp_path):
    """Write a model of other images, and return its file."""
    network = Sequential([Conv2D(6, 3, 2, activation="relu"), GlobalAveragePool(), Dense(2)])
    X = np.random.default_rng(1).random((16, 16, 16, 3)).astype(np.float32)
    model = NetworkClassifier(network=network, max_epochs=1, verbose=0, random_state=0)
    model.fit(X, np.arange(16) % 2).save(tmp_path / "old.safetensors")
    return tmp_path / "old.safetensors"


def test_fit_tune_and_predict(lamina, pictures, old):
    told = ["--model", "transfer", "--backbone", old, "--tune", "head", "--out", "pets.safetensors"]
    done = lamina("fit", pictures, *told)
    assert done.status == 0, done.err
    assert "tuned" in done.out
    assert "14 numbers" in done.out
    predicted = lamina("predict", "pets.safetensors", pictures / "red")
    assert predicted.status == 0, predicted.err
    assert predicted.out.count("red") > 10


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--tune", "body"], "tune expected 'head', 'last:2', 'all' or 'lora', got 'body'"),
        (["--hidden", "3"], "--hidden expected a model that has it, got TransferClassifier"),
        (["--task", "regress"], "--model transfer expected classes to tell apart"),
        (["--backbone", "resnet18"], "no package carries them"),
    ],
)
def test_what_cannot_be_done_is_told(told, message, lamina, pictures, old):
    done = lamina("fit", pictures, "--model", "transfer", "--backbone", old, *told)
    assert done.status == 2
    assert message in done.err
