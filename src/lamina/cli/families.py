"""Families of models: what a name on the command line stands for, and which data it takes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lamina.cli.options import option_of, refuse
from lamina.errors import InputError, check_choice

MODELS = {
    "linear": ("LinearClassifier", "LinearRegressor"),
    "mlp": ("MLPClassifier", "MLPRegressor"),
    "conv": ("ConvClassifier", "ConvRegressor"),
    "transfer": ("TransferClassifier", None),
    "lstm": ("RecurrentClassifier", "RecurrentRegressor"),
    "gru": ("RecurrentClassifier", "RecurrentRegressor"),
    "rnn": ("RecurrentClassifier", "RecurrentRegressor"),
}
"""Estimators by the name of their family: for classes, for values, None where there is none."""

CELLS = ("lstm", "gru", "rnn")
"""Families of recurrent networks."""

FACTORIZATIONS = {"ratings": "RatingFactorization", "implicit": "ImplicitFactorization"}
"""Estimators of users and items by the name of their family."""

TASKS = ("auto", "classify", "regress")


def check_family(told: str | None, generate_level: str | None, forecast: str | None) -> None:
    """Raise for a family that there is not, or that does not do the task."""
    if told is None:
        return
    if forecast is None and generate_level is None:
        check_choice("--model", told, (*MODELS, *FACTORIZATIONS))
    elif told not in CELLS:
        task = "--generate-level" if forecast is None else "--forecast"
        raise InputError(f"{task} expected --model {', '.join(CELLS)}, got {told!r}.")


def estimator_on(
    train: Any, model: str | None, task: str, settings: dict[str, Any], unknown: str | None = None
) -> Any:
    """Return the unfitted estimator, with its encoder, for what is trained on.

    Parameters
    ----------
    train : Dataset
        What to train on.
    model, task, unknown
        As the options of `lamina fit`.
    settings : dict
        Constructor parameters.
    """
    shape = settings["series_shape"]
    family = family_for(model, train, shape is not None)
    estimator = estimator_for(family, task, train.y, settings)
    estimator.encoder = _encoder_of(train, shape, unknown)
    return estimator


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


def estimator_for(family: str, task: str, y: Any, settings: dict[str, Any]) -> Any:
    """Return the estimator of a family: for classes or for values, as ``--task`` or targets say."""
    from lamina.cli.data import is_classification

    classify = is_classification(y) if task == "auto" else task == "classify"
    name = MODELS[family][0 if classify else 1]
    if name is None:
        raise InputError(
            f"--model {family} expected classes to tell apart, got values. Use --task classify or "
            "another --model."
        )
    return estimator_of(name, settings | {"cell": family if family in CELLS else None})


def estimator_of(name: str, settings: dict[str, Any]) -> Any:
    """Return the estimator of that name with the settings that were given, all of which it has."""
    import lamina

    cls = getattr(lamina, name)
    known = {field.name for field in fields(cls)}
    given = {key: value for key, value in settings.items() if value is not None}
    strange = [key for key in given if key not in known]
    if strange:
        raise InputError(
            f"{option_of(strange[0])} expected a model that has it, got {name}. "
            "Leave it out or choose another --model."
        )
    if given.get("penalty") == "none":
        given["penalty"] = None
    return cls(**given)


def _encoder_of(train: Any, series_shape: Any, unknown: str | None) -> Any:
    """Return the unfitted encoder for what is trained on; none where rows are told to be series."""
    from dataclasses import replace

    from lamina.cli.data import rows_of_numbers
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
