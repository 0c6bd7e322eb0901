"""Descent directions: how a gradient ``g`` becomes the direction ``d`` of a step ``-η d``.

Each is a pair of functions with the signatures of an `optax.GradientTransformation`, equal to
optax's to rounding (a test compares them), and written out here for two reasons: the step of all
weights is one of the kernels that a native twin replaces, and importing optax takes as long as
training a small model. Trees of arrays in, trees of arrays out; states start at zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.training import lbfgs

MOMENTUM = 0.9
ADAM_B1, ADAM_B2 = 0.9, 0.999
RMS_DECAY = 0.99
EPSILON = 1e-8


class Direction(NamedTuple):
    """A descent direction.

    Parameters
    ----------
    init : callable weights -> state
        The state before the first step, in NumPy: zeros.
    update : callable (gradients, state, weights, value, value_fn) -> (directions, state)
        One step; only line searches use the objective's value and function.
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


def _zeros(weights: Any) -> Any:
    return jax.tree.map(lambda W: np.zeros(W.shape, W.dtype), weights)


def _blend(decay: float, old: Any, new: Any) -> Any:
    return jax.tree.map(lambda o, n: decay * o + (1 - decay) * n, old, new)


PLAIN = Direction(lambda weights: (), lambda g, state, *_: (g, state))
"""``d = g``."""


class MomentumState(NamedTuple):
    """``v``: the running sum of gradients."""

    v: Any

    def curvature(self) -> Any:
        """Return ``1 - 0.9``: a steady gradient is summed up to ten times itself."""
        return jax.tree.map(lambda v: 1 - MOMENTUM, self.v)


def momentum(nesterov: bool = False) -> Direction:
    """Return ``v ← 0.9 v + g``, ``d = v``; Nesterov's looks ahead: ``d = 0.9 v + g``.

    Source: Sutskever et al. 2013, equations 1 to 4, in the form of optax and PyTorch.
    """

    def add(v, g):
        return jax.tree.map(lambda v, g: MOMENTUM * v + g, v, g)

    def update(g, state, *_):
        v = add(state.v, g)
        return add(v, g) if nesterov else v, MomentumState(v)

    return Direction(lambda weights: MomentumState(_zeros(weights)), update)


class RmsState(NamedTuple):
    """``v``: the running mean of squared gradients."""

    v: Any

    def curvature(self) -> Any:
        """Return what the direction was divided by: ``√v + ε``."""
        return jax.tree.map(lambda v: jnp.sqrt(v) + EPSILON, self.v)


def _rmsprop(g, state, *_):
    """``v ← 0.99 v + 0.01 g²``, ``d = g / (√v + ε)`` (Hinton's lecture 6e, with PyTorch's ε)."""
    state = RmsState(_blend(RMS_DECAY, state.v, jax.tree.map(jnp.square, g)))
    return jax.tree.map(jnp.divide, g, state.curvature()), state


class AdamState(NamedTuple):
    """``t``: steps taken; ``m``, ``v``: running means of the gradient and of its square."""

    t: Any
    m: Any
    v: Any

    def curvature(self) -> Any:
        """Return what the direction was divided by: ``√v̂ + ε`` with ``v̂ = v / (1 - β₂ᵗ)``."""
        unbias = (1 - ADAM_B2**self.t) ** -0.5
        return jax.tree.map(lambda v: jnp.sqrt(v) * unbias + EPSILON, self.v)


def _adam(g, state, *_):
    """``d = m̂ / (√v̂ + ε)`` (Kingma and Ba 2015, algorithm 1)."""
    m = _blend(ADAM_B1, state.m, g)
    v = _blend(ADAM_B2, state.v, jax.tree.map(jnp.square, g))
    state = AdamState(state.t + 1, m, v)
    unbias = 1 / (1 - ADAM_B1**state.t)
    return jax.tree.map(lambda m, D: m * unbias / D, m, state.curvature()), state


RMSPROP = Direction(lambda weights: RmsState(_zeros(weights)), _rmsprop)
ADAM = Direction(lambda weights: AdamState(np.int32(0), _zeros(weights), _zeros(weights)), _adam)
LBFGS = Direction(lbfgs.initial_state, lbfgs.update)
