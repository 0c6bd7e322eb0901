"""The vanishing gradient, measured: errors printed, and gradients by lag drawn as a picture.

The adding problem (Hochreiter and Schmidhuber 1997, section 5.4): of T numbers between 0 and 1 two
are marked, and the answer is their sum. Always to answer 1 has mean squared error 1/6. Run it:
``python docs/vanishing.py [T ...]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lamina import RecurrentRegressor
from lamina.kernels.recurrence import recurrence

CELLS = {"rnn": "rnn_tanh", "lstm": "lstm", "gru": "gru"}
SAMPLES, TEST, UNITS, EPOCHS = 20_000, 2_000, 64, 15
PICTURE = Path(__file__).parent / "pictures" / "vanishing.png"


def adding_problem(samples: int, T: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X (samples, T, 2), numbers and marks, and the marked numbers' sums."""
    rng = np.random.default_rng(seed)
    X = np.zeros((samples, T, 2), np.float32)
    X[:, :, 0] = rng.random((samples, T))
    rows = np.arange(samples)
    first, second = rng.integers(0, T // 2, samples), rng.integers(T // 2, T, samples)
    X[rows, first, 1] = X[rows, second, 1] = 1
    return X, X[rows, first, 0] + X[rows, second, 0]


def trained(cell: str, T: int) -> tuple[RecurrentRegressor, float]:
    """Return a trained model and its mean squared error on unseen series."""
    X, y = adding_problem(SAMPLES, T, 0)
    model = RecurrentRegressor(
        cell=cell, hidden=(UNITS,), bidirectional=False, dropout=0.0, batch_size=64,
        max_epochs=EPOCHS, learning_rate=5e-3, random_state=0,
    ).fit(X, y)  # fmt: skip
    X, y = adding_problem(TEST, T, 1)
    return model, float(np.mean((model.predict(X) - y) ** 2))


def gradient_by_lag(model: RecurrentRegressor, cell: str, T: int) -> np.ndarray:
    """Return ‖∂h_T / ∂x_t‖ along a random direction, averaged over series, for lags 0 to T-1."""
    name = next(name for name in model.weights_ if name != "dense_0")
    weights = model.weights_[name]
    b = jnp.concatenate([weights["b"], weights["b_hn"]]) if cell == "gru" else weights["b"]
    X, _ = adding_problem(100, T, 2)
    X = (X - model.statistics_["standardize_0"]["mean"]) / model.statistics_["standardize_0"][
        "scale"
    ]

    def last(X):
        _, final = recurrence(CELLS[cell], X, weights["W_x"], weights["W_h"], b)
        return final[0] if isinstance(final, tuple) else final

    final, pull = jax.vjp(last, jnp.asarray(X, jnp.float32))
    direction = np.random.default_rng(3).standard_normal(final.shape).astype(np.float32)
    norms = np.linalg.norm(np.asarray(pull(jnp.asarray(direction))[0]), axis=2)
    return norms.mean(axis=0)[::-1]


def main(lengths: list[int]) -> None:
    """Print the errors, and draw the gradients of the longest task's models."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axis = figure.subplots()
    for T in lengths:
        for cell in CELLS:
            model, error = trained(cell, T)
            seconds = sum(model.history_["seconds"])
            print(f"T = {T}, {cell}: mean squared error {error:.4f} ({seconds:.0f} s)", flush=True)
            if max(lengths) == T:
                norms = gradient_by_lag(model, cell, T)
                axis.semilogy(np.maximum(norms, 1e-30), label=f"{cell}, error {error:.3f}")
                reach = " ".join(f"{norms[lag]:.1e}" for lag in (0, 10, 50, T - 1))
                print(f"  gradient by lag 0, 10, 50, {T - 1}: {reach}")
    axis.set_xlabel("lag: steps between an input and the last state")
    axis.set_ylabel("gradient's norm")
    axis.set_ylim(bottom=1e-12)
    axis.legend()
    axis.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [100, 200])
