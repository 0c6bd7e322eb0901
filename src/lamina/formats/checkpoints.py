"""Checkpoints: a folder with the last few states of a run, each a file that is whole or not there.

A file is written beside its name, flushed to the disk and renamed, and carries a digest over all it
holds (`lamina.formats.model_file`), so whatever kills the process, the newest file that can be read
is a run as it stood at some step. Files are written while training goes on.
"""

from __future__ import annotations

import os
import re
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import FileFormatError, InputError, check_number
from lamina.formats.files import check_can_write, unwritable
from lamina.formats.model_file import read_model, write_model
from lamina.placement import is_first_process
from lamina.training.snapshots import Snapshot, snapshot

if TYPE_CHECKING:
    from lamina.training.loop import Run

_NAME = re.compile(r"step-(\d{10})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is kept.

    Parameters
    ----------
    folder : str or Path
        Made where it is missing; one run a folder.
    every_steps : int, optional
        Steps from one checkpoint to the next; None is one an epoch.
    every_seconds : float, optional
        Seconds after which one is made in the middle of an epoch too; None never.
    keep : int
        How many are kept: the newest, and besides them the one with the best validation loss (the
        loss, where nothing is validated).

    Examples
    --------
    >>> from lamina import Checkpoint, MLPClassifier
    >>> clf = MLPClassifier(checkpoint=Checkpoint("run1", every_steps=100))
    """

    folder: str | Path
    every_steps: int | None = None
    every_seconds: float | None = 60.0
    keep: int = 2

    def __post_init__(self) -> None:
        check_number("Checkpoint keep", self.keep, at_least=1, whole=True)
        if self.every_steps is not None:
            check_number("Checkpoint every_steps", self.every_steps, at_least=1, whole=True)
        if self.every_seconds is not None:
            check_number("Checkpoint every_seconds", self.every_seconds, above=0)


class CheckpointFolder:
    """The recorder of a run: what stands in its folder, and what is added to it.

    Parameters
    ----------
    settings : Checkpoint
        Where and how often.

    Attributes
    ----------
    identity : dict
        What tells this run from others, stored in each file; see `check_same`.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    FileFormatError
        If it holds checkpoints, and none that can be read.
    """

    def __init__(self, settings: Checkpoint) -> None:
        self.settings, self.folder = settings, Path(settings.folder)
        self.identity: dict[str, Any] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: deque[Future[None]] = deque()
        self._step, self._time = 0, time.monotonic()
        self._kept: tuple[int, int, bool] | None = None
        self._told = False
        self._best: dict[str, Any] = {}
        self._let_go: Callable[[], Any] = lambda: None
        if is_first_process():
            self._probe()

    def _probe(self) -> None:
        """Make the folder, and find out now whether it can be written to."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        check_can_write(self.folder / "step")

    def hold(self) -> None:
        """Keep other processes out until the run or this process ends; clear what one left half.

        Raises
        ------
        InputError
            If a run that is under way is kept there.
        """
        if not is_first_process():
            return
        if (descriptor := _locked(self.folder)) is not None:
            self._let_go = weakref.finalize(self, os.close, descriptor)
        for draft in self.folder.glob(".*.part"):
            with suppress(OSError):
                draft.unlink()

    def steps(self) -> list[int]:
        """Return the steps at which there are checkpoints, newest first."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def newest(self) -> Snapshot | None:
        """Return the newest checkpoint that can be read, None where there is none at all."""
        damaged: Exception | None = None
        for step in self.steps():
            try:
                document, arrays = read_model(self._path(step))
            except InputError as error:
                warnings.warn(f"{error} The checkpoint before it is taken.", stacklevel=2)
                damaged = error
                continue
            _check_document(self._path(step), document)
            self._step, self._best = step, document["best"]
            return document, arrays
        if damaged is not None:
            raise FileFormatError(
                f"{self.folder} expected a checkpoint that can be read, got damaged ones only. "
                "Empty the folder to begin anew."
            )
        return None

    def check_same(self, identity: dict[str, Any], document: dict[str, Any]) -> None:
        """Raise unless a checkpoint is of the run that is to go on."""
        theirs = document["identity"]
        different = sorted(k for k in identity | theirs if identity.get(k) != theirs.get(k))
        if different:
            name = different[0]
            raise InputError(
                f"{self.folder} expected to be the run's own folder, got checkpoints of a run with "
                f"another {name} ({theirs.get(name)!r}, this run's is {identity.get(name)!r}). "
                "Name another folder, or go on with the settings and data of that run."
            )

    # What a `lamina.training.loop.Recorder` does

    @property
    def remedy(self) -> str:
        """What to do to go on with the run."""
        return f"The same fit goes on from {self.folder} (lamina fit … --resume {self.folder})."

    def after_block(self, run: Run) -> None:
        """Keep the run if so many steps or seconds have passed, and the last file is written."""
        every, seconds = self.settings.every_steps, self.settings.every_seconds
        if self._writing and not self._writing[-1].done():
            return
        late = seconds is not None and time.monotonic() - self._time >= seconds
        if not late and (every is None or run.steps_taken - self._step < every):
            return
        if int(run.state.batch) < run.source.steps_per_epoch:  # else the epoch is about to end
            self._keep(run)

    def after_epoch(self, run: Run) -> None:
        """Keep the run if it is kept by epochs, else as in the middle of one."""
        figures = run.history.get("val_loss") or run.history["loss"]
        better = not self._best or figures[-1] < self._best["loss"]
        if better:
            self._best = {"loss": figures[-1], "step": int(run.state.step)}
        if self.settings.every_steps is None or better:
            self._keep(run)
        else:
            self.after_block(run)

    def at_end(self, run: Run) -> None:
        """Keep the run unless it is kept as it stands, and wait for it."""
        self._finish(0)
        if self._kept != _moment(run):
            self._keep(run)
            self._finish(0)

    def release(self) -> None:
        """Wait for the last file, and let other processes in."""
        self._finish(0)
        self._let_go()

    def _keep(self, run: Run) -> None:
        if not is_first_process():
            return
        document, arrays = snapshot(run)
        if not arrays["state/finite"]:
            return  # the loop is about to find that out and to end the run
        self._finish(1)
        self._step, self._time = document["step"], time.monotonic()
        self._kept = _moment(run)
        document |= {"kind": "checkpoint", "identity": self.identity, "best": dict(self._best)}
        self._writing.append(self._writer.submit(self._write, document, arrays))

    def _finish(self, left: int) -> None:
        """Wait until so many files are left to write; where one could not be, say so once."""
        while len(self._writing) > left:
            try:
                self._writing.popleft().result()
                self._told = False
            except InputError as error:
                if not self._told:
                    warnings.warn(
                        f"No checkpoint was written: {error} Training goes on.", stacklevel=2
                    )
                self._kept, self._told = None, True

    def _write(self, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Write a checkpoint, then remove older ones; newer ones could not be read, nor count."""
        write_model(self._path(document["step"]), document, arrays)
        whole = [step for step in self.steps() if step <= document["step"]]
        for step in whole[self.settings.keep :]:
            if step != document["best"].get("step"):
                with suppress(OSError):
                    self._path(step).unlink()

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:010}.safetensors"


