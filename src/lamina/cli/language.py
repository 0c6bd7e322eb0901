"""Language models for the commands: train one on a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamina.cli import families, show, training
from lamina.errors import InputError
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
    bits = estimator.history_["val_bits_per_code"][-1]
    show.line("held out", f"{bits:.3f} bits per {estimator.level}, {edge:,} characters")
    training.save(estimator, path)
