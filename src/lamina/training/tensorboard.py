"""A run's figures as event files, for TensorBoard to show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import InputError, check_number
from lamina.layers.layer import by_path
from lamina.training.callbacks import Callback, Record

if TYPE_CHECKING:
    from lamina.training.loop import Run


class TensorBoard(Callback):
    """Writes each epoch's figures, and histograms of the weights if asked, as TensorBoard's events.

    A run that goes on from a checkpoint goes on with its folder: events of epochs that are gone
    through again are hidden.

    Parameters
    ----------
    folder : str or Path
        Where the event files go; ``tensorboard --logdir FOLDER`` shows them. A run a folder.
    histograms : int, optional
        Epochs from one histogram of every weight array to the next; none if left out.

    Raises
    ------
    InputError
        When the run starts, without the package tensorboardX (``pip install
        'lamina[tensorboard]'``), or for a folder that cannot be written to.

    Notes
    -----
    Scalars are named as in ``history_``, histograms as the weights: ``dense_0/W``. A training
    figure and its validation stand in one chart's folder: ``loss/training``, ``loss/validation``.
    """

    def __init__(self, folder: str | Path, histograms: int | None = None) -> None:
        if histograms is not None:
            check_number("histograms", histograms, at_least=1, whole=True)
        self.folder, self.histograms = Path(folder), histograms
        self._writer: Any = None

    def on_start(self, run: Run) -> None:
        """Open an event file; what the folder tells of later epochs is hidden."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise InputError(
                "TensorBoard expected the package tensorboardX, got an installation without it. "
                "Install it: pip install 'lamina[tensorboard]'."
            ) from None
        try:
            self._writer = SummaryWriter(str(self.folder), purge_step=run.epoch + 1)
        except OSError as error:
            raise InputError(
                f"TensorBoard expected a folder that can be written to, got {self.folder}: "
                f"{error.strerror or error}. Choose another."
            ) from error

    def on_epoch(self, run: Run, record: Record) -> None:
        """Write the epoch's figures, and the weights' histograms if it is time."""
        epoch = int(record["epoch"])
        for name, value in record.items():
            if name != "epoch" and math.isfinite(value):
                self._writer.add_scalar(_chart(name, record), value, epoch)
        if self.histograms is not None and (epoch % self.histograms == 0 or epoch == 1):
            for path, W in by_path(run.state.weights):
                if np.isfinite(W).all():
                    self._writer.add_histogram(path, np.asarray(W), epoch)
        self._writer.flush()

    def on_end(self, run: Run) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _chart(name: str, record: Record) -> str:
    """Return a figure's name in TensorBoard, where what stands before a slash is one group."""
    if name.startswith("val_"):
        return f"{name.removeprefix('val_')}/validation"
    return f"{name}/training" if f"val_{name}" in record else name
