"""The compiled programs: one trains on a block of minibatches, one evaluates, one scores.

A program depends on the network, the loss, what is measured and the optimiser; all numbers that a
user tunes (rates, penalty strengths, the clipping norm) are arguments. So fits that differ in
those, a whole grid search of them, share one compilation. Programs are kept by what they depend on.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.functions.losses import Loss
from lamina.kernels.convolution import compiler_options
from lamina.kernels.descent import Pace
from lamina.layers.layer import PREDICTING, Context, Layer
from lamina.placement import kept, rows_split, whole
from lamina.training import mixup
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
    average : float or None
        How much of the weights' moving average is kept from step to step.
    factors : pytree of float like the weights, or None
        What each weight's learning rate is multiplied by; None is one each.
    """

    l1: Any
    l2: Any
    clip_norm: float | None
    average: float | None
    factors: Any = None


class Batch(NamedTuple):
    """One minibatch.

    Parameters
    ----------
    X, y : arrays of n rows
        Inputs and targets; rows at the end may be padding.
    weight : array of shape (n,)
        Sample weights, zero for padding.
    rows : scalar
        How many rows are data, in the floating dtype.
    """

    X: Any
    y: Any
    weight: Any
    rows: Any


class Parts(NamedTuple):
    """What a training program is compiled for; see `lamina.training.loop.Objective`."""

    network: Layer
    loss: Loss
    measure: Measure
    optimizer: Optimizer
    mixup: float = 0.0

    def objective(
        self, weights: Any, state: TrainingState, settings: Settings, batch: Batch, key: Any
    ) -> tuple[Any, Any]:
        """Return mean loss + penalty, and ``(loss sum, measure sum, statistics)``."""
        X, y, blend = batch.X, batch.y, None
        if self.mixup:
            key, own = jax.random.split(key)
            blend = mixup.drawn(own, self.mixup, len(X), batch.rows, X.dtype)
            X = blend.of(X)
        context = Context(train=True, key=key, weight=batch.weight)
        scores, statistics = self.network.apply(weights, state.statistics, X, context)
        each = self.loss(scores, y)
        if blend is not None:
            each = blend.share * each + (1 - blend.share) * self.loss(scores, y[blend.partner])
        losses = jnp.sum(each * batch.weight)
        value = losses / batch.rows
        if settings.l2 is not None and not self.optimizer.decoupled:
            squares = jax.tree.map(lambda a, W: a * jnp.sum(W * W), settings.l2, weights)
            value += 0.5 * sum(jax.tree.leaves(squares))
        measured = jnp.sum(self.measure(scores, batch.y) * batch.weight)
        return value, (losses, measured, statistics)

    def step(
        self,
        state: TrainingState,
        settings: Settings,
        rate: Any,
        batch: Batch,
        last: Any = True,
        guarded: bool = False,
    ) -> TrainingState:
        """Return the state after one gradient step.

        ``last`` says whether anyone will see the gradients' norms after this step; summing its
        squares takes a tenth of a small network's step. If ``guarded``, weights and moments stay
        where the gradient is not finite, if the optimiser knows how.
        """
        key = None
        if self.network.random or self.mixup:
            key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)

        def objective(weights):
            return self.objective(weights, state, settings, batch, key)

        (value, (losses, measured, statistics)), gradients = jax.value_and_grad(
            objective, has_aux=True
        )(state.weights)
        if settings.clip_norm is not None or last is True:
            norms = _norms(gradients)
        else:
            norms = jax.lax.cond(
                last, _norms, lambda _: jnp.zeros_like(state.gradient_norms), gradients
            )
        norm = jnp.sqrt(jnp.vdot(norms, norms))
        shrink = None
        if settings.clip_norm is not None:
            shrink = jnp.minimum(1, settings.clip_norm / jnp.maximum(norm, 1e-30))
        decay = settings.l2 if self.optimizer.decoupled else None
        sums = [losses, measured, jnp.sum(batch.weight), jnp.ones_like(norm)]
        # No entry of a step is larger than the norm times the rate, but for a small factor.
        taken = (
            state.finite & _is_finite((sums, norm, rate * norm, statistics)) if guarded else None
        )
        weights, optimizer_state = self.optimizer.step(
            state.weights,
            gradients,
            state.optimizer,
            Pace(rate, shrink, decay, settings.l1, settings.factors, taken),
            value,
            lambda w: objective(w)[0],
        )
        return replace(
            state,
            weights=weights,
            average=_averaged(state, weights, settings.average),
            statistics=statistics,
            optimizer=optimizer_state,
            step=state.step + 1,
            batch=state.batch + 1,
            totals=jnp.append(state.totals[:-1] + jnp.stack(sums), norm),
            gradient_norms=norms,
        )

    def guarded_step(
        self, state: TrainingState, settings: Settings, rate: Any, batch: Batch
    ) -> TrainingState:
        """Return the state after one gradient step; if it is not finite, the state before it."""
        stepped = self.step(state, settings, rate, batch, guarded=True)
        farthest = rate * stepped.totals[-1]
        finite = state.finite & _is_finite((_computed(stepped), farthest))

        def chosen(new, old):
            return old if new is old else jax.lax.select(finite, new, old)

        if self.optimizer.guards:  # its arrays have stayed where they were
            of = stepped.optimizer.of
            state = replace(
                state, weights=stepped.weights, optimizer=state.optimizer._replace(of=of)
            )
        return replace(jax.tree.map(chosen, stepped, state), finite=finite)


def _averaged(state: TrainingState, weights: Any, decay: Any) -> Any:
    """Return the moving average, which at first follows the weights more closely.

    Source: Polyak and Juditsky 1992; the growing decay as in TensorFlow's ExponentialMovingAverage.
    """
    if decay is None:
        return None
    t = state.step.astype(decay.dtype)
    kept = jnp.minimum(decay, (1 + t) / (10 + t))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, state.average, weights)


