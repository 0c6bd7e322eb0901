"""What each weight matrix does while it trains: its gradient, its step and its own size, by epoch.

After an epoch one more step is looked at: that on the first minibatch of the next epoch, at the
rate of the last step. It is taken by the program that trains and then forgotten, so that watching
compiles nothing and changes nothing of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lamina.errors import InputError, check_number
from lamina.training.batches import BLOCK_STEPS
from lamina.training.callbacks import Callback, Record

if TYPE_CHECKING:
    from lamina.training.loop import Run

FIGURES = ("gradient_norm", "update_ratio", "weight_norm")


class Watch(Callback):
    """Records of every weight matrix, by epoch, how it learns.

    Parameters
    ----------
    every : int, optional
        Epochs from one record to the next; the first and the last epoch are among them. None is
        one in about 128 steps at most: each epoch of as many steps, fewer of shorter ones.

    Attributes
    ----------
    watched : dict
        ``{"epoch": [1, 2, …], "matrices": {"dense_0/W": {"gradient_norm": […], "update_ratio": […],
        "weight_norm": […]}, …}}``. The gradient norm is ``‖∂objective/∂W‖``, before any clipping;
        the update ratio ``‖ΔW‖ / ‖W‖`` of one step, 0 for a matrix of zeros; all norms are
        ``√Σ w²``. A fitted estimator has it as ``watched_``.

    Notes
    -----
    An update ratio of about 1e-3 is usual; far less, and the matrix hardly learns; far more, and
    it jumps about.
    """

    def __init__(self, every: int | None = None) -> None:
        if every is not None:
            check_number("Watch every", every, at_least=1, whole=True)
        self.every = every
        self.watched: dict[str, Any] = {"epoch": [], "matrices": {}}

    def memory(self) -> tuple[dict[str, Any], Any]:
        """Return what was recorded."""
        return {"watched": self.watched}, {}

    def remember(self, run: Run, values: dict[str, Any], arrays: Callable[[Any], Any]) -> None:
        """Take it back."""
        self.watched = values["watched"]

    def on_start(self, run: Run) -> None:
        """Make room for every matrix, in the order of the network."""
        for path, W in _by_path(run.state.weights):
            if np.ndim(W) > 1:
                empty = {figure: [] for figure in FIGURES}
                self.watched["matrices"].setdefault(path, empty)

    def on_epoch(self, run: Run, record: Record) -> None:
        """Look at one step, if it is time."""
        every = self.every or -(-BLOCK_STEPS // run.source.steps_per_epoch)
        if (run.epoch - 1) % every and run.epoch < run.epochs:
            return
        stepped = run.next_step()
        if not stepped.finite:  # the run itself will find that, and say where
            return
        norms = np.asarray(stepped.gradient_norms).tolist()
        gradients = jax.tree.unflatten(jax.tree.structure(run.state.weights), norms)
        before, after, gradients = (
            dict(_by_path(tree)) for tree in (run.state.weights, stepped.weights, gradients)
        )
        self.watched["epoch"].append(run.epoch)
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
    matrices = {
        str(path): {figure: [float(value) for value in figures[figure]] for figure in FIGURES}
        for path, figures in watched["matrices"].items()
    }
    for path, figures in matrices.items():
        if any(len(values) != len(epochs) for values in figures.values()):
            raise InputError(f"watched expected {len(epochs)} values each for {path}, as epochs.")
    return {"epoch": epochs, "matrices": matrices}


def _norm(W: np.ndarray) -> float:
    return float(np.linalg.norm(W))


def _by_path(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in tree.items():
        if isinstance(part, dict):
            yield from _by_path(part, f"{prefix}{name}/")
        else:
            yield prefix + name, part
