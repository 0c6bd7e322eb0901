"""The three recurrent cells: one step ``h' -> h`` forward, and the same step's backward rule.

A cell reads the input's product ``P = x W_x + b`` and the state's product ``R = h' W_h``, each with
its gates side by side, in blocks of h columns. A prime marks the state before the step; a hat
marks a gate before its activation. Products with matrices are left to `lamina.kernels.recurrence`,
which knows when they can be done for all steps at once.

Each backward rule takes the gradients by the state after the step and returns those by ``P`` and,
except for what comes through ``R``, by the state before it. Every activation is saved as its
output, ``σ' = σ (1 - σ)`` and ``tanh' = 1 - tanh²``, so no gate is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from lamina.functions.activations import ACTIVATIONS

if TYPE_CHECKING:
    from jaxtyping import Array, Float

State = tuple["Float[Array, 'n h']", ...]
"""``(h,)``, and ``(h, c)`` for the LSTM."""
Gates = tuple["Float[Array, 'n h']", ...]
"""What a step saves besides the state, for its backward rule."""


class Cell(NamedTuple):
    """One kind of recurrence.

    Parameters
    ----------
    gates : int
        g: ``W_x`` is (m, g·h) and ``W_h`` (h, g·h).
    step : callable (P, R, b_h, state) -> (state, gates)
        One step; ``b_h`` is what `recurrence`'s ``b`` holds beyond its first g·h entries.
    pullback : callable (dstate, gates, state, before) -> (dP, dbefore)
        The backward rule of ``step``, given the states after and before it.
    parts : int
        How many arrays the state has.
    recurrent : callable (dP, gates) -> dR
        The gradient by ``R``; where None it is ``dP`` itself. Works on all steps at once.
    """

    gates: int
    step: Callable[..., tuple[State, Gates]]
    pullback: Callable[..., tuple[Array, State]]
    parts: int = 1
    recurrent: Callable[[Array, Gates], Array] | None = None


def rnn(activation: str) -> Cell:
    """Return the plain cell, ``h = σ(P + R)``, and its rule ``dP = dR = σ'(h) ∘ dh``.

    Source: Elman 1990; the backward rule is backpropagation through time, Werbos 1990.
    """
    sigma = ACTIVATIONS[activation]
    pullback = sigma.pullback
    assert pullback is not None, "the cell saves h alone"

    def step(P, R, b_h, state):
        return (sigma(P + R),), ()

    def back(dstate, gates, state, before):
        dP = pullback(state[0], dstate[0])
        return dP, (jnp.zeros_like(dP),)

    return Cell(1, step, back)


def lstm_step(P, R, b_h, state: State) -> tuple[State, Gates]:
    """Return the LSTM's next ``(h, c)`` and its gates.

    ::

        (î, f̂, ĝ, ô) = P + R      i, f, o = σ(î, f̂, ô)      g = tanh(ĝ)
        c = f ∘ c' + i ∘ g         h = o ∘ tanh(c)

    Source: Hochreiter and Schmidhuber 1997; the forget gate f, Gers et al. 2000.
    """
    i, f, g, o = jnp.split(P + R, 4, axis=-1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    c = f * state[1] + i * g
    return (o * jnp.tanh(c), c), (i, f, g, o)


def lstm_pullback(dstate: State, gates: Gates, state: State, before: State) -> tuple[Array, State]:
    """Return the LSTM's gradients by ``P`` (and ``R``) and by ``c'``.

    ``c`` acts on the loss through ``h = o ∘ tanh(c)`` and through the next step's ``c``, which
    gave ``dc``; the four gates follow by the product rule::

        dc ← dc + dh ∘ o ∘ (1 - tanh²(c))
        dî = dc ∘ g  ∘ i (1 - i)       dĝ = dc ∘ i ∘ (1 - g²)
        df̂ = dc ∘ c' ∘ f (1 - f)       dô = dh ∘ tanh(c) ∘ o (1 - o)
        dc' = dc ∘ f                   dh' = dR W_hᵀ with dR = dP = (dî, df̂, dĝ, dô)

    Source: Gers et al. 2000, here without truncation (Graves and Schmidhuber 2005).
    """
    (dh, dc), (i, f, g, o), tanh_c = dstate, gates, jnp.tanh(state[1])
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    dP = [
        dc * g * i * (1 - i),
        dc * before[1] * f * (1 - f),
        dc * i * (1 - g * g),
        dh * tanh_c * o * (1 - o),
    ]
    return jnp.concatenate(dP, axis=-1), (jnp.zeros_like(dh), dc * f)


def gru_step(P, R, b_h, state: State) -> tuple[State, Gates]:
    """Return the GRU's next ``(h,)`` and its gates.

    ::

        r = σ(P_r + R_r)    z = σ(P_z + R_z)    q = R_n + b_hn    n = tanh(P_n + r ∘ q)
        h = (1 - z) ∘ n + z ∘ h'

    Source: Cho et al. 2014, equations 5 to 8, with the reset gate r after the recurrent product
    and so with a bias b_hn of its own (the cuDNN and PyTorch form).
    """
    (P_r, P_z, P_n), (R_r, R_z, R_n) = jnp.split(P, 3, axis=-1), jnp.split(R, 3, axis=-1)
    r, z, q = jax.nn.sigmoid(P_r + R_r), jax.nn.sigmoid(P_z + R_z), R_n + b_h[None, :]
    n = jnp.tanh(P_n + r * q)
    return (n + z * (state[0] - n),), (r, z, n, q)


def gru_pullback(dstate: State, gates: Gates, state: State, before: State) -> tuple[Array, State]:
    """Return the GRU's gradients by ``P`` and, through ``z ∘ h'``, by ``h'``.

    ::

        dn̂ = dh ∘ (1 - z) ∘ (1 - n²)           dr̂ = dn̂ ∘ q ∘ r (1 - r)
        dẑ = dh ∘ (h' - n) ∘ z (1 - z)
        dP = (dr̂, dẑ, dn̂)     dR = (dr̂, dẑ, dn̂ ∘ r)     dh' = dh ∘ z + dR W_hᵀ
    """
    (dh,), (r, z, n, q), (h,) = dstate, gates, before
    dn = dh * (1 - z) * (1 - n * n)
    dz = dh * (h - n) * z * (1 - z)
    dr = dn * q * r * (1 - r)
    return jnp.concatenate([dr, dz, dn], axis=-1), (dh * z,)


def gru_recurrent(dP: Float[Array, "... 3h"], gates: Gates) -> Float[Array, "... 3h"]:
    """Return ``dR = (dr̂, dẑ, dn̂ ∘ r)`` from ``dP = (dr̂, dẑ, dn̂)``."""
    r = gates[0]
    cut = 2 * r.shape[-1]
    return jnp.concatenate([dP[..., :cut], dP[..., cut:] * r], axis=-1)


CELLS: dict[str, Cell] = {
    "rnn_tanh": rnn("tanh"),
    "rnn_relu": rnn("relu"),
    "lstm": Cell(4, lstm_step, lstm_pullback, parts=2),
    "gru": Cell(3, gru_step, gru_pullback, recurrent=gru_recurrent),
}
