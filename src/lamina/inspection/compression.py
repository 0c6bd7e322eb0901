"""Compression: the same network in fewer numbers, and what that costs in accuracy.

Three ways, each within a budget of numbers that is shared out over the layers: products of low rank
(`low_rank`), fewer units (`units`), entries that are zero (`sparse`). Before any of them
normalisations are folded into the matrices before them and units that say nothing are left out,
which changes no output. After it the small network is trained on for a little, measured on rows
that it is not trained on, and taken as it was where that is better. Which way is best depends on
the network, so it is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.inspection.low_rank import low_rank
from lamina.inspection.plan import plan
from lamina.inspection.sparse import pruned, stored, unmasked
from lamina.inspection.surgery import numbers
from lamina.inspection.units import fewer_units, without_dead_units
from lamina.layers.half_precision import HalfPrecision
from lamina.layers.layer import Layer, Weights
from lamina.models.folding import Bound, folded
from lamina.training.loop import Objective, evaluate
from lamina.training.metrics import METRICS
from lamina.training.precision import computing_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lamina.functions.losses import Loss

WAYS: dict[str, Callable[[Bound, Any, float, int], Bound]] = {
    "svd": low_rank,
    "units": fewer_units,
    "prune": pruned,
}
AUTO = "auto"
HELD_OUT = 0.1
"""The share of rows to measure on."""

LOOKED_AT = 1 << 25
"""About so many numbers are held where the rows looked at make the widest layer's output."""


class Compressible(Protocol):
    """A fitted estimator, as far as compression needs one."""

    network_: Layer
    weights_: Weights
    statistics_: Weights

    def as_trained(self, X: Any, y: Any) -> tuple[Layer, Loss, Weights, Weights, Any, np.ndarray]:
        """Return network, loss, weights, statistics, and X and y as they enter training."""
        ...

    def around(
        self,
        network: Layer,
        weights: Weights,
        statistics: Weights,
        X: Any,
        y: Any,
        epochs: int | None = None,
    ) -> Any:
        """Return a fitted copy around another network, trained on for some epochs."""
        ...


@dataclass(frozen=True)
class Compressed:
    """One smaller model and its figures.

    Parameters
    ----------
    method : str
        ``"svd"``, ``"units"``, ``"prune"``; ``"none"`` for the model as it was.
    budget : float
        What share of the numbers it was allowed.
    numbers : int
        Those that it has stored: weights, statistics, and a bit for each entry where zeros are left
        out.
    operations : int
        Floating-point operations of a prediction of one sample.
    loss, figure : float
        On the rows held out: the mean loss, and the metric.
    metric : str
        Its name.
    model : estimator
        The fitted one.
    """

    method: str
    budget: float
    numbers: int
    operations: int
    loss: float
    figure: float
    metric: str
    model: Any