def _locked(folder: Path) -> int | None:
    """Return a descriptor of a folder, locked; None where the system knows no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise InputError(
                f"{folder} expected one run at a time, got another that is under way and kept "
                "there. Wait for its end or name another folder."
            ) from None
        return None
    return descriptor


def _check_document(path: Path, document: dict[str, Any]) -> None:
    """Raise unless a file's document is a checkpoint's, every part of its type."""
    if document.get("kind") != "checkpoint":
        raise FileFormatError(f"{path} expected a checkpoint, got a model. Name another folder.")
    history, best = document.get("history"), document.get("best")
    remembered = document.get("callbacks")
    fits = (
        isinstance(document.get("step"), int)
        and isinstance(document.get("stopped"), bool)
        and isinstance(document.get("identity"), dict)
        and isinstance(document["identity"].get("seed"), int)
        and isinstance(best, dict)
        and all(isinstance(best.get(name), int | float) for name in ("loss", "step") if best)
        and isinstance(history, dict)
        and all(isinstance(v, list) and all(_is_number(x) for x in v) for v in history.values())
        and len({len(values) for values in history.values()}) <= 1
        and isinstance(remembered, list)
        and all(isinstance(each, dict) and "callback" in each for each in remembered)
    )
    if not fits:
        raise FileFormatError(
            f"{path} expected a checkpoint as Lamina writes it, got one with parts missing or of "
            "other types. Name another folder."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _moment(run: Run) -> tuple[int, int, bool]:
    """Return where a run stands: its steps, its epochs that have ended, whether it is over."""
    return int(run.state.step), run.epoch, run.stopped
