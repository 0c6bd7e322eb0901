"""Plant faults in networks, let `lamina.inspection.health` name them, and print what it said.

Usage: python docs/health.py [--seeds 21 22 23] [--clothes] [--only WORDS] [--verbose]

Each case trains a small network with one fault in it, or a healthy one, from a seed that draws its
rows, its weights and their order. Fashion-MNIST and Japanese Vowels are read from the folder
LAMINA_DATA_DIR; cases on them are left out without it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

from lamina import (
    ConvClassifier,
    LinearClassifier,
    LinearRegressor,
    MLPClassifier,
    MLPRegressor,
    NetworkClassifier,
    RecurrentClassifier,
    TransferClassifier,
    use_compilation_cache,
)
from lamina.formats.read import read
from lamina.inspection import Health, health
from lamina.layers import (
    GRU,
    RNN,
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePool,
    MaxPool2D,
    Residual,
    Sequential,
    Standardize,
)
from lamina.layers.frozen import Frozen

CLOTHES = "--clothes" in sys.argv
"""Whether Fashion-MNIST stands in for digits, with units for its larger images."""
HEALTHY = "healthy"
FEW = 60
"""Below so many rows, classes are drawn evenly."""
Shown = tuple[Any, Any, Any]
"""A fitted model, and the held-out X and y that `health` is shown."""


@dataclass(frozen=True)
class Case:
    """One network to judge: its family, the fault planted in it, and how it is made from a seed."""

    family: str
    fault: str
    make: Callable[[int], Shown]
    data: str = ""
    where: str = ""

    @property
    def name(self) -> str:
        """The name of the function that makes it, in words."""
        return self.make.__name__.replace("_", " ")

    @property
    def available(self) -> bool:
        """Whether its data are there."""
        return not self.data or bool(_folder(self.data))


CASES: list[Case] = []


def case(family: str, fault: str = HEALTHY, data: str = "", where: str = "") -> Callable:
    """Enter a function of a seed in `CASES`."""

    def enter(make: Callable[[int], Shown]) -> Callable[[int], Shown]:
        CASES.append(Case(family, fault, make, data, where))
        return make

    return enter


def _folder(name: str) -> Path | None:
    folder = Path(os.environ.get("LAMINA_DATA_DIR", "")) / name
    return folder if "LAMINA_DATA_DIR" in os.environ and folder.exists() else None


# Data


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1,797 digits (n, 64), pixels from 0 to 1; with --clothes these instead (n, 784)."""
    if CLOTHES:
        X, y = fashion()
        return X.reshape(len(X), -1) / 255, y
    X, y = datasets.load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def image_shape() -> tuple[int, int, int]:
    """Return what a row of `digits` is."""
    return (28, 28, 1) if CLOTHES else (8, 8, 1)


