"""``lamina generate``: a text written by a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamina.errors import InputError


def generate(
    model: Annotated[Path, typer.Argument(help="A model file from lamina fit --generate-level.")],
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    length: Annotated[int, typer.Option(help="Characters, or words, to write.")] = 400,
    temperature: Annotated[
        float, typer.Option(help="Below 1 is surer of itself, above 1 is bolder.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Choose among the k likeliest alone.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed writes the same text; fresh if left out.")
    ] = None,
    unknown: Annotated[
        str, typer.Option(help="Characters never seen in training: error, or replace them.")
    ] = "error",
) -> None:
    """Write a text with a language model."""
    from lamina.cache import use_compilation_cache
    from lamina.estimators.language import CharacterModel
    from lamina.estimators.persistence import load

    estimator = load(model)
    if not isinstance(estimator, CharacterModel):
        raise InputError(
            f"{model} expected a language model to generate with, got a "
            f"{type(estimator).__name__}. Train one: lamina fit text.txt --generate-level char."
        )
    use_compilation_cache()
    text = estimator.generate(prompt, length, temperature, top_k, seed, unknown)
    between = " " if estimator.level == "word" and prompt else ""
    print(prompt + between + text)
