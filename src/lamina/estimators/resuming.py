"""Fits that survive their process: the folder of a run, and what tells it from another run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from lamina.errors import InputError
from lamina.formats.checkpoints import Checkpoint, CheckpointFolder
from lamina.formats.dataset import digest_of
from lamina.placement import of_each_process
from lamina.training.snapshots import Snapshot, resume

if TYPE_CHECKING:
    from lamina.estimators.base import NetworkEstimator
    from lamina.training.loop import Run

NOT_OF_THE_RUN = ("checkpoint", "verbose", "random_state", "callbacks")
"""Parameters that may differ when a run goes on; its seed is in the checkpoint, and what callbacks
remember, which `lamina.training.snapshots.resume` compares."""


class Resumption:
    """A run's folder, read before the run is made: it may be one that goes on.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        The estimator's parameter.
    """

    def __init__(self, checkpoint: Any) -> None:
        if isinstance(checkpoint, str | Path):
            checkpoint = Checkpoint(checkpoint)
        if not isinstance(checkpoint, Checkpoint):
            raise InputError(
                f"checkpoint expected a folder or a Checkpoint, got {checkpoint!r}. "
                'Use checkpoint="run1".'
            )
        self.folder = CheckpointFolder(checkpoint)
        self.found: Snapshot | None = self.folder.newest()
        self._check_seen_by_all()

    def _check_seen_by_all(self) -> None:
        """Raise unless all processes of a fit found the same checkpoint."""
        step = -1 if self.found is None else int(self.found[0]["step"])
        steps = of_each_process(step)
        if len(set(steps)) > 1:
            had = ", ".join("none" if step < 0 else f"step {step}" for step in steps)
            raise InputError(
                f"checkpoint expected a folder that all processes see, got {self.folder.folder} "
                f"with other checkpoints for each: {had}. Name a folder that all machines share."
            )

    def seed(self, drawn: int) -> int:
        """Return the seed of the run that goes on, ``drawn`` for one that begins."""
        return drawn if self.found is None else int(self.found[0]["identity"]["seed"])

    def attach(self, run: Run, estimator: NetworkEstimator, seed: int, *data: Any) -> None:
        """Keep a run that has not begun in the folder, going on from what was found there.

        Raises
        ------
        InputError
            If what was found is another run's, told by its settings and its data, or another run is
            being kept there.
        """
        self.folder.identity = {
            **_identity(estimator),
            "seed": seed,
            "data": digest_of(jax.tree.leaves(data)),
        }
        if self.found is not None:
            document, arrays = self.found
            self.folder.check_same(self.folder.identity, document)
            resume(run, document, arrays)
        self.folder.hold()
        run.recorder = self.folder


def _identity(estimator: NetworkEstimator) -> dict[str, Any]:
    from lamina.estimators.persistence import parameters

    kept = {k: v for k, v in parameters(estimator).items() if k not in NOT_OF_THE_RUN}
    return {"estimator": type(estimator).__name__, **kept}