@dataclass(frozen=True)
class Compression:
    """What came of a compression.

    Parameters
    ----------
    tried : tuple of Compressed
        First the model as it was, then each budget and method.
    held_out : int
        How many rows were measured on.
    """

    tried: tuple[Compressed, ...]
    held_out: int

    @property
    def whole(self) -> Compressed:
        """The model as it was."""
        return self.tried[0]

    def best(self, budget: float | None = None) -> Compressed:
        """Return the best at a budget; at the first where None.

        Of those whose figure is within half a standard error of the best's (for errors: one
        percent), the one with the fewest operations.
        """
        budget = self.tried[1].budget if budget is None else budget
        rivals = [each for each in self.tried[1:] if each.budget == budget]
        higher = "accuracy" in self.whole.metric
        top = (max if higher else min)(each.figure for each in rivals)
        error = (
            math.sqrt(max(top * (1 - top), 0) / self.held_out) / 2 if higher else 0.01 * abs(top)
        )
        near = [each for each in rivals if abs(each.figure - top) <= error]
        return min(near, key=lambda each: (each.operations, each.loss))

    @property
    def model(self) -> Any:
        """The best model at the first budget: a fitted estimator."""
        return self.best().model

    def draw(self) -> Figure:
        """Draw the figure against the size, a curve for each method."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axis = figure.subplots()
        for method in dict.fromkeys(each.method for each in self.tried[1:]):
            points = [each for each in self.tried if each.method in (method, "none")]
            points.sort(key=lambda each: each.numbers)
            shares = [each.numbers / self.whole.numbers for each in points]
            axis.plot(shares, [each.figure for each in points], "o-", label=method)
        axis.set_xscale("log")
        axis.set_xlabel("share of the numbers")
        axis.set_ylabel(f"{self.whole.metric}, {self.held_out:,} rows held out")
        axis.grid(alpha=0.3)
        axis.legend()
        return figure


def compress(
    model: Compressible,
    X: Any,
    y: Any,
    budget: float | Sequence[float] = 0.25,
    method: str = AUTO,
    epochs: int | None = None,
    told: Callable[[Compressed], None] | None = None,
) -> Compression:
    """Return smaller models that do what a fitted one does, and what each costs in accuracy.

    Parameters
    ----------
    model : estimator
        A fitted one; it stays as it is.
    X, y
        Data as `fit` takes them, those that it was trained on if they are there; never the rows
        that it is to be tested on. A tenth is held out to measure on.
    budget : float in (0, 1), or several
        The share of the numbers that a smaller model may have.
    method : {"auto", "svd", "units", "prune"}
        Products of low rank; fewer units; entries that are zero, which makes the file smaller but
        no prediction faster. auto tries all and takes the best.
    epochs : int >= 0, optional
        How long each is trained on; None is about 1,500 steps, at least 3 passes over the data and
        at most 50.
    told : callable, optional
        Is given each result as it comes.

    Raises
    ------
    InputError
        For a budget that no method can meet, and for a model without a matrix to make smaller.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from lamina import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(max_epochs=20, random_state=0).fit(X / 16, y)
    >>> found = compress(model, X / 16, y, budget=0.25, method="svd")
    >>> found.best().numbers / found.whole.numbers < 0.25
    True
    """
    budgets: list[float] = list(np.atleast_1d(np.asarray(budget, object)))
    if not budgets:
        raise InputError("budget expected a number, or several, got none. Use budget=0.25.")
    for each in budgets:
        check_number("budget", each, above=0, below=1)
    check_choice("method", method, (AUTO, *WAYS))
    if epochs is not None:
        check_number("epochs", epochs, at_least=0, whole=True)
    trained = model.as_trained(X, y)
    double = any(W.dtype == np.float64 for W in jax.tree.leaves(trained[2]))
    with computing_in("float64" if double else "float32"):
        return _compressed(model, trained, budgets, method, epochs, told)


def _compressed(
    model: Compressible,
    trained: tuple[Layer, Loss, Weights, Weights, Any, np.ndarray],
    budgets: list[float],
    method: str,
    epochs: int | None,
    told: Callable[[Compressed], None] | None,
) -> Compression:
    network, loss, weights, statistics, X, y = trained
    if isinstance(network, HalfPrecision):
        network = network.network
    order = np.random.default_rng(0).permutation(len(X))
    kept = round(HELD_OUT * len(X))
    if kept < 1 or kept == len(X):
        raise InputError(
            f"compress expected rows to train on and to measure on, got {len(X)}. Give more."
        )
    rows, held_out = np.sort(order[kept:]), np.sort(order[:kept])
    X, y, X_held, y_held = X[rows], y[rows], X[held_out], y[held_out]
    shape = X.shape[1:]
    whole = Bound(network, weights, statistics)
    size = numbers(whole)
    looked = X[np.sort(np.random.default_rng(1).permutation(len(X))[: _most(network, shape)])]

    def measured(name: str, budget: float, estimator: Compressible) -> Compressed:
        own = _bound(estimator)
        metric = METRICS[loss.target]
        found = evaluate(Objective(own.layer, loss, metric), *own[1:], X_held, y_held)
        cost = plan(own.layer, shape, 1).forward
        figures = found["loss"], found[metric.name]
        return Compressed(name, budget, stored(own), cost, *figures, metric.name, estimator)

    def smaller(name: str, budget: float) -> Compressed:
        small = WAYS[name](start, looked, budget * size, size)
        rows = [measured(name, budget, model.around(*unmasked(small), X, y, 0))]
        if epochs != 0:
            tuned = model.around(*small, X, y, epochs)
            plain = unmasked(_bound(tuned))
            rows.append(measured(name, budget, tuned.around(*plain, X, y, 0)))
        return min(rows, key=lambda row: row.loss)

    start = without_dead_units(folded(*whole))
    tried = [measured("none", 1.0, model)]
    for share in budgets:
        refused: InputError | None = None
        for name in WAYS if method == AUTO else [method]:
            try:
                tried.append(smaller(name, share))
            except InputError as error:
                refused = error
                continue
            if told is not None:
                told(tried[-1])
        if tried[-1].budget != share and refused is not None:
            raise refused
    return Compression(tuple(tried), len(X_held))


def _bound(estimator: Compressible) -> Bound:
    return Bound(estimator.network_, estimator.weights_, estimator.statistics_)


def _most(network: Layer, shape: tuple[int, ...]) -> int:
    return int(np.clip(LOOKED_AT // max(network.widest(shape), 1), 64, 4096))
