"""What `lamina fit` does with any model: make it, train it, tell what came of it, save it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from lamina.errors import DivergenceError, InputError

CELLS = ("lstm", "gru", "rnn")
"""Families of recurrent networks."""

MOST_SHOWN = 16
"""So many matrices are listed by name."""


def refuse(expected: str, got: str, **options: Any) -> None:
    """Raise for the first option that was given: what is to be done has no use for it."""
    for name, given in options.items():
        if given is not None and given is not False and given != []:
            raise InputError(
                f"--{name.replace('_', '-')} expected {expected}, got {got}. Leave it out."
            )


def family_for(told: str | None, train: Any, shaped: bool) -> str:
    """Return the family of the network: as told if it takes such data, else what is usual.

    Parameters
    ----------
    told : str or None
        ``--model``.
    train : Dataset
        What to train on.
    shaped : bool
        Whether ``--series-shape`` says that rows of numbers are series.
    """
    if shaped and train.kind in ("series", "text"):
        refuse("rows of numbers", f"{train.kind} data", series_shape=shaped)
    series = train.kind in ("series", "text") or shaped
    if told is None:
        return "lstm" if series else "mlp"
    if series and told not in CELLS:
        what = "texts" if train.kind == "text" else "series"
        raise InputError(
            f"--model expected one of {', '.join(CELLS)} for {what}, got {told!r}. "
            f"{'Choose one of them.' if not shaped else 'Leave --series-shape out.'}"
        )
    if not series and told in CELLS:
        remedies = {
            "table": "For a row a step name --series-id and --time, for texts --text; for a series "
            "a row, --series-shape STEPSxCHANNELS.",
            "array": "Say what a row is: --series-shape STEPSxCHANNELS.",
        }
        remedy = remedies.get(train.kind, "Use --model conv.")
        raise InputError(
            f"--model {told} expected series or texts, got {train.source}, {train.kind} of "
            f"{len(train):,} rows. {remedy}"
        )
    return told


def encoder_of(train: Any, series_shape: Any, unknown: str | None) -> Any:
    """Return the unfitted encoder for what is trained on; none where rows are told to be series.

    Parameters
    ----------
    train : Dataset
        What to train on.
    series_shape : tuple or None
        ``--series-shape``.
    unknown : str or None
        ``--unknown``, for texts.
    """
    from dataclasses import replace

    from lamina.cli.data import rows_of_numbers
    from lamina.errors import check_choice
    from lamina.estimators.recurrent import WORDS
    from lamina.formats.encoders import encoder_for

    if unknown is not None and train.kind != "text":
        refuse("texts, --text COLUMN", f"{train.kind} data", unknown=unknown)
    if train.kind == "text":
        unknown = check_choice("--unknown", unknown or WORDS.unknown, ("error", "replace"))
        return replace(WORDS, reading=train.reading, unknown=unknown)
    if series_shape is None:
        return encoder_for(train)
    rows_of_numbers(train, remedy="Leave it out: --drop NAME.")
    return None


def size_for_backbone(data: str, backbone: str | None) -> tuple[int, int] | None:
    """Return the size to read a folder's images in, so that the backbone's crop fills its own."""
    from lamina.estimators.backbones import find_backbone
    from lamina.estimators.transfer import TransferClassifier
    from lamina.formats.read import is_images

    if not is_images(data):
        return None
    found = find_backbone(backbone or TransferClassifier.backbone)
    if found.preprocessing is None:
        return found.input_shape[:2] if len(found.input_shape) == 3 else None  # type: ignore
    height, width = (round(s / (found.preprocessing.crop or 1)) for s in found.preprocessing.size)
    return height, width


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


def estimator_of(name: str, settings: dict[str, Any]) -> Any:
    """Return the estimator of that name with the settings that were given, all of which it has."""
    import lamina

    cls = getattr(lamina, name)
    known = {field.name for field in fields(cls)}
    given = {key: value for key, value in settings.items() if value is not None}
    strange = [key for key in given if key not in known]
    if strange:
        raise InputError(
            f"--{strange[0].replace('_', '-')} expected a model that has it, got {name}. "
            "Leave it out or choose another --model."
        )
    if given.get("penalty") == "none":
        given["penalty"] = None
    return cls(**given)


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
    history = estimator.history_
    shown = {k: v[-1] for k, v in history.items() if k not in ("epoch", "learning_rate", "seconds")}
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
    seconds = sum(history["seconds"])
    show.line("trained", f"{len(history['loss'])} epochs in {seconds:.1f} s: {figures}")
    watched = getattr(estimator, "watched_", None)
    if watched is not None and watched["epoch"]:
        show.console().print(watched_table(watched))
    for verdict in hints(estimator)[:1]:
        show.line("hint", verdict)


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
    """Write the model file and say where it is; of several processes the first does."""
    from lamina.cli import show
    from lamina.placement import is_first_process

    if not is_first_process():
        return
    estimator.save(path)
    show.line("saved", f"{path} ({show.file_size(path)})")


def fit_text(data: str, settings: dict[str, Any], path: Path) -> None:
    """Train a language model and save it."""
    from lamina.cli import show
    from lamina.formats.read import read

    text = read(data)
    if text.kind != "text":
        raise InputError(f"--generate-level expected a text (.txt), got {data}.")
    estimator = estimator_of("CharacterModel", settings)
    edge = round(estimator.validation_fraction * len(text))
    show.line("data", f"{data}: {len(text) - edge:,} characters to train on, the last {edge:,} not")
    train(estimator, path, text.X)
    report(estimator, f"{len(estimator.vocabulary_.tokens)} {estimator.level}s")
    bits = estimator.history_["val_bits_per_code"][-1]
    show.line("held out", f"{bits:.3f} bits per {estimator.level}, {edge:,} characters")
    save(estimator, path)


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