def _norms(gradients: Any) -> Any:
    """Return the norm of each array, (arrays,)."""
    return jnp.sqrt(jnp.array([jnp.vdot(g, g) for g in jax.tree.leaves(gradients)]))


def _computed(state: TrainingState) -> tuple[Any, ...]:
    """Return all that a step computes."""
    return state.weights, state.statistics, state.optimizer, state.totals


def _is_finite(tree: Any) -> Any:
    """Return whether all numbers of a tree are finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(tree)]))


@lru_cache(KEPT_PROGRAMS)
def training_program(
    network: Layer, loss: Loss, measure: Measure, optimizer: Optimizer, mixup: float, guarded: bool
) -> Callable[..., tuple[TrainingState, jax.Array]]:
    """Return ``(state, settings, rates, X, y, weight, order, valid) -> (state, report)``.

    One call takes a gradient step for each minibatch of a `Block`; ``rates`` holds each step's
    learning rate. The report is the state's `Totals` and whether all is finite, (6,), in a buffer
    of its own, so that it can be read while the next block runs.

    If ``guarded``, a step that is not finite is not taken, and none after it; the state is
    donated. Otherwise all steps are taken and the outcome is looked at once, which is a tenth
    faster where many small steps make a block; the caller keeps the state, and can go through the
    block again, guarded, to find the step.
    """
    parts = Parts(network, loss, measure, optimizer, mixup)

    def run(state, settings, rates, X, y, weight, order, valid):
        def minibatch(i):
            if order is None:
                return _masked(X, y, weight, valid, rates.dtype)
            rows = jax.lax.dynamic_index_in_dim(order, i, keepdims=False)
            of_rows = None if weight is None else _gather(weight, rows)
            left = valid - i * order.shape[1]
            return _masked(_gather(X, rows), _gather(y, rows), of_rows, left, rates.dtype)

        def guarded_step(i, state):
            rate = rates[i] * state.rate_scale
            return parts.guarded_step(state, settings, rate, minibatch(i))

        def plain_step(i, state):
            rate = rates[i] * state.rate_scale
            return parts.step(state, settings, rate, minibatch(i), last=i == steps - 1)

        if len(rates) == 1 and guarded:  # no loop: XLA's CPU convolutions are slow inside one
            state = kept(guarded_step(0, state))
        else:
            steps = (valid + order.shape[1] - 1) // order.shape[1]
            step = guarded_step if guarded else plain_step
            _, state = jax.lax.while_loop(
                lambda carry: (carry[0] < steps) & carry[1].finite,
                lambda carry: (carry[0] + 1, kept(step(*carry))),
                (jnp.int32(0), state),
            )
            state = replace(state, finite=state.finite & _is_finite(_computed(state)))
        return state, whole(jnp.append(state.totals, state.finite))

    return _tidied(_compiled(run, network, donate_argnums=0 if guarded else ()))


def _tidied(program: Any) -> Any:
    """Return the program, which before its first run returns to the system what compiling freed.

    The C library keeps that to itself otherwise: a hundred megabytes and more, on top of which the
    run would take its own.
    """
    is_compiled = False

    @wraps(program)
    def tidied(*arguments):
        nonlocal is_compiled
        if not is_compiled:
            program.lower(*arguments).compile()  # the call finds it
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
            if trim is not None:
                trim(0)
            is_compiled = True
        return program(*arguments)

    return tidied


def _compiled(run: Callable[..., Any], network: Layer, **settings: Any) -> Any:
    options = compiler_options() if network.convolves else None
    return jax.jit(run, compiler_options=options, **settings)


def _gather(array: Any, rows: Any) -> Any:
    return jax.tree.map(lambda part: part.at[rows].get(mode="promise_in_bounds"), array)


def _masked(X: Any, y: Any, weight: Any, valid: Any, dtype: Any) -> Batch:
    """Return a minibatch whose rows from ``valid`` on count for nothing."""
    rows = jnp.minimum(valid, len(X))
    mask = (jnp.arange(len(X)) < rows).astype(dtype)
    X, y, weight = rows_split((X, y, mask if weight is None else mask * weight))
    return Batch(X, y, weight, rows.astype(dtype))


@lru_cache(KEPT_PROGRAMS)
def evaluation_program(network: Layer, loss: Loss, measure: Measure) -> Callable[..., Any]:
    """Return ``(weights, statistics, X, y, weight) -> (loss sum, metric sum, weight sum)``."""

    def run(weights, statistics, X, y, weight):
        X, y, weight = rows_split((X, y, weight))
        scores, _ = network.apply(weights, statistics, X, PREDICTING)
        sums = (loss(scores, y) * weight, measure(scores, y) * weight, weight)
        return whole(tuple(jnp.sum(a) for a in sums))

    return _compiled(run, network)


@lru_cache(KEPT_PROGRAMS)
def continuing_program(network: Layer) -> Callable[..., Any]:
    """Return ``(weights, statistics, X) -> (scores, statistics)``, for layers that carry states."""

    def run(weights, statistics, X):
        return network.apply(weights, statistics, X, PREDICTING)

    return _compiled(run, network)


@lru_cache(KEPT_PROGRAMS)
def scoring_program(network: Layer, loss: Loss | None = None) -> Callable[..., Any]:
    """Return ``(weights, statistics, X) -> scores``, or the loss's probabilities of them."""

    def run(weights, statistics, X):
        scores, _ = network.apply(weights, statistics, rows_split(X), PREDICTING)
        return whole(scores if loss is None else loss.probabilities(scores))

    return _compiled(run, network)
