"""The recurrent network on sequences of unequal length, read in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.initial import dense_stack, glorot, orthogonal
from benchmarks.perceptron import torch_dense, torch_dense_weights
from benchmarks.recurrent import lstm, sigmoid
from benchmarks.task import CLASSES, SEED, Shape, Weights

DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True)
class RaggedNet:
    """An LSTM whose last states in both directions are scored: a `Network`.

    It takes sequences (t, m) in which NaN stands beyond the end.

    Parameters
    ----------
    units : int
        h, the size of each direction's state.
    shortest : int
        The least number of steps of a sequence; the greatest is t.
    """

    units: int
    shortest: int
    linear = False

    def title(self, sample: Shape) -> str:
        """Return such as ``bidirectional LSTM 7 to 29 steps of 12-64-10``."""
        steps, features = sample
        path = f"{features}-{self.units}-{CLASSES}"
        return f"bidirectional LSTM {self.shortest} to {steps} steps of {path}"

    def multiplications(self, sample: Shape) -> float:
        """Return those of a forward pass, for lengths that are all as frequent."""
        steps, h = (self.shortest + sample[0]) / 2, self.units
        return 2 * steps * (sample[1] + h) * 4 * h + 2 * h * CLASSES

    def initial(self, sample: Shape) -> Weights:
        """Return Lamina's draws: ``(W_x, W_h, b)`` forward and backward, then ``(W, b)``."""
        rng, h = np.random.default_rng(SEED), self.units
        directions: Weights = []
        for _ in DIRECTIONS:
            W_x = np.concatenate([glorot(rng, (sample[1], h)) for _ in range(4)], axis=1)
            W_h = np.concatenate([orthogonal(rng, h) for _ in range(4)], axis=1)
            b = np.zeros(4 * h, np.float32)
            b[h : 2 * h] = 1
            directions.append((W_x, W_h, b))
        return [*directions, *dense_stack(rng, 2 * h, ())]

    def lamina(self, **settings: Any) -> Any:
        """Return the estimator."""
        from lamina import RecurrentClassifier

        model = RecurrentClassifier(hidden=(self.units,), bidirectional=True, dropout=0, **settings)
        return _OnSequences(model)

    def lamina_weights(self, model: Any) -> Weights:
        """Return both directions' weights, and the scores'."""
        layer, scores = model.weights_["lstm_0"], model.weights_["dense_0"]
        directions = [tuple(layer[of][name] for name in ("W_x", "W_h", "b")) for of in DIRECTIONS]
        return [*directions, (scores["W"], scores["b"])]

    def torch(self, weights: Weights, sample: Shape) -> Any:
        """Return the module; the second of PyTorch's two biases starts at zero."""
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence

        class LastStates(torch.nn.Module):
            def __init__(self, cell: Any, scores: Any) -> None:
                super().__init__()
                self.cell, self.scores = cell, scores

            def forward(self, X: Any) -> Any:
                lengths = X[:, :, 0].isfinite().sum(1)
                packed = pack_padded_sequence(X, lengths, batch_first=True, enforce_sorted=False)
                return self.scores(torch.cat(tuple(self.cell(packed)[1][0]), dim=1))

        *directions, scores = weights
        cell = torch.nn.LSTM(sample[1], self.units, batch_first=True, bidirectional=True)
        given = {}
        for (W_x, W_h, b), suffix in zip(directions, ("", "_reverse"), strict=True):
            arrays = {"weight_ih": W_x.T, "weight_hh": W_h.T, "bias_ih": b, "bias_hh": 0 * b}
            given |= {f"{name}_l0{suffix}": torch.tensor(a) for name, a in arrays.items()}
        cell.load_state_dict(given)
        return LastStates(cell, torch.nn.Sequential(*torch_dense([scores])))

    def torch_inputs(self, X: np.ndarray) -> Any:
        """Return ``X`` as a tensor."""
        import torch

        return torch.from_numpy(X)

    def torch_weights(self, module: Any, sample: Shape) -> Weights:
        """Return all weights, PyTorch's two biases as one."""
        directions: Weights = []
        for suffix in ("", "_reverse"):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            arrays = (getattr(module.cell, f"{name}_l0{suffix}").detach().numpy() for name in names)
            W_x, W_h, b, b_h = arrays
            directions.append((W_x.T, W_h.T, b + b_h))
        return [*directions, *torch_dense_weights(module.scores)]

    def jax(self, weights: Any, X: Any) -> Any:
        """Return scores, as a JAX program, its steps written out."""
        import jax
        import jax.numpy as jnp

        return self._scores(weights, X, jnp, jax.nn.sigmoid)

    def scores(self, weights: Weights, X: np.ndarray) -> np.ndarray:
        """Return scores by NumPy."""
        return self._scores(weights, X, np, sigmoid)

    def _scores(self, weights: Any, X: Any, xp: Any, sigmoid: Any) -> Any:
        *directions, (W, b) = weights
        valid, X = xp.isfinite(X[:, :, :1]), xp.nan_to_num(X)
        finals = []
        for (W_x, W_h, bias), order in zip(directions, (1, -1), strict=True):
            step = lstm(W_h, tanh=xp.tanh, sigmoid=sigmoid)
            state = (xp.zeros((len(X), self.units), X.dtype),) * 2
            for t in range(X.shape[1])[::order]:
                after = step(X[:, t] @ W_x + bias, *state)
                state = tuple(
                    xp.where(valid[:, t], new, old) for new, old in zip(after, state, strict=True)
                )
            finals.append(state[0])
        return xp.concatenate(finals, axis=1) @ W + b


@dataclass
class _OnSequences:
    """An estimator that is given each sequence as long as it is."""

    model: Any

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        return self.model.fit([x[np.isfinite(x[:, 0])] for x in X], y)
