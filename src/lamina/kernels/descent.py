"""The optimiser's step of all weights as one kernel: gradients and moments in, new weights out.

Element by element, with ``g`` the gradient times ``s`` (below 1 where gradients are clipped)::

    plain      d = g                                                D = 1
    momentum   v ← 0.9 v + g          d = v                         D = 1 - 0.9
    nesterov   v ← 0.9 v + g          d = 0.9 v + g                 D = 1 - 0.9
    rmsprop    v ← 0.99 v + 0.01 g²   d = g / D                     D = √v + ε
    adam       m ← 0.9 m + 0.1 g      d = m / (1 - 0.9ᵗ) / D
               v ← 0.999 v + 0.001 g²                               D = √(v / (1 - 0.999ᵗ)) + ε

    W ← soft(W - η d - η α₂ W, η α₁ / D)

A steady gradient's direction is ``g / D``: with thresholds in that metric, the point where L1's
proximal step rests is the minimum. All of it is one function because nothing in it is worth
reading twice: a native twin passes once over memory.

Sources: Sutskever et al. 2013, equations 1 to 4, in the form of optax and PyTorch (momentum);
Hinton's lecture 6e, with PyTorch's ε (rmsprop); Kingma and Ba 2015, algorithm 1 (adam); Loshchilov
and Hutter 2019 (decay α₂); Yun, Lozano and Yang 2021, algorithm 1 (thresholds).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.functions.penalties import soft_threshold
from lamina.kernels import native

MOMENTUM = 0.9
ADAM_B1, ADAM_B2 = 0.9, 0.999
RMS_DECAY = 0.99
EPSILON = 1e-8

NATIVE_WEIGHTS = 1 << 9  # from so many on the native kernel was the faster one


class Rule(NamedTuple):
    """How an element's gradient becomes its direction.

    Parameters
    ----------
    moments : int
        How many running sums or means it keeps; they start at zero.
    direction : callable (g, moments, unbias) -> (d, D, moments)
        The equations above; ``moments`` is a tuple.
    unbias : callable t -> tuple of scalars
        The factors that undo the moments' start at zero, after ``t`` steps.
    """

    moments: int
    direction: Callable[..., tuple[Any, Any, tuple[Any, ...]]]
    unbias: Callable[[Any], tuple[Any, ...]] = lambda t: ()


def _plain(g, moments, unbias):
    return g, 1.0, ()


def _momentum(g, moments, unbias):
    v = MOMENTUM * moments[0] + g
    return v, 1 - MOMENTUM, (v,)


def _nesterov(g, moments, unbias):
    v, D, moments = _momentum(g, moments, unbias)
    return MOMENTUM * v + g, D, moments


def _rmsprop(g, moments, unbias):
    v = RMS_DECAY * moments[0] + (1 - RMS_DECAY) * (g * g)
    D = jnp.sqrt(v) + EPSILON
    return g / D, D, (v,)


def _adam(g, moments, unbias):
    m, v = moments
    m = ADAM_B1 * m + (1 - ADAM_B1) * g
    v = ADAM_B2 * v + (1 - ADAM_B2) * (g * g)
    D = jnp.sqrt(v) * unbias[1] + EPSILON
    return m * unbias[0] / D, D, (m, v)


def _adam_unbias(t):
    return 1 / (1 - ADAM_B1**t), (1 - ADAM_B2**t) ** -0.5


RULES = {
    "plain": Rule(0, _plain),
    "momentum": Rule(1, _momentum),
    "nesterov": Rule(1, _nesterov),
    "rmsprop": Rule(1, _rmsprop),
    "adam": Rule(2, _adam, _adam_unbias),
}


class Pace(NamedTuple):
    """The numbers of one step.

    Parameters
    ----------
    rate : scalar
        The learning rate η.
    shrink : scalar, or None
        The factor s on all gradients; None is 1.
    decay, l1 : pytree of scalars like the weights, or None
        The strengths α₂ of decoupled decay and α₁ of an L1 penalty; None is 0 for all.
    factors : pytree of scalars like the weights, or None
        What the rate is multiplied by for each array; None is 1 for all.
    taken : bool scalar, or None
        Whether the step is taken at all; None is always. Where it is not, weights and moments stay,
        in their own memory: to choose between old and new would keep both.
    """

    rate: Any
    shrink: Any = None
    decay: Any = None
    l1: Any = None
    factors: Any = None
    taken: Any = None

    @property
    def rates(self) -> Any:
        """The rate of each array, or the one of all."""
        if self.factors is None:
            return self.rate
        return jax.tree.map(lambda factor: self.rate * factor, self.factors)


def descend(
    rule: str, weights: Any, gradients: Any, moments: tuple[Any, ...], t: Any, pace: Pace
) -> tuple[Any, tuple[Any, ...]]:
    """Return the weights and the moments after one step.

    Parameters
    ----------
    rule : str
        A key of `RULES`.
    weights, gradients : pytrees of arrays
        Of the same structure and shapes.
    moments : tuple of pytrees of arrays
        As many as the rule keeps, each like the weights.
    t : int scalar
        Steps taken, this one included.
    pace : Pace
        The numbers of this step.

    Notes
    -----
    What is not a number in a gradient is not a number in the weight and its moments.
    """
    leaves = [jax.tree.leaves(tree) for tree in (weights, gradients, *moments)]
    of_leaves = {
        name: None if tree is None else jax.tree.leaves(tree)
        for name, tree in (("decay", pace.decay), ("l1", pace.l1), ("factors", pace.factors))
    }
    pace, unbias = pace._replace(**of_leaves), RULES[rule].unbias(t)
    step = native.descend if pace.factors is None and _is_for_native(leaves) else _descend
    stepped = step(rule, leaves, pace, unbias)
    structure = jax.tree.structure(weights)
    weights, *new_moments = (structure.unflatten(column) for column in stepped)
    return weights, tuple(new_moments)


def _is_for_native(leaves):
    """Tell whether the native twin is the faster one.

    A call into it takes about a microsecond, and each of XLA's passes over a small array a third of
    one: there are several a matrix.
    """
    if any(leaf.dtype != jnp.float32 for column in leaves for leaf in column):
        return False
    return sum(W.size for W in leaves[0]) >= NATIVE_WEIGHTS and native.is_active()


def _descend(rule, leaves, pace, unbias):
    """Return the new weights and moments; all trees are lists of their leaves."""
    rule = RULES[rule]
    nothing = [None] * len(leaves[0])
    rates = [pace.rate] * len(nothing) if pace.factors is None else pace.rates
    of_each = rates, pace.decay or nothing, pace.l1 or nothing
    rows = [_step(rule, unbias, pace.shrink, *row) for row in zip(*of_each, *leaves, strict=True)]
    columns = [[row[i] for row in rows] for i in range(1 + rule.moments)]
    if pace.taken is None:
        return columns
    return jax.tree.map(partial(jnp.where, pace.taken), columns, [leaves[0], *leaves[2:]])


def _step(rule, unbias, shrink, rate, decay, l1, W, g, *moments):
    """Return an array's new values and moments."""
    if shrink is not None:
        g = g * shrink
    d, D, moments = rule.direction(g, moments, unbias)
    moved = W - rate * d
    if decay is not None:
        moved = moved - rate * decay * W
    if l1 is not None:
        moved = soft_threshold(moved, rate * l1 / D)
    return moved, *moments
