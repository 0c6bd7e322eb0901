"""What each weight matrix does while it trains: its gradient, its step and its own size, by epoch.

After an epoch one more step is looked at: that on the first minibatch of the next epoch, at the
rate of halfway through the last. It is taken by the program that trains and then forgotten, so that
watching compiles nothing and changes nothing of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lamina.errors import InputError, check_number
from lamina.layers.layer import by_path
from lamina.training.callbacks import Callback, Record

if TYPE_CHECKING:
    from lamina.training.loop import Run

STEPS = 256
"""How many steps go by for one that is looked at, at the least, unless told otherwise."""

FIGURES = ("gradient_norm", "update_ratio", "weight_norm")


class Watch(Callback):
    """Records of every weight matrix, by epoch, how it learns.

    Parameters
    ----------
    every : int, optional
        Epochs from one record to the next; the first and the last epoch are among them. None is
        every epoch of 256 steps or more, and of shorter ones one in so many steps.

    Attributes
    ----------
    watched : dict
        ``{"epoch": [1, 2, …], "learning_rate": […], "matrices": {"dense_0/W": {"gradient_norm":
        […], "update_ratio": […], "weight_norm": […]}, …}}``. The gradient norm is
        ``‖∂objective/∂W‖``, before any clipping; the update ratio ``‖ΔW‖ / ‖W‖`` of one step, at
        the learning rate beside it, 0 for a matrix of zeros; all norms are ``√Σ w²``. A fitted
        estimator has it as ``watched_``.

    Notes
    -----
    An update ratio of about 1e-3 is usual; far less, and the matrix hardly learns; far more, and
    it jumps about. At the end of a schedule the rate, and so the ratio, goes to 0.
    """

    def __init__(self, every: int | None = None) -> None:
        if every is not None:
            check_number("Watch every", every, at_least=1, whole=True)
        self.every = every
        self.watched: dict[str, Any] = {"epoch": [], "learning_rate": [], "matrices": {}}

    def memory(self) -> tuple[dict[str, Any], Any]:
        """Return what was recorded."""
        return {"watched": self.watched}, {}

    def remember(self, run: Run, values: dict[str, Any], arrays: Callable[[Any], Any]) -> None:
        """Take it back."""
        self.watched = values["watched"]

    def on_start(self, run: Run) -> None:
        """Make room for every matrix, in the order of the network."""
        for path, W in by_path(run.state.weights):
            if np.ndim(W) > 1:
                empty = {figure: [] for figure in FIGURES}
                self.watched["matrices"].setdefault(path, empty)

    def on_epoch(self, run: Run, record: Record) -> None:
        """Look at one step, if it is time."""
        every = self.every or -(-STEPS // run.source.steps_per_epoch)
        if (run.epoch - 1) % every and run.epoch < run.epochs:
            return
        stepped, rate = run.next_step()
        if not stepped.finite:  # the run itself will find that, and say where
            return
        norms = np.asarray(stepped.gradient_norms).tolist()
        gradients = jax.tree.unflatten(jax.tree.structure(run.state.weights), norms)
        before, after, gradients = (
            dict(by_path(tree)) for tree in (run.state.weights, stepped.weights, gradients)
        )
        self.watched["epoch"].append(run.epoch)
        self.watched["learning_rate"].append(rate)
        for path, figures in self.watched["matrices"].items():
            W = np.asarray(before[path])
            size, step = _norm(W), _norm(np.asarray(after[path]) - W)
            row = gradients[path], step / size if size else 0.0, size
            for figure, value in zip(FIGURES, row, strict=True):
                figures[figure].append(value)


def watched_by(callbacks: Iterable[Callback]) -> dict[str, Any] | None:
    """Return what the first `Watch` among callbacks has recorded, None where there is none."""
    return next((each.watched for each in callbacks if isinstance(each, Watch)), None)


def checked(watched: Any) -> dict[str, Any]:
    """Return a record that was read from a file, if it is one.

    Raises
    ------
    InputError
        If it is anything else than `Watch` makes.
    """
    epochs = [int(epoch) for epoch in watched["epoch"]]
    rates = [float(rate) for rate in watched["learning_rate"]]
    matrices = {
        str(path): {figure: [float(value) for value in figures[figure]] for figure in FIGURES}
        for path, figures in watched["matrices"].items()
    }
    columns = [rates, *(values for figures in matrices.values() for values in figures.values())]
    if any(len(values) != len(epochs) for values in columns):
        raise InputError(f"watched expected {len(epochs)} values in each list, one an epoch.")
    return {"epoch": epochs, "learning_rate": rates, "matrices": matrices}


def _norm(W: np.ndarray) -> float:
    return float(np.linalg.norm(W))
