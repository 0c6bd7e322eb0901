"""Measure transfer from one half of Fashion-MNIST to the other, for docs/transfer.md.

A network learns classes 0 to 4 of Fashion-MNIST, then classes 5 to 9 from few images each: from
scratch, and by each way of tuning. Prints the table and draws docs/pictures/transfer.png.

Usage: python docs/transfer.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lamina import NetworkClassifier, TransferClassifier, use_compilation_cache
from lamina.estimators.persistence import flatten
from lamina.formats.read import read
from lamina.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    RandomShift,
    Sequential,
)
from lamina.models.backbone import Backbone

IMAGES, SEEDS = (10, 50, 200), (0, 1, 2)
EPOCHS = 5
"""How often the images of the old classes are trained on, in 16 forms each."""

GRIDS = (0, 27, 28), (5, 22, 28), (0, 27, 14)
"""First, last and number of an image's rows or columns: all, its middle enlarged, half of them."""

SCRATCH = "from scratch"
WAYS = (SCRATCH, "head", "last:1", "last:2", "all", "lora")
PASSES = {10: 40, 50: 30, 200: 15}
RATES = {"last:1": 1e-3, "last:2": 1e-3, "all": 1e-3, "lora": 3e-3}
COMMON = {"batch_size": 32, "schedule": "one_cycle", "optimizer": "adamw", "verbose": 0}


def features() -> list[Layer]:
    """Return four convolutions, from an image to 1024 features: 0.76 million weights."""
    layers: list[Layer] = []
    for filters, side, stride in ((32, 5, 2), (64, 3, 2), (256, 3, 2), (256, 3, 1)):
        layers += [Conv2D(filters, side, stride, init="he", bias=False), BatchNorm()]
        layers += [Activation("relu")] + ([MaxPool2D(2)] if filters == 32 else [])
    return [*layers, Flatten()]


def forms(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return images in 16 forms, each form of a class as a class of its own.

    The image as it is, its middle enlarged, made narrow, made flat; each in all four quarter turns.
    Source: Lee, Hwang and Shin 2020, Self-supervised label augmentation via input transformations.
    """
    whole, middle, half = (np.linspace(*ends).round().astype(int) for ends in GRIDS)
    grids = (whole, whole), (middle, middle), (whole, half), (half, whole)
    scaled = [placed(X, *grid) for grid in grids]
    images = [np.rot90(Z, turn, axes=(1, 2)) for Z in scaled for turn in range(4)]
    return np.concatenate(images), np.concatenate([len(images) * y + i for i in range(len(images))])


def placed(X: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return these rows and columns of images, in the middle of empty ones of the same size."""
    made = np.zeros_like(X)
    top, left = (
        (side - len(of)) // 2 for side, of in zip(X.shape[1:3], (rows, columns), strict=True)
    )
    made[:, top : top + len(rows), left : left + len(columns)] = X[:, rows][:, :, columns]
    return made


def pretrained(X: np.ndarray, y: np.ndarray) -> NetworkClassifier:
    """Return a classifier of the old classes in all forms.

    To tell forms apart takes features of shape, and the dense layer between keeps them general.
    """
    layers = [RandomShift(2), *features(), Dropout(0.3), Dense(512, "relu"), Dense(80)]
    settings = COMMON | {"batch_size": 64, "max_epochs": EPOCHS, "random_state": 0}
    return NetworkClassifier(network=Sequential(layers), **settings).fit(*forms(X, y))


def part(X: np.ndarray, y: np.ndarray, classes: range, each: int, seed: int):
    """Return ``each`` images of each class, drawn by ``seed``."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(y == c))[:each] for c in classes]
    chosen = rng.permutation(np.concatenate(rows))
    return X[chosen], y[chosen]


def fitted(way: str, backbone: Backbone, X, y, seed: int) -> tuple[NetworkClassifier, float]:
    """Return a classifier trained in one way, and the share of its weights that trained."""
    shared = COMMON | {"random_state": seed, "max_epochs": PASSES[len(X) // 5]}
    if way == SCRATCH:
        settings = shared | {"penalty": "l2", "alpha": 0.01}
        network = Sequential([*features(), Dense(5)])
        return NetworkClassifier(network=network, **settings).fit(X, y), 1.0
    if way == "head":  # solved, by as many steps as it takes
        shared |= {"optimizer": "auto", "max_epochs": None}
    rate = RATES.get(way)
    model = TransferClassifier(
        backbone=backbone, tune=way, backbone_learning_rate=rate, **shared
    ).fit(X, y)
    return model, model.trained_weights_ / sum(W.size for W in flatten(model.weights_).values())


def images_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of Fashion-MNIST, pixels from 0 to 1."""
    data = read("fashion-mnist", part=name)
    return data.X.astype(np.float32) / 255, np.asarray(data.y).astype(int)


def main(folder: Path) -> None:
    """Train in all ways, print the table and draw it."""
    use_compilation_cache()
    (X, y), (X_test, y_test) = (images_of(name) for name in ("train", "test"))
    known, new = y_test < 5, y_test >= 5
    rows = y < 5
    old = pretrained(X[rows], y[rows])
    shown = forms(X_test[known], y_test[known])
    print(f"classes 0 to 4 in 16 forms: accuracy {old.score(*shown):.3f}")
    found, shares = defaultdict(list), {}
    for seed in SEEDS:
        for each in IMAGES:
            few = part(X, y, range(5, 10), each, seed)
            for way in WAYS:
                model, shares[way] = fitted(way, old.as_backbone(drop=2), *few, seed)
                found[way, each].append(100 * model.score(X_test[new], y_test[new]))
                print(f"{way} {each} {seed} {found[way, each][-1]:.2f}", file=sys.stderr)
    for way in WAYS:
        cells = [f"{np.mean(found[way, n]):.1f} ± {np.std(found[way, n]):.1f}" for n in IMAGES]
        print(f"| {way} | {100 * shares[way]:.1f} % | {' | '.join(cells)} |")
    draw(found, folder)


def draw(found: dict[tuple[str, int], list[float]], folder: Path) -> None:
    """Draw accuracy by images a class, a line for each way."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for way in WAYS:
        means = [np.mean(found[way, n]) for n in IMAGES]
        spread = [np.std(found[way, n]) for n in IMAGES]
        axis.errorbar(IMAGES, means, spread, marker="o", capsize=3, label=way)
    axis.set(xscale="log", xlabel="images a class", ylabel="accuracy on new classes (%)")
    axis.set_xticks(IMAGES, [str(n) for n in IMAGES])
    axis.legend()
    figure.savefig(folder / "transfer.png", dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
