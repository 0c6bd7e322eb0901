"""The recurrent network in the words of every peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.initial import dense_stack, glorot, orthogonal
from benchmarks.perceptron import dense, relu, torch_dense, torch_dense_weights
from benchmarks.task import CLASSES, SEED, Shape, Weights

GATES = {"rnn": 1, "lstm": 4, "gru": 3}


@dataclass(frozen=True)
class RecurrentNet:
    """A recurrent layer whose last state is scored: a `Network` on sequences (t, m).

    Parameters
    ----------
    cell : {"rnn", "lstm", "gru"}
        The recurrence; the plain one by tanh.
    units : int
        h, the size of the state.
    """

    cell: str
    units: int
    linear = False

    def title(self, sample: Shape) -> str:
        """Return such as ``LSTM 100 steps of 32-128-10``."""
        steps, features = sample
        return f"{self.cell.upper()} {steps} steps of {features}-{self.units}-{CLASSES}"

    def multiplications(self, sample: Shape) -> float:
        """Return those of one sample's forward pass."""
        steps, features = sample
        return (steps * (features + self.units) * GATES[self.cell] + CLASSES) * self.units

    def initial(self, sample: Shape) -> Weights:
        """Return Lamina's draws: ``(W_x, W_h, b)``, for the GRU also ``b_hn``, then ``(W, b)``."""
        rng, gates, h = np.random.default_rng(SEED), range(GATES[self.cell]), self.units
        W_x = np.concatenate([glorot(rng, (sample[1], h)) for _ in gates], axis=1)
        W_h = np.concatenate([orthogonal(rng, h) for _ in gates], axis=1)
        b = np.zeros(W_h.shape[1], np.float32)
        if self.cell == "lstm":
            b[h : 2 * h] = 1
        layer = (W_x, W_h, b, np.zeros(h, np.float32)) if self.cell == "gru" else (W_x, W_h, b)
        return [layer, *dense_stack(rng, h, ())]

    def lamina(self, **settings: Any) -> Any:
        """Return the estimator."""
        from lamina import NetworkClassifier, layers

        recurrent = getattr(layers, self.cell.upper())(self.units)
        network = layers.Sequential([recurrent, layers.Dense(CLASSES)])
        return NetworkClassifier(network=network, **settings)

    def lamina_weights(self, model: Any) -> Weights:
        """Return both layers' weights."""
        layer, scores = model.weights_[f"{self.cell}_0"], model.weights_["dense_0"]
        names = ("W_x", "W_h", "b", "b_hn")
        return [tuple(layer[n] for n in names if n in layer), (scores["W"], scores["b"])]

    def torch(self, weights: Weights, sample: Shape) -> Any:
        """Return the module; the second of PyTorch's two biases starts at zero, or at ``b_hn``."""
        import torch

        class LastState(torch.nn.Module):
            def __init__(self, cell: Any, scores: Any) -> None:
                super().__init__()
                self.cell, self.scores = cell, scores

            def forward(self, X: Any) -> Any:
                final = self.cell(X)[1]
                return self.scores((final[0] if isinstance(final, tuple) else final)[-1])

        (W_x, W_h, b, *b_hn), *rest = weights
        cell = getattr(torch.nn, self.cell.upper())(sample[1], self.units, batch_first=True)
        b_h = np.zeros_like(b)
        if b_hn:
            b_h[-self.units :] = b_hn[0]
        given = {"weight_ih_l0": W_x.T, "weight_hh_l0": W_h.T, "bias_ih_l0": b, "bias_hh_l0": b_h}
        cell.load_state_dict({name: torch.from_numpy(array) for name, array in given.items()})
        return LastState(cell, torch.nn.Sequential(*torch_dense(rest)))

    def torch_inputs(self, X: np.ndarray) -> Any:
        """Return ``X`` as a tensor."""
        import torch

        return torch.from_numpy(X)

    def torch_weights(self, module: Any, sample: Shape) -> Weights:
        """Return both layers' weights, PyTorch's two biases as one where they only add up."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        W_x, W_h, b, b_h = (getattr(module.cell, name).detach().numpy() for name in names)
        layer = (W_x.T, W_h.T, b + b_h)
        if self.cell == "gru":
            cut = 2 * self.units
            layer = (W_x.T, W_h.T, np.append(b[:cut] + b_h[:cut], b[cut:]), b_h[cut:])
        return [layer, *torch_dense_weights(module.scores)]

    def jax(self, weights: Any, X: Any) -> Any:
        """Return scores, as a JAX program: one product with all inputs, then a scan."""
        import jax
        import jax.numpy as jnp

        (W_x, W_h, b, *b_hn), *rest = weights
        step = STEPS[self.cell](W_h, *b_hn, tanh=jnp.tanh, sigmoid=jax.nn.sigmoid)
        start = (jnp.zeros((len(X), self.units), X.dtype),) * (2 if self.cell == "lstm" else 1)
        P = jnp.swapaxes(X, 0, 1) @ W_x + b
        final = jax.lax.scan(lambda state, P_t: (step(P_t, *state), None), start, P)[0]
        return dense(rest, final[0], jax.nn.relu)

    def scores(self, weights: Weights, X: np.ndarray) -> np.ndarray:
        """Return scores by NumPy."""
        (W_x, W_h, b, *b_hn), *rest = weights
        step = STEPS[self.cell](W_h, *b_hn, tanh=np.tanh, sigmoid=sigmoid)
        state = (np.zeros((len(X), self.units), X.dtype),) * (2 if self.cell == "lstm" else 1)
        for X_t in X.swapaxes(0, 1):
            state = step(X_t @ W_x + b, *state)
        return dense(rest, state[0], relu)


Function = Callable[[Any], Any]
Step = Callable[..., tuple[Any, ...]]


def rnn(W_h: Any, *, tanh: Function, sigmoid: Function) -> Step:
    """Return ``h = tanh(P + h' W_h)``."""
    return lambda P, h: (tanh(P + h @ W_h),)


def lstm(W_h: Any, *, tanh: Function, sigmoid: Function) -> Step:
    """Return the step ``(h', c') -> (h, c)`` with gates i, f, g, o."""
    size = len(W_h)

    def step(P: Any, h: Any, c: Any) -> tuple[Any, ...]:
        Z = P + h @ W_h
        i, f, g, o = (Z[:, k * size : (k + 1) * size] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    return step


def gru(W_h: Any, b_hn: Any, *, tanh: Function, sigmoid: Function) -> Step:
    """Return the step ``h' -> h`` with gates r, z, n; r after the product, as in PyTorch."""
    size, cut = len(W_h), 2 * len(W_h)

    def step(P: Any, h: Any) -> tuple[Any, ...]:
        R = h @ W_h
        gates = sigmoid(P[:, :cut] + R[:, :cut])
        r, z = gates[:, :size], gates[:, size:]
        n = tanh(P[:, cut:] + r * (R[:, cut:] + b_hn))
        return ((1 - z) * n + z * h,)

    return step


STEPS: dict[str, Callable[..., Step]] = {"rnn": rnn, "lstm": lstm, "gru": gru}


def sigmoid(Z: np.ndarray) -> np.ndarray:
    """Return the logistic function, which cannot overflow so."""
    return (np.tanh(Z / 2) + 1) / 2
