"""What `lamina fit` does with any model: make it, train it, tell what came of it, save it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from lamina.errors import DivergenceError, InputError


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
    """Fit, and save the last good weights if that diverges."""
    from lamina.cache import use_compilation_cache

    use_compilation_cache()
    try:
        estimator.fit(*data, **others)
    except DivergenceError as error:
        raise _saved_what_there_is(estimator, path, error) from None


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

    arrays = flatten(estimator.weights_)
    matrices = [f"{name} {'×'.join(map(str, W.shape))}" for name, W in arrays.items() if W.ndim > 1]
    count = sum(W.size for W in arrays.values())
    show.line(
        "model", f"{type(estimator).__name__}, {kind}, {count:,} weights: " + ", ".join(matrices)
    )
    padding = getattr(estimator, "padding_", None)
    if padding is not None:
        show.line("padding", f"{padding:.0%} of the steps trained on, as series differ in length")
    history = estimator.history_
    shown = {k: v[-1] for k, v in history.items() if k not in ("epoch", "learning_rate", "seconds")}
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
    seconds = sum(history["seconds"])
    show.line("trained", f"{len(history['loss'])} epochs in {seconds:.1f} s: {figures}")


def save(estimator: Any, path: Path) -> None:
    """Write the model file and say where it is."""
    from lamina.cli import show

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
