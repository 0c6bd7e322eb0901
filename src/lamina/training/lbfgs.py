"""Limited-memory BFGS: the inverse Hessian applied by two loops over the last steps.

Source: Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4 (two-loop recursion) and
section 3.1 (backtracking to Armijo's condition). A pair (s, y) is kept only where ``sᵀy > 0``,
which keeps the inverse Hessian positive definite without a Wolfe search; compiling optax's Wolfe
search takes several times as long as compiling all of this.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

PAIRS = 10  # steps remembered
ARMIJO = 1e-4
MOST_HALVINGS = 20


class LbfgsState(NamedTuple):
    """The last steps, newest last.

    Parameters
    ----------
    t : float scalar
        Steps taken.
    scale : float scalar
        The objective before the first step, to which its rounding errors are in proportion.
    S, Y : arrays of shape (PAIRS, p)
        Differences of weights and of gradients; zero rows stand for none.
    w, g : arrays of shape (p,)
        The weights and gradient of the step before.
    """

    t: Any
    scale: Any
    S: Any
    Y: Any
    w: Any
    g: Any


def initial_state(weights: Any) -> LbfgsState:
    """Return the state before the first step, in NumPy."""
    leaves = jax.tree.leaves(weights)
    p, dtype = sum(leaf.size for leaf in leaves), leaves[0].dtype
    pairs = np.zeros((PAIRS, p), dtype)
    zero = np.zeros((), dtype)
    return LbfgsState(zero, zero, pairs, pairs, pairs[0], pairs[0])


def update(gradients: Any, state: LbfgsState, weights: Any, value: Any, value_fn: Any):
    """Return ``(step, state)``: the step itself, found by backtracking from the full one.

    Parameters
    ----------
    gradients, weights : pytrees
        At the present point.
    state : LbfgsState
        As `initial_state` or the last call made it.
    value : scalar
        The objective here.
    value_fn : callable weights -> scalar
        The objective.
    """
    (w, restore), (g, _) = ravel_pytree(weights), ravel_pytree(gradients)
    s, y = w - state.w, g - state.g
    tiny = jnp.finfo(w.dtype).eps
    useful = (state.t > 0) & (s @ y > tiny * jnp.sqrt((s @ s) * (y @ y)))
    S, Y = (
        jnp.where(useful, jnp.roll(old, -1, 0).at[-1].set(new), old)
        for old, new in ((state.S, s), (state.Y, y))
    )
    d = -_two_loops(S, Y, g)
    slope = g @ d
    d, slope = _or_steepest(d, slope, g)

    scale = jnp.where(state.t == 0, jnp.abs(value), state.scale)
    rounding = 2 * tiny * jnp.maximum(jnp.abs(value), scale)

    def too_high(step):
        return ~(value_fn(restore(w + step * d)) <= value + ARMIJO * step * slope + rounding)

    def halve(carry):
        step, tries, _ = carry
        return step / 2, tries + 1, too_high(step / 2)

    one = jnp.ones_like(value)
    step, _, failed = jax.lax.while_loop(
        lambda carry: carry[2] & (carry[1] < MOST_HALVINGS), halve, (2 * one, -1, True)
    )
    step = jnp.where(failed, 0, step)
    return restore(step * d), LbfgsState(state.t + 1, scale, S, Y, w, g)


def _two_loops(S, Y, g):
    """Return ``H g`` with H the inverse Hessian that the pairs imply; zero pairs change nothing."""
    sy = jnp.sum(S * Y, axis=1)
    rho = jnp.where(sy > 0, 1 / jnp.where(sy > 0, sy, 1), 0)

    def backward(i, carry):
        q, alpha = carry
        j = PAIRS - 1 - i
        a = rho[j] * (S[j] @ q)
        return q - a * Y[j], alpha.at[j].set(a)

    q, alpha = jax.lax.fori_loop(0, PAIRS, backward, (g, jnp.zeros_like(rho)))
    newest = Y[-1] @ Y[-1]
    first = 1 / jnp.maximum(1, jnp.sum(jnp.abs(g)))  # no pair yet: a cautious gradient step
    gamma = jnp.where(newest > 0, sy[-1] / jnp.where(newest > 0, newest, 1), first)

    def forward(i, r):
        return r + S[i] * (alpha[i] - rho[i] * (Y[i] @ r))

    return jax.lax.fori_loop(0, PAIRS, forward, gamma * q)


def _or_steepest(d, slope, g):
    """Fall back to the gradient where rounding has spoiled the direction."""
    downhill = slope < 0
    return jnp.where(downhill, d, -g), jnp.where(downhill, slope, -(g @ g))
