"""A run as data: all that it needs to go on elsewhere as if it had not stopped.

The state is one pytree already; beside it a snapshot holds the history, whether a callback has
stopped the run, and what callbacks remember.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lamina.errors import FileFormatError
from lamina.placement import to_numpy

if TYPE_CHECKING:
    from lamina.training.loop import Run

Snapshot = tuple[dict[str, Any], dict[str, np.ndarray]]
"""A document of plain JSON values, and arrays by name."""


def by_name(tree: Any, prefix: str) -> dict[str, np.ndarray]:
    """Return copies of a pytree's arrays, named by their paths: ``state/weights/dense_0/W``."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {f"{prefix}/{_path(path)}": to_numpy(leaf) for path, leaf in leaves}


def like(tree: Any, arrays: dict[str, np.ndarray], prefix: str) -> Any:
    """Return a pytree of the same structure with its arrays taken by name.

    Raises
    ------
    FileFormatError
        If one is missing, or of another shape or dtype.
    """

    def found(path, leaf):
        name, leaf = f"{prefix}/{_path(path)}", np.asarray(leaf)
        array = arrays.get(name)
        if array is None or (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
            got = "none" if array is None else f"{array.shape} and {array.dtype}"
            raise FileFormatError(
                f"The checkpoint expected {name} of shape {leaf.shape} and {leaf.dtype}, got "
                f"{got}. It belongs to another network or optimiser."
            )
        return array

    return jax.tree_util.tree_map_with_path(found, tree)


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def snapshot(run: Run) -> Snapshot:
    """Return a run as it stands; waits for the steps that are under way."""
    arrays = by_name(run.state, "state")
    remembered = []
    for callback in run.callbacks:
        values, tree = callback.memory()
        if values:
            arrays |= by_name(tree, f"callbacks/{len(remembered)}")
            remembered.append({"callback": type(callback).__name__, **values})
    document = {
        "epoch": int(run.state.epoch),
        "batch": int(run.state.batch),
        "step": int(run.state.step),
        "stopped": run.stopped,
        "history": {name: list(map(float, values)) for name, values in run.history.items()},
        "callbacks": remembered,
    }
    return document, arrays


def resume(run: Run, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Put a run that has not begun where a snapshot of the same run was taken.

    Raises
    ------
    FileFormatError
        If the snapshot is of a run with another network, optimiser or callbacks.
    """
    remembering = [callback for callback in run.callbacks if callback.memory()[0]]
    had = [remembered["callback"] for remembered in document["callbacks"]]
    if had != (got := [type(callback).__name__ for callback in remembering]):
        raise FileFormatError(
            f"The checkpoint expected a run with the callbacks {', '.join(had) or 'none'}, got "
            f"{', '.join(got) or 'none'}. Give those that it was made with."
        )
    state = like(run.state, arrays, "state")
    if min(state.epoch, state.batch, state.step) < 0:
        raise FileFormatError("The checkpoint expected a place in the data, got one before them.")
    run.go_on_from(state)
    run.stopped = document["stopped"]
    run.history = {name: list(values) for name, values in document["history"].items()}
    for i, callback in enumerate(remembering):
        of_it = partial(like, arrays=arrays, prefix=f"callbacks/{i}")
        try:
            callback.remember(run, document["callbacks"][i], of_it)
        except LookupError as error:
            raise FileFormatError(
                f"The checkpoint expected what {had[i]} remembers, got none of {error}. "
                "It was written by another version of it."
            ) from error
