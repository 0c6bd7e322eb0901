"""Options that several commands share, each written once, and what their texts say."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from lamina.errors import InputError

in_data = partial(typer.Option, rich_help_panel="Data")
in_series = partial(typer.Option, rich_help_panel="Data: series, texts and sounds")
in_network = partial(typer.Option, rich_help_panel="Network")
in_conv = partial(typer.Option, rich_help_panel="Network: conv")
in_training = partial(typer.Option, rich_help_panel="Training")
in_output = partial(typer.Option, rich_help_panel="Output")

# Any data

Size = Annotated[str | None, in_data(help="Resize a folder's images: HEIGHTxWIDTH.")]
SkipBad = Annotated[bool, in_data(help="Skip unreadable images, and count them.")]

# Data to train on

Target = Annotated[str | None, in_data(help="The column to predict; tables only.")]
Task = Annotated[str, in_data(help="classify, regress, or auto: by the target.")]
ImageShape = Annotated[str | None, in_data(help="What rows of numbers are: HEIGHTxWIDTHxCHANNELS.")]
SeriesShape = Annotated[str | None, in_series(help="What rows of numbers are: STEPSxCHANNELS.")]

# A network to train

Hidden = Annotated[
    str | None, in_network(help="Units of each hidden layer; mlp 256,128, conv 128, recurrent 64.")
]
Filters = Annotated[str | None, in_conv(help="Channels of each stage; 32,64 if left out.")]
KernelSize = Annotated[int | None, in_conv(help="The filters' side; 3 if left out.")]
Depth = Annotated[int | None, in_conv(help="Convolutions in a stage; 2 if left out.")]
Optimizer = Annotated[
    str | None,
    in_training(
        help="gd, sgd, momentum, nesterov, rmsprop, adam (usual; conv adamw), adamw, muon, lbfgs."
    ),
]
BatchSize = Annotated[int | None, in_training(help="Samples a step; 128, conv 64, recurrent 32.")]
Epochs = Annotated[
    int | None,
    in_training(help="Passes over the data; about 10,000 steps in 20 to 200 passes, conv 10."),
]

# A saved model, and data for it

ModelFile = Annotated[Path, typer.Argument(help="A model file from lamina fit.")]
TargetAsTrained = Annotated[
    str | None, in_data(help="The target column; the one trained on if left out.")
]
SeriesIdAsTrained = Annotated[
    str | None, in_data(help="The column of a row's series; as in training if left out.")
]
TimeAsTrained = Annotated[
    str | None, in_data(help="The column of a row's time; as in training if left out.")
]
Stream = Annotated[bool, in_data(help="Read the data piece by piece, as in lamina fit --stream.")]

# What is written

TableFile = Annotated[
    Path | None,
    in_output("--out", "-o", help="A .csv, .tsv or .parquet file; standard output if left out."),
]
NewModelFile = Annotated[Path, typer.Option("--out", "-o", help="The model file to write.")]
Quiet = Annotated[bool, in_output("--quiet", "-q", help="No progress bar.")]


# What options are called where estimators' parameters have other names
RENAMED = {"max_epochs": "--epochs"}


def option_of(parameter: str) -> str:
    """Return the option that sets an estimator's parameter."""
    return RENAMED.get(parameter, f"--{parameter.replace('_', '-')}")


def in_options(message: str, command: Callable[..., None]) -> str:
    """Return an error's message with estimators' parameters as the options that set them.

    A name of one word is taken for a parameter only where the message begins with it.
    """
    named = {name: option_of(name) for name in (*signature(command).parameters, *RENAMED)}
    subject, _, rest = message.partition(" ")
    if subject in named and rest.startswith("expected"):
        message = f"{named[subject]} {rest}"
    long = "|".join(name for name in named if "_" in name)
    return re.sub(
        rf"(?<![\w'\"/.-])({long})\b(=?)",
        lambda found: named[found[1]] + found[2].replace("=", " "),
        message,
    )


def words(text: str | None) -> tuple[str, ...] | None:
    """Return what stands between commas."""
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(
    option: str, text: str | None, between: str = ",", kind: type = int
) -> tuple[Any, ...] | None:
    """Return the numbers, whole ones or with ``kind=float`` any, that an option lists."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.lower().split(between) if part.strip())
    except ValueError:
        example = between.join(("32", "64") if kind is int else ("0.5", "0.1"))
        raise InputError(f"{option} expected numbers like {example}; got {text!r}.") from None


def refuse(expected: str, got: str, **options: Any) -> None:
    """Raise for the first option that was given: what is to be done has no use for it."""
    for name, given in options.items():
        if given is not None and given is not False and given != []:
            raise InputError(f"{option_of(name)} expected {expected}, got {got}. Leave it out.")
