"""What `lamina fit` does with any model: train it, tell what came of it, save it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamina.errors import DivergenceError, InputError

INTERRUPTED = 128 + 2
"""The exit status after Ctrl-C, as of a process that SIGINT ends."""

MOST_SHOWN = 16
"""So many matrices are listed by name."""


def folder_of_the_run(checkpoint: Path | None, resume: Path | None) -> str | None:
    """Return the folder to keep the run in; one to go on from must hold a checkpoint."""
    if resume is None:
        return None if checkpoint is None else str(checkpoint)
    if checkpoint is not None:
        raise InputError("--resume expected to stand alone, got --checkpoint too. Leave one out.")
    if not any(resume.glob("step-*.safetensors")):
        raise InputError(
            f"--resume expected a folder with checkpoints, got {resume}. Begin the run with "
            f"--checkpoint {resume}."
        )
    return str(resume)


def join_processes() -> None:
    """Join the other processes of a cluster; all but the first are silent from here on."""
    import os
    import sys
    import warnings

    from lamina import placement

    placement.join_processes()
    if not placement.is_first_process():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        warnings.simplefilter("ignore")


def devices_told(text: str | None, distributed: bool) -> Any:
    """Return the estimator's ``devices`` for ``--devices``: all, a number, or DATAxMODEL."""
    if text is None and not distributed:
        return None
    from lamina.placement import ALL, mesh_of

    told: Any = text or ALL
    parts = told.split("x")
    if all(part.isdecimal() for part in parts):
        told = int(told) if len(parts) == 1 else tuple(map(int, parts))
    mesh_of(told)  # an error before the data are read
    return told


def watchers(metrics: Path | None, watch: bool) -> list[Any] | None:
    """Return the callbacks that options ask for."""
    from lamina.training.callbacks import MetricsFile
    from lamina.training.watch import Watch

    asked = [MetricsFile(metrics)] if metrics is not None else []
    return [*asked, Watch()] if watch else asked or None


def train(estimator: Any, path: Path, *data: Any, **others: Any) -> None:
    """Fit, and save what was trained if that diverges or the data cannot be read on."""
    from lamina.cache import use_compilation_cache

    use_compilation_cache()
    try:
        estimator.fit(*data, **others)
    except DivergenceError as error:
        raise _saved_what_there_is(estimator, path, error) from None
    except InputError as error:
        if not hasattr(estimator, "weights_"):  # it had not begun
            raise
        estimator.save(path)
        failed = type(error)(f"{error} The model as trained before that is saved in {path}.")
        failed.exit_status = 1  # type: ignore
        raise failed from None


def _saved_what_there_is(estimator: Any, path: Path, error: DivergenceError) -> DivergenceError:
    """Save the last good weights, and say so."""
    if estimator.history_.get("loss"):
        estimator.save(path)
        error = DivergenceError(f"{error} They are saved in {path}.")
    error.exit_status = 1  # type: ignore
    return error


def report(estimator: Any, kind: str) -> None:
    """Print what was trained: its matrices, and its last figures."""
    from lamina.cli import show
    from lamina.estimators.persistence import flatten
    from lamina.inspection.health import hints

    arrays = flatten(estimator.weights_)
    matrices = [f"{name} {'×'.join(map(str, W.shape))}" for name, W in arrays.items() if W.ndim > 1]
    count = sum(W.size for W in arrays.values())
    if len(matrices) > MOST_SHOWN:
        left_out = f"… {len(matrices) - MOST_SHOWN + 1} more …"
        matrices = [*matrices[: MOST_SHOWN - 2], left_out, matrices[-1]]
    show.line(
        "model", f"{type(estimator).__name__}, {kind}, {count:,} weights: " + ", ".join(matrices)
    )
    trained = getattr(estimator, "trained_weights_", count)
    if trained < count:
        show.line("tuned", f"{trained:,} numbers, {trained / count:.1%} of the weights")
    padding = getattr(estimator, "padding_", None)
    if padding is not None:
        show.line("padding", f"{padding:.0%} of the steps trained on, as series differ in length")
    _report_epochs(estimator.history_)
    watched = getattr(estimator, "watched_", None)
    if watched is not None and watched["epoch"]:
        show.console().print(watched_table(watched))
    for verdict in hints(estimator)[:1]:
        show.line("hint", verdict)


def _report_epochs(history: dict[str, list[float]]) -> None:
    """Print how many epochs were trained, and the last one's figures."""
    from lamina.cli import show

    if not history.get("loss"):
        show.line("trained", "less than an epoch")
        return
    shown = {k: v[-1] for k, v in history.items() if k not in ("epoch", "learning_rate", "seconds")}
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
    seconds = sum(history["seconds"])
    show.line("trained", f"{len(history['loss'])} epochs in {seconds:.1f} s: {figures}")


def report_and_save(estimator: Any, held_out: Any, path: Path) -> None:
    """Print what was trained on rows and its figure on the data held out, if any; save it."""
    from lamina.cli import measure, show

    classes = getattr(estimator, "classes_", None)
    report(estimator, "values" if classes is None else f"{len(classes)} classes")
    if held_out is not None:
        show.line("test", measure.headline(estimator, held_out))
    save(estimator, path)


def watched_table(watched: dict[str, Any]) -> Any:
    """Return how each matrix learned, from the first look to the last, as a table."""
    from lamina.cli import show

    epochs = watched["epoch"]
    columns = ("gradient norm", "update ratio ‖ΔW‖/‖W‖", "weight norm ‖W‖")
    rows = [
        (path, *(f"{values[0]:.2g} → {values[-1]:.2g}" for values in figures.values()))
        for path, figures in watched["matrices"].items()
    ]
    return show.table(
        ["matrix", *columns],
        rows,
        f"watched: epoch {epochs[0]} → {epochs[-1]}, {len(epochs)} looks",
    )


def save(estimator: Any, path: Path) -> None:
    """Write the model file and say where it is; of several processes the first does.

    Ends the command where Ctrl-C ended the training.
    """
    from lamina.cli import show
    from lamina.placement import is_first_process

    if not is_first_process():
        return
    estimator.save(path)
    show.line("saved", f"{path} ({show.file_size(path)})")
    if getattr(estimator, "interrupted_", False):
        raise SystemExit(INTERRUPTED)


def free_memory() -> int:
    """Return the bytes of memory that are free, or all there are where that is not told."""
    import os
    from pathlib import Path

    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_predicts(estimator: Any) -> None:
    """Raise for a model that predicts no rows: one that writes texts, or finds topics."""
    if type(estimator).__name__ == "CharacterModel":
        remedy = "Let it write: lamina generate MODEL."
        kind = "language model"
    elif not hasattr(estimator, "predict"):
        remedy = "Use it in Python: lamina.load(MODEL).transform(X)."
        kind = type(estimator).__name__
    else:
        return
    raise InputError(
        "The model expected to be one that predicts a class or a value a row, "
        f"got a {kind}. {remedy}"
    )
