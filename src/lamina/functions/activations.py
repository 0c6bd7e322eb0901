"""Activations σ, applied element by element (softmax: row by row), and how to pull a gradient back.

Where the derivative can be written in terms of the output ``A = σ(Y)`` alone, the row carries that
rule, so that training saves ``A`` and never ``Y``; the others save ``Y``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from lamina.errors import check_choice

if TYPE_CHECKING:
    from jaxtyping import Array, Float

LEAK = 0.01  # leaky_relu's slope below zero, as in PyTorch


@dataclass(frozen=True)
class Activation:
    """One activation: its name, its formula, and its backward rule.

    Parameters
    ----------
    name : str
        The name users write.
    function : callable (n, k) -> (n, k)
        ``A = σ(Y)``.
    pullback : callable (A, dA) -> dY, or None
        The gradient by ``Y`` from the output and the gradient by the output; None where the
        derivative needs ``Y`` itself.
    increasing : bool
        Whether a larger ``y`` never has a smaller ``σ(y)``; a maximum can then be taken before.
    """

    name: str
    function: Callable[[Array], Array]
    pullback: Callable[[Array, Array], Array] | None = None
    increasing: bool = True

    def __call__(self, Y: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Return ``σ(Y)``."""
        return self.function(Y)


def _softmax_pullback(A: Float[Array, "n k"], dA: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """``dY = A ∘ (dA - (A ∘ dA) 1 1ᵀ)``: the softmax Jacobian is ``diag(a) - a aᵀ``."""
    return A * (dA - jnp.sum(A * dA, axis=-1, keepdims=True))


_TABLE = (
    Activation("linear", lambda Y: Y, lambda A, dA: dA),
    Activation("relu", jax.nn.relu, lambda A, dA: jnp.where(A > 0, dA, 0)),
    Activation("relu6", jax.nn.relu6, lambda A, dA: jnp.where((A > 0) & (A < 6), dA, 0)),
    Activation(
        "leaky_relu",
        lambda Y: jnp.where(Y > 0, Y, LEAK * Y),
        lambda A, dA: jnp.where(A > 0, dA, LEAK * dA),
    ),
    Activation("elu", jax.nn.elu, lambda A, dA: jnp.where(A > 0, dA, (A + 1) * dA)),
    Activation("gelu", lambda Y: jax.nn.gelu(Y, approximate=False), increasing=False),
    Activation("silu", jax.nn.silu, increasing=False),
    Activation("softplus", jax.nn.softplus, lambda A, dA: -jnp.expm1(-A) * dA),
    Activation("sigmoid", jax.nn.sigmoid, lambda A, dA: A * (1 - A) * dA),
    Activation("tanh", jnp.tanh, lambda A, dA: (1 - A * A) * dA),
    Activation("softmax", lambda Y: jax.nn.softmax(Y, axis=-1), _softmax_pullback, False),
)
ACTIVATIONS = {row.name: row for row in _TABLE}


def activation(name: str) -> Activation:
    """Return the activation called ``name``; an unknown name is an error that names the nearest.

    Examples
    --------
    >>> activation("relu")(jnp.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """
    return ACTIVATIONS[check_choice("activation", name, ACTIVATIONS)]
