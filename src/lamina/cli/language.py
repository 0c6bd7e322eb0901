"""Language models for the commands: train one on a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamina.cli import families, show, training
from lamina.errors import InputError
from lamina.estimators.language import CharacterModel
from lamina.formats.read import read


def fit(data: str, settings: dict[str, Any], path: Path) -> None:
    """Train a language model and save it."""
    text = read(data)
    if text.kind != "text":
        raise InputError(f"--generate-level expected a text (.txt), got {data}.")
    estimator = families.estimator_of("CharacterModel", settings)
    edge = round(estimator.validation_fraction * len(text))
    show.line("data", f"{data}: {len(text) - edge:,} characters to train on, the last {edge:,} not")
    training.train(estimator, path, text.X)
    training.report(estimator, f"{len(estimator.vocabulary_.tokens)} {estimator.level}s")
    for bits in estimator.history_.get("val_bits_per_code", [])[-1:]:
        show.line("held out", f"{bits:.3f} bits per {estimator.level}, {edge:,} characters")
    training.save(estimator, path)


def evaluate(estimator: CharacterModel, model: Path, data: str) -> None:
    """Print how well a saved model tells each letter or word of a text from those before it."""
    text = read(data)
    if text.kind != "text":
        raise InputError(f"{data} expected a text (.txt), as the model was trained on.")
    show.line("model", f"{model}: {type(estimator).__name__}")
    show.line("data", f"{text.source}: {len(text):,} characters")
    figures = estimator.evaluate(text.X)  # type: ignore
    show.line("result", f"{figures['bits_per_code']:.3f} bits per {estimator.level}")
    show.line("note", "On a text that it was trained on the figure flatters.")
