"""Draw docs/pictures/vanishing.png and print the numbers of docs/vanishing.md.

*adding* (Hochreiter and Schmidhuber 1997, section 5.4; here as in Le, Jaitly and Hinton 2015): of T
numbers between 0 and 1 two are marked, and the answer is their sum. *copying* (Arjovsky, Shah and
Bengio 2016): ten symbols, T blanks, then the ten symbols again.

Usage: python docs/vanishing.py [adding] [copying] [options]; ``--help`` names them.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import RecurrentRegressor, use_compilation_cache
from lamina.functions.losses import NextCode
from lamina.kernels.cells import CELLS as RULES
from lamina.layers import GRU, LSTM, PREDICTING, RNN, Dense, EachStep, Sequential
from lamina.training.batches import ArraySource
from lamina.training.loop import Descent, Objective, Run, evaluate, scores
from lamina.training.metrics import METRICS
from lamina.training.optimizers import optimizer
from lamina.training.schedules import schedule
from lamina.training.state import fresh_state

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
COLOURS = {"rnn": "tab:red", "lstm": "tab:blue", "gru": "tab:green"}
UNITS, SAMPLES, TEST, BATCH, CLIP = 64, 10_000, 2_000, 64, 1.0
EPOCHS = {"adding": 4, "copying": 20}
RATES, DRAWN = (1e-3, 2e-3, 5e-3), 1e-3
SYMBOLS, REMEMBERED = 8, 10
BLANK, MARKER = SYMBOLS, SYMBOLS + 1


def adding_problem(samples: int, T: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X (samples, T, 2), numbers and marks, and the marked numbers' sums."""
    rng = np.random.default_rng(seed)
    X = np.zeros((samples, T, 2), np.float32)
    X[:, :, 0] = rng.random((samples, T))
    rows = np.arange(samples)
    first, second = rng.integers(0, T // 2, samples), rng.integers(T // 2, T, samples)
    X[rows, first, 1] = X[rows, second, 1] = 1
    return X, X[rows, first, 0] + X[rows, second, 0]


def copying_problem(samples: int, T: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X (samples, T+20, 10), one-hot, and the codes to answer at each step.

    Symbols, T-1 blanks, the marker, ten blanks; the answer is blank until the marker was read.
    """
    rng = np.random.default_rng(seed)
    symbols = rng.integers(SYMBOLS, size=(samples, REMEMBERED))
    read = np.full((samples, T + 2 * REMEMBERED), BLANK, np.int32)
    y = read.copy()
    read[:, :REMEMBERED], read[:, -REMEMBERED - 1] = symbols, MARKER
    y[:, -REMEMBERED:] = symbols
    return np.eye(SYMBOLS + 2, dtype=np.float32)[read], y


def adding(cell: str, T: int, rate: float, options: argparse.Namespace) -> list[RecurrentRegressor]:
    """Print the mean squared errors on unseen series, and return the models, one a seed."""
    models, errors, began = [], [], time.perf_counter()
    for seed in options.seeds:
        model = RecurrentRegressor(
            cell=cell, hidden=(UNITS,), bidirectional=False, dropout=0.0, batch_size=BATCH,
            clip_norm=CLIP, schedule="cosine", learning_rate=rate,
            max_epochs=options.epochs or EPOCHS["adding"], random_state=seed, verbose=0,
        ).fit(*adding_problem(SAMPLES, T, seed=100 + seed))  # fmt: skip
        X, y = adding_problem(TEST, T, seed=200 + seed)
        models.append(model)
        errors.append(f"{np.mean((model.predict(X) - y) ** 2):.5f}")
    seconds = (time.perf_counter() - began) / len(models)
    found = ", ".join(errors)
    print(
        f"adding, T = {T}, {cell}, rate {rate:g}: mean squared error {found} ({seconds:.0f} s)",
        flush=True,
    )
    return models


def copying(cell: str, T: int, rate: float, seed: int, epochs: int) -> None:
    """Print the cross-entropy a step, and how many of the ten symbols are right."""
    head = EachStep(Dense(SYMBOLS + 1, init="glorot"))
    network = Sequential([CELLS[cell](UNITS, output="all"), head])
    X, y = copying_problem(SAMPLES, T, seed=100 + seed)
    initial = network.initialize(np.random.default_rng(seed), X.shape[1:])
    objective = Objective(network, NextCode(), METRICS["codes"])
    method = optimizer("adam")
    run = Run(
        objective,
        Descent(method, rate, schedule("cosine"), CLIP),
        fresh_state(*initial, method, seed),
        ArraySource.of(X, y, None, batch_size=BATCH, seed=seed),
        epochs,
    )
    began = time.perf_counter()
    run.train()
    seconds = time.perf_counter() - began
    weights, statistics = run.state.weights, run.state.statistics
    X, y = copying_problem(TEST, T, seed=200 + seed)
    nats = evaluate(objective, weights, statistics, X, y)["loss"]
    answers = scores(network, weights, statistics, X)[:, -REMEMBERED:].argmax(axis=2)
    right = (answers == y[:, -REMEMBERED:]).mean()
    memoryless = REMEMBERED * math.log(SYMBOLS) / (T + 2 * REMEMBERED)
    print(
        f"copying, lag {T}, rate {rate:g}, {cell}: cross-entropy {nats:.4f}, "
        f"memoryless {memoryless:.4f}, symbols right {right:.3f} ({seconds:.0f} s)",
        flush=True,
    )


def gradient_by_lag(network: Sequential, weights: Any, statistics: Any, X: np.ndarray):
    """Return ``‖∂h_T/∂x_t‖`` at lags 0 to T-1: Frobenius norm, root mean square over series.

    Each series pulls back one random direction v of independent standard normal numbers; the mean
    of ``‖vᵀ J‖²`` over directions is ``‖J‖²``.
    """

    def last(X):
        return network.apply(weights, statistics, X, PREDICTING)[0]

    h, pull = jax.vjp(last, jnp.asarray(X))
    directions = np.random.default_rng(0).standard_normal(h.shape).astype(np.float32)
    (dX,) = pull(jnp.asarray(directions))
    squares = np.square(np.asarray(dX, np.float64)).sum(axis=2)
    return np.sqrt(squares.mean(axis=0))[::-1]


def largest_eigenvalues(network: Sequential, weights: Any, statistics: Any, x: np.ndarray):
    """Return the largest ``|λ|`` of ``∂state_t/∂state_{t-1}`` at every tenth step of series x."""
    (standardize, _), (name, cell) = network.named()
    rule, own = RULES[cell.cell], weights[name]  # type: ignore
    b = np.concatenate([own["b"], own.get("b_hn", own["b"][:0])])
    P = (x - statistics[standardize]["mean"]) / statistics[standardize]["scale"] @ own["W_x"]
    P = jnp.asarray(P + b[: P.shape[1]], jnp.float32)

    def step(state, P_t):
        parts = tuple(part[None] for part in jnp.split(state, rule.parts))
        after, _ = rule.step(P_t[None], parts[0] @ own["W_h"], b[len(P_t) :], parts)
        return jnp.concatenate([part[0] for part in after])

    start = jnp.zeros(rule.parts * UNITS)
    _, before = jax.lax.scan(lambda state, P_t: (step(state, P_t), state), start, P)
    Js = jax.vmap(jax.jacrev(step))(before[10::10], P[10::10])
    return np.abs(np.linalg.eigvals(np.asarray(Js))).max(axis=1)


def gradients(cell: str, T: int, model: RecurrentRegressor) -> dict[str, np.ndarray]:
    """Return the gradients by lag before and after training, without the scores' layer."""
    network = Sequential(model.network_.layers[:2])  # type: ignore
    X, _ = adding_problem(200, T, seed=300)
    start, _ = network.initialize(np.random.default_rng(model.random_state), X.shape[1:])
    found = {}
    if cell == "rnn":
        halved = {"rnn_0": {**start["rnn_0"], "W_h": start["rnn_0"]["W_h"] / 2}}
        found["halved"] = gradient_by_lag(network, halved, model.statistics_, X)
    found["untrained"] = gradient_by_lag(network, start, model.statistics_, X)
    found["trained"] = gradient_by_lag(network, model.weights_, model.statistics_, X)
    for name, norms in found.items():
        reach = ", ".join(f"{norms[lag]:.1e}" for lag in (0, T // 4, T // 2, T - 1))
        print(f"  gradient, {name}, at lags 0, {T // 4}, {T // 2}, {T - 1}: {reach}", flush=True)
    for name, weights in (("untrained", start), ("trained", model.weights_)):
        radii = largest_eigenvalues(network, weights, model.statistics_, X[0])
        figures = f"median {np.median(radii):.3f}, {radii.min():.3f} to {radii.max():.3f}"
        print(f"  largest |eigenvalue| of a step, {name}: {figures}", flush=True)
    return found


def draw(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Draw the gradients by lag: on the left before training, on the right after it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axis, moment in ((left, "untrained"), (right, "trained")):
        for cell, norms in found.items():
            drawn = np.where(norms[moment] > 0, norms[moment], np.nan)
            axis.semilogy(drawn, color=COLOURS[cell], label=CELLS[cell].__name__)
        axis.set(title=moment, xlabel="lag: steps from the input to the last state")
        axis.grid(alpha=0.3)
    halved = {"color": COLOURS["rnn"], "linestyle": ":", "label": "RNN, $W_h$ halved"}
    left.semilogy(found["rnn"]["halved"], **halved)
    right.plot([], [], **halved)  # one legend, where there is room
    right.legend(loc="lower left")
    left.set(ylim=(1e-20, 1e3), ylabel="norm of the gradient")
    figure.savefig(path, dpi=150)
    print(f"drawn: {path}")


def main() -> None:
    """Train what is asked for; draw the longest adding task's gradients if all cells are there."""
    parser = argparse.ArgumentParser(description="The vanishing gradient, measured.")
    parser.add_argument("task", nargs="*", default=["adding", "copying"], help="adding, copying")
    parser.add_argument("--lengths", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=CELLS)
    parser.add_argument("--epochs", type=int, help=f"instead of {EPOCHS}")
    parser.add_argument("--rates", type=float, nargs="+", help=f"instead of {RATES}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "pictures")
    options = parser.parse_args()
    use_compilation_cache()
    found = {}
    grid = partial(product, options.lengths, options.cells)
    for T, cell, rate in grid(options.rates or RATES) if "adding" in options.task else ():
        model = adding(cell, T, rate, options)[0]
        if max(options.lengths) == T and rate == DRAWN:
            found[cell] = gradients(cell, T, model)
    if set(found) == set(CELLS):
        draw(found, options.folder / "vanishing.png")
    for T, cell, rate in grid(options.rates or RATES[-1:]) if "copying" in options.task else ():
        for seed in options.seeds:
            copying(cell, T, rate, seed, options.epochs or EPOCHS["copying"])


if __name__ == "__main__":
    main()
