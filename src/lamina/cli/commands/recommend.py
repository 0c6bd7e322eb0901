"""``lamina recommend``: items for users, or items alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamina.cli import options
from lamina.errors import InputError


def recommend(
    model: Annotated[
        Path, typer.Argument(help="A model file from lamina fit --model ratings or implicit.")
    ],
    user: Annotated[
        list[str] | None, typer.Option(help="Whom to recommend for; may be repeated.")
    ] = None,
    similar_to: Annotated[
        list[str] | None, typer.Option(help="Find the like of this item; may be repeated.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Recommend for all users.")] = False,
    n: Annotated[int, typer.Option("-n", help="How many items.")] = 10,
    include_seen: Annotated[
        bool, typer.Option(help="Recommend what the user had in training too.")
    ] = False,
    out: options.TableFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Recommend items for users, or find items alike, with a saved model."""
    from lamina.cache import use_compilation_cache
    from lamina.cli import recommending, show
    from lamina.estimators.factorization import Factorization
    from lamina.estimators.persistence import load

    show.check_outputs([model], out=out)
    estimator = load(model)
    if not isinstance(estimator, Factorization):
        raise InputError(
            f"{model} expected a model of users and items to recommend with, got a "
            f"{type(estimator).__name__}. Train one: lamina fit FILE --model ratings."
        )
    use_compilation_cache()
    recommending.recommend(
        estimator, user or (), similar_to or (), everyone, n, include_seen, out, quiet
    )
