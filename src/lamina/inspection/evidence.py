"""What is known of a model before it is judged: its matrices, its past, what it does to data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import jax
import numpy as np

from lamina.errors import InputError
from lamina.functions.losses import Loss
from lamina.inspection.backprop import LayerTrace, Trace, leaves, passed
from lamina.layers.layer import Layer, Weights
from lamina.layers.sequences import Sequences, parts
from lamina.training.loop import scores
from lamina.training.optimizers import NAMES, optimizer

MOST_ROWS = 2048
"""Rows that predictions are looked at on; the backward pass takes fewer."""
TRACED_ROWS, FEWEST_TRACED = 256, 16
QUICKLY = {"xla_backend_optimization_level": "0"}
"""XLA's options for programs that run once: compiled in a third of the time."""
FEWEST_ROWS = 16
"""Of data, before anything is said of what units do and of how much is explained."""
TRACED_NUMBERS = 1 << 23
"""About how many numbers the widest layer of a backward pass may hold."""


@dataclass(frozen=True, eq=False)
class Data:
    """Rows that a model was shown, and what it makes of them.

    Parameters
    ----------
    X, y : arrays of n rows, or `Sequences`
        As they enter the network and the loss.
    scores : array of shape (n, K)
        The model's, in prediction.
    trace : Trace
        The backward pass of some of the rows.
    guess : float
        The mean loss of the best scores that are the same for every row.
    losses : array of shape (n,)
        The loss of each row.
    """

    X: Any
    y: np.ndarray
    scores: np.ndarray
    trace: Trace
    guess: float
    losses: np.ndarray

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())

    @property
    def few(self) -> bool:
        """Whether there are too few rows to tell a unit's or a model's rule from chance."""
        return len(self.losses) < FEWEST_ROWS


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything a check may look at.

    Parameters
    ----------
    network : Layer
        The network.
    weights, statistics : nested dict of arrays
        Its own.
    loss : Loss
        What was minimised.
    outputs : int
        Scores a sample.
    history : dict of list
        Figures of each epoch.
    watched : dict or None
        What the ``watch`` callback saw: by matrix, figures of each epoch.
    rule : str or None
        The optimiser's name; None for one that is not known by name.
    draw : callable () -> pair of nested dicts, or None
        Draws weights and statistics of the first step again, where the seed is known. Of a model
        that began elsewhere they are just other random numbers.
    names : tuple of str
        The input's columns, where they have names.
    classes : sequence
        What the scores are of: classes, or numbers from 0 on.
    stopped_early : bool
        Whether the weights are those of the best epoch and not of the last.
    data : Data or None
        What rows were shown.
    """

    network: Layer
    weights: Weights
    statistics: Weights
    loss: Loss
    outputs: int
    history: dict[str, list[float]]
    watched: dict[str, Any] | None
    rule: str | None
    draw: Callable[[], tuple[Weights, Weights]] | None
    names: tuple[str, ...]
    classes: Sequence
    stopped_early: bool
    data: Data | None = None

    @cached_property
    def guess(self) -> float | None:
        """The mean loss of guessing: of the data shown, else of balanced classes or unit values."""
        if self.data is not None:
            return self.data.guess or None  # targets that do not vary are guessed without a loss
        if self.loss.target == "codes":
            return math.log(self.outputs)
        shape = (1,) if self.loss.target == "classes" else (1, self.outputs)
        zeros = np.zeros((1, self.outputs), np.float32)
        return float(_losses(self.loss)(zeros, np.ones(shape, np.int32))[0])

    @cached_property
    def initial(self) -> tuple[Weights, Weights] | None:
        """What ``draw`` draws, once it is asked for."""
        return None if self.draw is None else self.draw()

    @property
    def rates(self) -> np.ndarray:
        """The learning rate after each epoch; empty where it is not known."""
        return np.asarray(self.history.get("learning_rate", []), float)


def gathered(model: Any, X: Any = None, y: Any = None) -> Evidence:
    """Return what is known of a fitted estimator, and of data where they are given.

    Raises
    ------
    InputError
        For a model that is not fitted or has no network, and for X without y.
    """
    if not hasattr(model, "network_"):
        if hasattr(model, "weights_") or hasattr(model, "history_"):
            got = "one without a network. Look at its own figures by evaluate."
        elif hasattr(model, "as_trained"):
            got = "one that is not fitted. Call fit first."
        else:
            got = "none of Lamina's. Of a pipeline give the last step, and data as it gets them."
        raise InputError(
            f"health expected a fitted estimator of networks, got {type(model).__name__}, {got}"
        )
    if (X is None) != (y is None):
        given, missing = ("X", "y") if y is None else ("y", "X")
        raise InputError(
            f"health expected X and y together, got {given} alone. Pass {missing} too."
        )
    name = model.optimizer if isinstance(model.optimizer, str) else None
    evidence = Evidence(
        network=model.network_,
        weights=model.weights_,
        statistics=model.statistics_,
        loss=model.loss_,
        outputs=model.network_.output_shape(model.input_shape_, "network")[-1],
        history=model.history_,
        watched=getattr(model, "watched_", None),
        rule=optimizer(name).name if name in NAMES else None,
        draw=_drawing(model),
        names=_column_names(model),
        classes=getattr(model, "classes_", range(10**9)),
        stopped_early=model.early_stopping is not None,
    )
    return evidence if X is None else replace(evidence, data=_shown(model, evidence, X, y))


def _drawing(model: Any) -> Callable[[], tuple[Weights, Weights]] | None:
    seed, network, shape = model.random_state, model.network_, tuple(model.input_shape_)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        return None
    return lambda: network.initialize(np.random.default_rng(int(seed) % 2**31), shape)


def _column_names(model: Any) -> tuple[str, ...]:
    encoder = getattr(model, "encoder_", None)
    names = getattr(model, "feature_names_in_", ()) if encoder is None else encoder.output_names
    return tuple(map(str, names))


def _shown(model: Any, evidence: Evidence, X: Any, y: Any) -> Data:
    _, loss, weights, statistics, X, y = model.as_trained(X, y)
    X, y = _some(X, y, MOST_ROWS)
    found = np.asarray(scores(evidence.network, weights, statistics, X))
    widest = max(evidence.network.widest(tuple(model.input_shape_)), 1)
    rows = int(np.clip(TRACED_NUMBERS // widest, FEWEST_TRACED, TRACED_ROWS))
    few = _some(X, y, rows)
    traced = _traced(evidence.network, loss, weights, statistics, *few)
    return Data(X, y, found, traced, guessing(loss, y, found), _losses(loss)(found, y))


def _traced(network: Layer, loss: Loss, weights, statistics, X: Any, y: np.ndarray) -> Trace:
    """Return the backward pass by one compiled program, without the products behind it."""
    program = _backward(network, loss)
    (value, found, dscores, gradients), of_layers = jax.tree.map(
        np.asarray, program(weights, statistics, X, y, jax.random.key(0))
    )
    layers = [
        LayerTrace(path, layer, **of_layers[path]._asdict(), products=())
        for path, layer in leaves(network)
    ]
    return Trace(float(value), found, dscores, tuple(reversed(layers)), gradients)


@cache
def _backward(network: Layer, loss: Loss) -> Callable:
    def run(weights, statistics, X, y, key):
        return passed(network, loss, weights, statistics, X, y, key)

    return jax.jit(run, compiler_options=QUICKLY)


def _some(X: Any, y: np.ndarray, most: int) -> tuple[Any, np.ndarray]:
    """Return at most so many rows, drawn evenly."""
    if len(y) <= most:
        return X, y
    rows = np.sort(np.random.default_rng(0).permutation(len(y))[:most])
    return X[rows], y[rows]


@cache
def _losses(loss: Loss) -> Callable:
    """Return the program (scores, y) -> the loss of each row, in NumPy."""
    program = jax.jit(loss, compiler_options=QUICKLY)
    return lambda found, y: np.asarray(program(found, y))


def guessing(loss: Loss, y: np.ndarray, like: np.ndarray) -> float:
    """Return the mean loss of scores that are the same for all rows: of what y is on average."""
    K = like.shape[-1]
    if loss.target in ("classes", "codes"):
        share = np.bincount(np.ravel(y), minlength=K) / np.size(y)
        constant = np.log(np.maximum(share, 1e-12))
    elif loss.target == "labels":
        share = np.clip(y.mean(axis=0), 1e-6, 1 - 1e-6)
        constant = np.log(share / (1 - share))
    else:
        constant = y.mean(axis=0)
    same = np.broadcast_to(constant, like.shape).astype(like.dtype)
    return float(_losses(loss)(same, y).mean())


def at(tree: Weights, path: str) -> Weights:
    """Return what nested arrays hold at a layer's path; an empty dict where there is nothing."""
    for name in path.split("/") if path else ():
        tree = tree.get(name, {})
    return tree


def rows_of(X: Any) -> np.ndarray:
    """Return numbers (rows, c): samples, cells of images or steps of series that are data."""
    values, lengths = parts(X)
    values = np.asarray(values, np.float64)
    if lengths is not None:
        values = values[np.asarray(Sequences(values, lengths).valid())]
    return values.reshape(-1, values.shape[-1])
