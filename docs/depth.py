"""Draw docs/pictures/depth.png and print the numbers of docs/depth.md: thirty layers on digits.

Usage: python docs/depth.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from lamina import NetworkClassifier, use_compilation_cache
from lamina.functions.losses import loss
from lamina.layers import Activation, BatchNorm, Context, Dense, Layer, Sequential

DEPTH, UNITS, STEPS, TRAIN = 30, 32, 200, 1024
PLAIN, NORMALISED = "without BatchNorm", "with BatchNorm"
SHOWN = (0, 9, 19, DEPTH - 1)


def network(normalised: bool) -> Sequential:
    """Return thirty times ``relu(X W)``, W drawn by Glorot's scheme, then ten scores."""
    layers: list[Layer] = []
    for _ in range(DEPTH):
        norm = [BatchNorm()] if normalised else []
        layers += [Dense(UNITS, init="glorot", bias=False), *norm, Activation("relu")]
    return Sequential([*layers, Dense(10, init="glorot")])


def variances(net: Sequential, X: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """Return the variances of each layer's output ``A`` and gradient ``dW``, before training."""
    weights, statistics = net.initialize(np.random.default_rng(0), X.shape[1:])

    @jax.jit
    def gradients(weights):
        def mean_loss(weights):
            found, _ = net.apply(weights, statistics, X, Context(train=True))
            return loss("softmax")(found, y).mean()

        return jax.grad(mean_loss)(weights)

    walk = net.walk(weights, statistics, X, Context(train=True))
    outputs = [float(A.var()) for name, A, _ in walk if name.startswith("activation")]
    dW = gradients(weights)
    return {"A": outputs, "dW": [float(dW[f"dense_{i}"]["W"].var()) for i in range(DEPTH)]}


def main(folder: Path) -> None:
    """Train both networks, print their numbers and draw their losses."""
    use_compilation_cache()
    X, y = load_digits(return_X_y=True)
    X = ((X - X[:TRAIN].mean()) / X[:TRAIN].std()).astype(np.float32)
    train, test = (X[:TRAIN], y[:TRAIN]), (X[TRAIN:], y[TRAIN:])
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, colour in ((PLAIN, "tab:red"), (NORMALISED, "tab:blue")):
        net = network(name == NORMALISED)
        model = NetworkClassifier(
            network=net,
            optimizer="momentum",
            learning_rate=0.05,
            batch_size=TRAIN,  # one step an epoch: the history is the loss by step
            max_epochs=STEPS,
            random_state=0,
            verbose=0,
        ).fit(*train)
        losses = model.history_["loss"]
        axis.plot(np.arange(1, STEPS + 1), losses, color=colour, label=name)
        print(f"{name}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, ", end="")
        print(f"accuracy on {len(test[1])} other digits {model.score(*test):.3f}")
        for matrix, found in variances(net, *train).items():
            row = ", ".join(f"layer {i + 1}: {found[i]:.1e}" for i in SHOWN)
            print(f"  variance of {matrix} before training: {row}")
    axis.axhline(np.log(10), color="grey", linewidth=0.8, linestyle=":", label="guessing: ln 10")
    axis.set(xlabel="step", ylabel="loss", ylim=(0, None), title=f"{DEPTH} layers of {UNITS} units")
    axis.legend()
    figure.savefig(folder / "depth.png", dpi=150)
    print(f"drawn: {folder / 'depth.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
