"""The compiled programs: one trains on a block of minibatches, one evaluates, one scores.

A program depends on the network, the loss, what is measured and the optimiser; all numbers that a
user tunes (rates, penalty strengths, the clipping norm) are arguments. So fits that differ in
those, a whole grid search of them, share one compilation. Programs are kept by what they depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.functions.losses import Loss
from lamina.functions.penalties import soft_threshold
from lamina.layers.layer import Layer
from lamina.training.metrics import Measure
from lamina.training.optimizers import Optimizer
from lamina.training.state import TrainingState

KEPT_PROGRAMS = 64


class Settings(NamedTuple):
    """The numbers of a run.

    Parameters
    ----------
    l1, l2 : pytree of float like the weights, or None
        Penalty strengths; None where no weight has any, which compiles to nothing.
    clip_norm : float or None
        The global gradient norm above which gradients are scaled down to it.
    """

    l1: Any
    l2: Any
    clip_norm: float | None


@lru_cache(KEPT_PROGRAMS)
def training_program(
    network: Layer, loss: Loss, measure: Measure, optimizer: Optimizer
) -> Callable[..., tuple[TrainingState, jax.Array]]:
    """Return ``(state, settings, rates, X, y, weight, order, valid) -> (state, report)``.

    One call takes a gradient step for each minibatch of a `Block`; ``rates`` holds each step's
    learning rate. The state is donated. The report is the state's `Totals` and whether all is
    finite, (6,), in a buffer of its own, so that it can be read while the next block runs.
    """

    def objective(weights, state, settings, key, X, y, weight, valid):
        scores, statistics = network.apply(weights, state.statistics, X, train=True, key=key)
        losses = loss(scores, y) * weight
        value = jnp.sum(losses) / valid
        if settings.l2 is not None and not optimizer.decoupled:
            squares = jax.tree.map(lambda a, W: a * jnp.sum(W * W), settings.l2, weights)
            value += 0.5 * sum(jax.tree.leaves(squares))
        measured = jnp.sum(measure(scores, y) * weight)
        return value, (jnp.sum(losses), measured, statistics)

    def step(state: TrainingState, settings: Settings, rate, X, y, weight, valid):
        key = None
        if network.random:
            key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)

        def value_of(weights):
            return objective(weights, state, settings, key, X, y, weight, valid)

        (value, (loss_sum, measured, statistics)), gradients = jax.value_and_grad(
            value_of, has_aux=True
        )(state.weights)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradients)))
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        one = jnp.ones_like(norm)
        if settings.clip_norm is not None:
            shrink = jnp.minimum(1, settings.clip_norm / jnp.maximum(norm, 1e-30))
            gradients = jax.tree.map(lambda g: g * shrink, gradients)
        weights, optimizer_state = _descend(
            optimizer, settings, rate, state, gradients, value, lambda w: value_of(w)[0]
        )
        stepped = replace(
            state,
            weights=weights,
            statistics=statistics,
            optimizer=optimizer_state,
            step=state.step + 1,
            batch=state.batch + 1,
            totals=state.totals + jnp.stack([loss_sum, measured, jnp.sum(weight), norm, one]),
        )
        kept = jax.tree.map(lambda new, old: jax.lax.select(finite, new, old), stepped, state)
        return replace(kept, finite=finite)

    def run(state, settings, rates, X, y, weight, order, valid):
        if order is None:
            return finish(step_on(state, settings, rates[0], X, y, weight, valid))

        batch = order.shape[1]

        def minibatch(i, state):
            rows = jax.lax.dynamic_index_in_dim(order, i, keepdims=False)
            of_rows = None if weight is None else _gather(weight, rows)
            part = (_gather(X, rows), _gather(y, rows), of_rows)
            return step_on(state, settings, rates[i], *part, valid - i * batch)

        if order.shape[0] == 1:
            return finish(minibatch(0, state))
        steps = (valid + batch - 1) // batch

        def body(carry):
            i, state = carry
            return i + 1, minibatch(i, state)

        _, state = jax.lax.while_loop(
            lambda carry: (carry[0] < steps) & carry[1].finite, body, (jnp.int32(0), state)
        )
        return finish(state)

    def step_on(state, settings, rate, X, y, weight, valid):
        valid = jnp.minimum(valid, X.shape[0])
        mask = (jnp.arange(X.shape[0]) < valid).astype(rate.dtype)
        weight = mask if weight is None else mask * weight
        rate = rate * state.rate_scale
        return step(state, settings, rate, X, y, weight, valid.astype(rate.dtype))

    def finish(state):
        return state, jnp.append(state.totals, state.finite)

    return jax.jit(run, donate_argnums=0)


def _gather(array, rows):
    return array.at[rows].get(mode="promise_in_bounds")


def _descend(optimizer, settings, rate, state, gradients, value, value_fn):
    """Return the weights and the optimiser's state after one step, penalties included."""
    directions, optimizer_state = optimizer.update(
        gradients, state.optimizer, state.weights, value, value_fn
    )
    step = 1 if optimizer.whole_step else -rate
    weights = jax.tree.map(lambda W, d: W + step * d, state.weights, directions)
    if optimizer.decoupled and settings.l2 is not None:
        weights = jax.tree.map(
            lambda W, old, a: W - rate * a * old, weights, state.weights, settings.l2
        )
    if settings.l1 is not None:
        thresholds = jax.tree.map(lambda a: rate * a, settings.l1)
        if optimizer.adaptive:
            thresholds = jax.tree.map(jnp.divide, thresholds, optimizer_state.curvature())
        weights = jax.tree.map(soft_threshold, weights, thresholds)
    return weights, optimizer_state


@lru_cache(KEPT_PROGRAMS)
def evaluation_program(network: Layer, loss: Loss, measure: Measure) -> Callable[..., Any]:
    """Return ``(weights, statistics, X, y, weight) -> (loss sum, metric sum, weight sum)``."""

    def run(weights, statistics, X, y, weight):
        scores, _ = network.apply(weights, statistics, X, train=False, key=None)
        sums = (loss(scores, y) * weight, measure(scores, y) * weight, weight)
        return tuple(jnp.sum(a) for a in sums)

    return jax.jit(run)


@lru_cache(KEPT_PROGRAMS)
def scoring_program(network: Layer, loss: Loss | None = None) -> Callable[..., Any]:
    """Return ``(weights, statistics, X) -> scores``, or the loss's probabilities of them."""

    def run(weights, statistics, X):
        scores, _ = network.apply(weights, statistics, X, train=False, key=None)
        return scores if loss is None else loss.probabilities(scores)

    return jax.jit(run)