def standardised(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return one of scikit-learn's tables with columns of mean 0 and deviation 1."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), y


@cache
def fashion() -> tuple[np.ndarray, np.ndarray]:
    """Return 3,000 of Fashion-MNIST's images (n, 28, 28, 1), pixels from 0 to 255."""
    found = read(str(_folder("fashion-mnist")), part="test")
    return np.asarray(found.X, np.float32).reshape(-1, 28, 28, 1)[:3000], found.y[:3000]


@cache
def vowels() -> tuple[list, np.ndarray]:
    """Return 640 Japanese vowels, series (t, 12) of 7 to 29 steps by nine speakers."""
    folder = _folder("japanese-vowels")
    parts = [read(folder / f"JapaneseVowels_{part}.ts") for part in ("TRAIN", "TEST")]
    return [x for part in parts for x in part.X], np.concatenate([part.y for part in parts])


def drawn(data: tuple[Any, np.ndarray], seed: int, train: int, test: int = 300) -> tuple:
    """Return rows to train on and rows to show, drawn by the seed."""
    X, y = data
    order = np.random.default_rng((seed, 9)).permutation(len(y))
    if train < FEW:  # the first ten rows are of ten classes, and so on
        within = np.array([np.sum(y[order[:i]] == y[row]) for i, row in enumerate(order)])
        order = order[np.argsort(within, kind="stable")]
    take = [order[:train], order[train : train + test]]
    if isinstance(X, list):
        return tuple(part for rows in take for part in ([X[i] for i in rows], y[rows]))
    return tuple(part for rows in take for part in (X[rows], y[rows]))


def fitted(model: Any, data: tuple[Any, np.ndarray], seed: int, train: int = 1000) -> Shown:
    """Return a model trained on some rows, and others."""
    X, y, X_shown, y_shown = drawn(data, seed, train)
    return model.set_params(random_state=seed, verbose=0).fit(X, y), X_shown, y_shown


def shuffled(data: tuple[Any, np.ndarray], seed: int) -> tuple[Any, np.ndarray]:
    """Return data whose labels stand in another order."""
    return data[0], np.random.default_rng((seed, 8)).permutation(data[1])


def column_times(data: tuple[np.ndarray, np.ndarray], factor: float, column: int = 3):
    """Return data with one column in another unit."""
    X = data[0].copy()
    X[..., column] *= factor
    return X, data[1]


def planted(
    model: Any, data: tuple[Any, np.ndarray], seed: int, change: Callable, train: int = 1000
) -> Shown:
    """Return a model trained on from weights that ``change`` made of the initial ones."""
    X, y, X_shown, y_shown = drawn(data, seed, train)
    epochs = model.max_epochs
    model.set_params(random_state=seed, verbose=0, warm_start=True, max_epochs=1)
    model.fit(X, y)
    initial, _ = model.network_.initialize(np.random.default_rng(seed), model.input_shape_)
    change(initial)
    model.weights_, model.history_ = initial, {}
    return model.set_params(max_epochs=epochs).fit(X, y), X_shown, y_shown


def mlp(**options: Any) -> MLPClassifier:
    """Return the perceptron that most dense cases change one thing of."""
    hidden = (128, 64) if CLOTHES else (48, 32)
    return MLPClassifier(**{"hidden": hidden, "max_epochs": 15, "batch_size": 64} | options)


def conv(**options: Any) -> ConvClassifier:
    """Return a small convolutional network for 8×8 digits."""
    settings = {"filters": (16,), "depth": 1, "hidden": (32,), "image_shape": image_shape()}
    return ConvClassifier(**settings | {"max_epochs": 6, "dropout": 0.0} | options)


def recurrent(**options: Any) -> RecurrentClassifier:
    """Return a small recurrent network for vowels."""
    settings = {"cell": "lstm", "hidden": (24,), "bidirectional": False, "pooling": "mean"}
    return RecurrentClassifier(**settings | {"max_epochs": 20} | options)


# Linear


@case("linear", "shuffled labels")
def linear_with_shuffled_labels(seed):
    """Fit labels that stand in another order."""
    return fitted(LinearClassifier(max_epochs=30), shuffled(digits(), seed), seed)


@case("linear", "input not scaled")
def linear_on_raw_measurements(seed):
    """Take the tumours' measures in their own units, 0.001 to 4,000."""
    data = datasets.load_breast_cancer(return_X_y=True)
    return fitted(LinearClassifier(optimizer="adam", max_epochs=30), data, seed, 350)


@case("linear", "input not scaled", where="input column 3")
def linear_regression_with_a_column_in_other_units(seed):
    """Take one column in thousandths."""
    data = column_times(standardised("diabetes"), 1000)
    return fitted(LinearRegressor(optimizer="adam", max_epochs=60), data, seed, 300)


@case("linear", "learning rate too high")
def linear_with_a_rate_times_100(seed):
    """Descend by steps a hundred times the usual."""
    model = LinearClassifier(optimizer="sgd", learning_rate=10.0, max_epochs=20)
    return fitted(model, digits(), seed)


@case("linear", "learning rate too low")
def linear_with_a_rate_by_1000(seed):
    """Descend by steps a thousandth of the usual."""
    model = LinearClassifier(optimizer="adam", learning_rate=1e-5, max_epochs=20)
    return fitted(model, digits(), seed)


@case("linear", "overfitting")
def linear_with_more_columns_than_rows(seed):
    """Learn 30 digits by heart, without a penalty."""
    model = LinearClassifier(penalty=None, max_epochs=300)
    return fitted(model, digits(), seed, 30)


# Dense


@case("dense", "dead units", where="dense_1")
def dense_with_units_dead_by_bias(seed):
    """Begin the second layer's biases at -20."""

    def change(weights):
        weights["dense_1"]["b"] -= 20

    return planted(mlp(), digits(), seed, change)


@case("dense", "vanishing gradient")
def dense_stack_of_sigmoids(seed):
    """Stack eight sigmoid layers."""
    return fitted(mlp(hidden=(32,) * 8, activation="sigmoid"), digits(), seed)


@case("dense", "vanishing gradient")
def dense_stack_of_tiny_weights(seed):
    """Begin ten layers with weights of deviation 0.01."""
    return fitted(mlp(hidden=(32,) * 10, init="normal"), digits(), seed)


@case("dense", "exploding gradient")
def dense_stack_of_great_weights(seed):
    """Begin ten layers with weights six times He's."""

    def change(weights):
        for own in weights.values():
            own["W"] *= 6

    return planted(mlp(hidden=(32,) * 10), digits(), seed, change)


@case("dense", "learning rate too high")
def dense_with_a_rate_times_100(seed):
    """Train by Adam at 0.1, throughout."""
    return fitted(mlp(learning_rate=0.1, schedule="constant"), digits(), seed)


@case("dense", "learning rate too high")
def dense_with_momentum_and_a_rate_times_100(seed):
    """Train by momentum at 2."""
    return fitted(mlp(optimizer="momentum", learning_rate=2.0), digits(), seed)


@case("dense", "learning rate too low")
def dense_with_a_rate_by_200(seed):
    """Train by Adam at 0.000005."""
    return fitted(mlp(learning_rate=5e-6), digits(), seed)


@case("dense", "duplicate units")
def dense_from_zeros(seed):
    """Begin with zeros, so that all units stay alike."""
    return fitted(mlp(init="zeros"), digits(), seed)


@case("dense", "duplicate units", where="dense_1/W")
def dense_with_copied_units(seed):
    """Make a third of the second layer's units copies of one."""

    def change(weights):
        weights["dense_1"]["W"][:, 1:12] = weights["dense_1"]["W"][:, :1]
        weights["dense_2"]["W"][1:12] = weights["dense_2"]["W"][:1]

    return planted(mlp(), digits(), seed, change)


@case("dense", "class collapse", where="class 3")
def dense_with_a_class_that_weighs_nothing(seed):
    """Give one class next to no weight."""
    weight = dict.fromkeys(range(10), 1.0) | {3: 1e-4}
    return fitted(mlp(class_weight=weight), digits(), seed)


@case("dense", "overfitting")
def dense_on_few_rows(seed):
    """Learn 30 digits by heart."""
    return fitted(mlp(hidden=(256,), penalty=None, max_epochs=150), digits(), seed, 30)


@case("dense", "overfitting")
def dense_regression_on_few_rows(seed):
    """Learn 80 patients by heart."""
    model = MLPRegressor(hidden=(128,), penalty=None, max_epochs=300, batch_size=16)
    return fitted(model, standardised("diabetes"), seed, 80)


@case("dense", "frozen layer", where="dense_0")
def dense_with_a_layer_left_frozen(seed):
    """Leave the first layer frozen at its random start."""
    network = Sequential([Frozen(Dense(48, "relu")), Dense(32, "relu"), Dense(10)])
    model = NetworkClassifier(network=network, max_epochs=15, schedule="cosine")
    return fitted(model, digits(), seed)


@case("dense", "saturated units")
def dense_with_great_weights_before_tanh(seed):
    """Begin tanh layers with weights forty times Glorot's."""

    def change(weights):
        for name in ("dense_0", "dense_1"):
            weights[name]["W"] *= 40

    return planted(mlp(activation="tanh"), digits(), seed, change)


@case("dense", "shuffled labels")
def dense_with_shuffled_labels(seed):
    """Learn labels in another order by heart."""
    model = mlp(hidden=(128,), max_epochs=60)
    return fitted(model, shuffled(digits(), seed), seed, 500)


@case("dense", "rank collapse", where="dense_1")
def dense_with_a_layer_of_rank_one(seed):
    """Keep of the second matrix only its first singular direction, after training."""
    model, X, y = fitted(mlp(activation="tanh"), digits(), seed)
    U, s, Vt = np.linalg.svd(model.weights_["dense_1"]["W"])
    model.weights_["dense_1"]["W"] = (s[0] * np.outer(U[:, 0], Vt[0])).astype(np.float32)
    return model, X, y


@case("dense", "input not scaled", where="input column 3")
def dense_with_a_column_in_other_units(seed):
    """Take one column of wines in thousandths."""
    data = column_times(standardised("wine"), 1000)
    return fitted(mlp(max_epochs=40), data, seed, 100)


# Convolutional


def _plain_conv() -> NetworkClassifier:
    network = Sequential(
        [Conv2D(8, 5, stride=2, activation="relu"), Conv2D(16, 3, stride=2, activation="relu"),
         Flatten(), Dense(10)]
    )  # fmt: skip
    return NetworkClassifier(network=network, max_epochs=6, batch_size=64)


@case("convolutional", "input not scaled", data="fashion-mnist", where="input")
def convolutions_on_pixels_to_255(seed):
    """Take pixels from 0 to 255."""
    return fitted(_plain_conv(), fashion(), seed)


@case("convolutional", "learning rate too high")
def convolutions_with_a_rate_times_100(seed):
    """Train by AdamW at 0.3, throughout."""
    model = conv(learning_rate=0.3, batch_norm=False, schedule="constant")
    return fitted(model, digits(), seed)


@case("convolutional", "dead units", where="conv_0")
def convolutions_with_units_dead_by_bias(seed):
    """Begin the first filters' biases at -20."""

    def change(weights):
        weights["conv_0"]["b"] -= 20

    X, y = digits()
    network = Sequential([Conv2D(8, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(10)])
    model = NetworkClassifier(network=network, max_epochs=6, batch_size=64)
    return planted(model, (X.reshape(-1, *image_shape()), y), seed, change)


@case("convolutional", "duplicate units", where="conv_0/W")
def convolutions_with_copied_filters(seed):
    """Make half of the filters copies of one."""
    model, X, y = fitted(conv(), digits(), seed)
    model.weights_["conv_0"]["W"][..., :8] = model.weights_["conv_0"]["W"][..., :1]
    if "b" in model.weights_["conv_0"]:
        model.weights_["conv_0"]["b"][:8] = model.weights_["conv_0"]["b"][0]
    return model, X, y


@case("convolutional", "shuffled labels")
def convolutions_with_shuffled_labels(seed):
    """Fit labels in another order."""
    return fitted(conv(max_epochs=10), shuffled(digits(), seed), seed, 600)


# Recurrent


@case("recurrent", "exploding gradient", data="japanese-vowels", where="rnn_0")
def recurrent_state_that_explodes(seed):
    """Begin with a state that doubles from step to step."""

    def change(weights):
        weights["rnn_0"]["W_h"] *= 2

    model = recurrent(cell="rnn_relu", pooling="last", max_epochs=3, learning_rate=1e-4)
    return planted(model, vowels(), seed, change, 320)


@case("recurrent", "learning rate too high", data="japanese-vowels")
def recurrent_with_a_rate_times_100(seed):
    """Train by Adam at 0.3, throughout and without clipping."""
    model = recurrent(learning_rate=0.3, schedule="constant", clip_norm=None)
    return fitted(model, vowels(), seed, 320)


@case("recurrent", "shuffled labels", data="japanese-vowels")
def recurrent_with_shuffled_labels(seed):
    """Fit speakers in another order."""
    return fitted(recurrent(), shuffled(vowels(), seed), seed, 320)


@case("recurrent", "input not scaled", data="japanese-vowels", where="input column 3")
def recurrent_with_a_channel_in_other_units(seed):
    """Take one channel in thousandths, not standardised."""
    X, y = vowels()
    X = [x * np.where(np.arange(12) == 3, 1000, 1) for x in X]
    network = Sequential([GRU(24), Dense(9)])
    model = NetworkClassifier(network=network, max_epochs=10, batch_size=32)
    padded = np.stack([np.resize(x, (20, 12)) for x in X]).astype(np.float32)
    return fitted(model, (padded, y), seed, 320)


@case("recurrent", "saturated units", data="japanese-vowels", where="rnn_0")
def recurrent_states_that_saturate(seed):
    """Begin with input weights forty times the usual."""

    def change(weights):
        weights["rnn_0"]["W_x"] *= 40

    return planted(recurrent(cell="rnn", max_epochs=10), vowels(), seed, change, 320)


@case("recurrent", "vanishing gradient", where="rnn_0/W_h")
def recurrent_state_that_is_forgotten(seed):
    """Ask after 60 steps for the first, of a state that is halved at each."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((900, 60, 1)).astype(np.float32)
    y = (X[:, 0, 0] > 0).astype(int)

    def change(weights):
        weights["rnn_0"]["W_h"] *= 0.5

    network = Sequential([RNN(24), Dense(2)])
    model = NetworkClassifier(network=network, max_epochs=10, batch_size=64, learning_rate=1e-3)
    return planted(model, (X, y), seed, change, 600)


# Healthy


@case("linear")
def linear_digits(seed):
    """Fit digits by L-BFGS."""
    return fitted(LinearClassifier(), digits(), seed)


@case("linear")
def linear_digits_by_descent(seed):
    """Fit digits by stochastic gradients at their usual rate."""
    return fitted(LinearClassifier(optimizer="sgd", max_epochs=30), digits(), seed)


@case("linear")
def linear_tumours(seed):
    """Fit standardised tumours by L-BFGS."""
    return fitted(LinearClassifier(), standardised("breast_cancer"), seed, 350)


@case("linear")
def linear_diabetes(seed):
    """Fit diabetes by least squares."""
    return fitted(LinearRegressor(), standardised("diabetes"), seed, 300)


@case("dense")
def dense_digits(seed):
    """Fit digits by the usual settings."""
    return fitted(mlp(), digits(), seed)


@case("dense")
def dense_digits_by_tanh(seed):
    """Fit digits with tanh and dropout."""
    return fitted(mlp(activation="tanh", dropout=0.2), digits(), seed)


@case("dense")
def dense_digits_by_momentum(seed):
    """Fit digits by momentum at its usual rate."""
    return fitted(mlp(optimizer="momentum"), digits(), seed)


@case("dense")
def dense_wines(seed):
    """Fit wines, stopping early."""
    return fitted(mlp(early_stopping=10, max_epochs=60), standardised("wine"), seed, 120)


@case("dense")
def dense_tumours(seed):
    """Fit tumours, stopping early."""
    return fitted(mlp(early_stopping=5, max_epochs=60), standardised("breast_cancer"), seed, 350)


@case("dense")
def dense_diabetes(seed):
    """Fit diabetes, stopping early."""
    model = MLPRegressor(hidden=(32,), early_stopping=5, max_epochs=100, batch_size=32, alpha=0.01)
    return fitted(model, standardised("diabetes"), seed, 300)


@case("dense")
def dense_residual_digits(seed):
    """Fit digits by six residual layers with batch normalisation."""
    block = Residual(Sequential([Dense(32), BatchNorm(), Activation("relu"), Dense(32)]))
    network = Sequential([Dense(32, "relu"), *[block] * 3, Dense(10)])
    model = NetworkClassifier(network=network, max_epochs=15, batch_size=64, schedule="cosine")
    return fitted(model, digits(), seed)


@case("convolutional")
def convolutional_digits(seed):
    """Fit digits by convolutions."""
    return fitted(conv(), digits(), seed)


@case("convolutional", data="fashion-mnist")
def convolutional_fashion(seed):
    """Fit clothes by convolutions."""
    network = Sequential(
        [Standardize(), Conv2D(8, 5, stride=2, activation="relu"), Conv2D(16, 3, stride=2),
         BatchNorm(), Activation("relu"), GlobalAveragePool(), Dense(10)]
    )  # fmt: skip
    model = NetworkClassifier(
        network=network, max_epochs=12, batch_size=64, learning_rate=5e-3, schedule="one_cycle"
    )
    X, y = fashion()
    return fitted(model, (X / 255, y), seed, 2000)


@case("convolutional")
def transferred_digits(seed):
    """Learn the digits from 5 on by a network of those below."""
    X, y = digits()
    old = conv(max_epochs=4, random_state=seed, verbose=0).fit(X[y < 5], y[y < 5])
    model = TransferClassifier(backbone=old.as_backbone(), tune="last:1")
    return fitted(model, (X[y >= 5].reshape(-1, *image_shape()), y[y >= 5]), seed, 500)


@case("recurrent", data="japanese-vowels")
def recurrent_vowels(seed):
    """Fit vowels by an LSTM."""
    return fitted(recurrent(), vowels(), seed, 320)


@case("recurrent", data="japanese-vowels")
def recurrent_vowels_by_gru(seed):
    """Fit vowels by a GRU that reads both ways."""
    model = recurrent(cell="gru", bidirectional=True, pooling="last")
    return fitted(model, vowels(), seed, 320)


@case("recurrent", data="japanese-vowels")
def recurrent_vowels_by_a_plain_cell(seed):
    """Fit vowels by a plain cell."""
    return fitted(recurrent(cell="rnn"), vowels(), seed, 320)


def judged(one: Case, seed: int) -> tuple[str, Health]:
    """Return the first problem's name, or healthy, and all that was said."""
    model, X, y = one.make(seed)
    found = health(model, X, y)
    return (found.problems[0].fault if found.problems else HEALTHY), found


def main() -> None:
    """Judge every case at every seed; print the confusion table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23])
    parser.add_argument("--only", nargs="+", default=[], help="words in the names of cases")
    parser.add_argument("--clothes", action="store_true", help="Fashion-MNIST instead of digits")
    parser.add_argument("--verbose", action="store_true", help="print every verdict")
    options = parser.parse_args()
    use_compilation_cache()
    chosen = [one for one in CASES if not options.only or any(w in one.name for w in options.only)]
    left_out = [one.name for one in chosen if not one.available]
    if left_out:
        print(f"without LAMINA_DATA_DIR left out: {', '.join(left_out)}", file=sys.stderr)
    table: Counter[tuple[str, str]] = Counter()
    for one in (one for one in chosen if one.available):
        for seed in options.seeds:
            said, found = judged(one, seed)
            table[one.fault, said] += 1
            if options.verbose or said != one.fault:
                others = "; ".join(map(str, found.verdicts)) or "nothing"
                print(f"{one.name}, seed {seed}: {one.fault}, said: {others}", flush=True)
    faults = sorted({name for pair in table for name in pair} - {HEALTHY})
    for fault in [*faults, HEALTHY]:
        row = Counter({said: count for (true, said), count in table.items() if true == fault})
        if row:
            said = ", ".join(f"{name} {count}" for name, count in row.most_common())
            print(f"| {fault} | {row.total()} | {row[fault]} | {said} |")


if __name__ == "__main__":
    main()
