"""Models of users and items for the commands: fit on interactions, and measure on them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.cache import use_compilation_cache
from lamina.cli import families, show, training
from lamina.cli.options import option_of, words
from lamina.errors import InputError, check_choice, check_number
from lamina.estimators.factorization import Factorization
from lamina.estimators.ratings import RatingFactorization
from lamina.factorization.interactions import DUPLICATES, frame_columns
from lamina.factorization.splits import hold_out
from lamina.formats.pairs import read_all_pairs, read_pairs

if TYPE_CHECKING:
    import pandas as pd

TAKEN = {
    "bayes": {"iterations"},
    "als": {"iterations", "alpha", "exponent"},
    "sgd": {"max_epochs", "learning_rate", "batch_size", "alpha", "exponent"},
    "cg": {"iterations", "alpha", "exponent", "unobserved_weight", "regularization"},
    "bpr": {"max_epochs", "learning_rate", "batch_size", "regularization", "exponent"},
}
"""Which settings each solver looks at; ``exact`` and the ``als`` of implicit take those of cg."""


def check_taken(name: str, settings: dict[str, Any]) -> None:
    """Raise for the first setting that the solver would not look at."""
    solver = settings.get("solver") or {"ratings": "bayes", "implicit": "cg"}[name]
    alike = "cg" if name == "implicit" and solver in ("exact", "als") else solver
    if alike not in TAKEN:
        return  # the estimator lists those that there are
    of_solvers = set().union(*TAKEN.values())
    for setting in sorted(of_solvers - TAKEN[alike]):
        if settings.get(setting) is not None:
            takers = [other for other, taken in TAKEN.items() if setting in taken]
            raise InputError(
                f"{option_of(setting)} expected a solver that looks at it ({', '.join(takers)}), "
                f"got {solver}. Leave it out or choose another --solver."
            )


def columns_named(
    columns: str | None, user: str | None, item: str | None, value: str | None
) -> tuple[str, ...] | None:
    """Return the columns as ``--columns``, or ``--user``, ``--item`` and ``--value``, name them."""
    given = {"--user": user, "--item": item, "--value": value}
    told = [name for name, column in given.items() if column is not None]
    if columns is not None:
        if told:
            raise InputError(
                f"{told[0]} expected no --columns beside it, got {columns}. "
                "Name columns in one way."
            )
        return words(columns)
    if not told:
        return None
    if user is None or item is None:
        raise InputError(
            f"{told[0]} expected both --user and --item, got one of them. Name both columns."
        )
    return (user, item) if value is None else (user, item, value)


def fit(
    files: Sequence[str],
    name: str,
    settings: dict[str, Any],
    of_pairs: dict[str, Any],
    path: Path,
    test: str | None,
    test_fraction: float,
) -> None:
    """Measure a model on held-out interactions, fit it on all of them, and save it.

    Pairs that come twice are one interaction before anything is held out. A fit that Ctrl-C ends is
    saved as it is.

    Parameters
    ----------
    files : sequence of str
        One file, or several with the same columns.
    name : str
        Of a family of `families.FACTORIZATIONS`.
    settings : dict
        Of any estimator.
    of_pairs : dict
        What `lamina fit` asks of users and items alone: columns, and more settings.
    path : Path
        Where to save it.
    test : str or None
        A file to measure on.
    test_fraction : float
        What share of each user's interactions to hold out where there is none; 0 for no test.
    """
    names = ("columns", "user", "item", "value")
    columns = columns_named(*(of_pairs[key] for key in names))
    settings = settings | {key: of_pairs[key] for key in of_pairs if key not in names}
    check_taken(name, settings)
    use_compilation_cache()
    data = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    frame = _interactions(data, files, name, columns, settings.get("duplicates") or "error")
    named = list(frame.columns)
    settings = settings | {"columns": tuple(named)}

    def fitted(rows: Any) -> Any:
        estimator = families.estimator_of(families.FACTORIZATIONS[name], settings)
        estimator.fit(rows)
        return estimator

    if test is not None or not test_fraction:
        held_out = None if test is None else read_pairs(test, tuple(map(str, named)))
        show.line("data", f"{data}: {len(frame):,} interactions")
        estimator = fitted(frame)
        _report(estimator)
        if held_out is not None:
            show.line("test", headline(estimator, held_out))
    else:
        users, seed = frame[named[0]].to_numpy(), settings["random_state"]
        split = hold_out(users, fraction=test_fraction, random_state=seed)
        if not len(split.test):
            raise InputError(
                f"--test-fraction expected to hold out interactions, got {test_fraction} of "
                f"{len(frame):,} where few users have two. Use --test-fraction 0."
            )
        train, held_out = frame.iloc[split.train], frame.iloc[split.test]
        show.line("data", f"{data}: {len(train):,} to train on, {len(held_out):,} not")
        measured = fitted(train)
        show.line("test", headline(measured, held_out))
        cut_short = len(measured.history_.get("iteration", ())) not in (0, measured.iterations)
        estimator = measured if cut_short else fitted(frame)
        _report(estimator)
        how = "so far" if cut_short else "again, with the same settings, on all"
        rows = len(train if cut_short else frame)
        show.line("fitted", f"{how} {'on ' if cut_short else ''}{rows:,} interactions")
    training.save(estimator, path)


def _interactions(
    data: str, files: Sequence[str], name: str, columns: tuple[str, ...] | None, duplicates: str
) -> Any:
    """Return users, items and perhaps values, no pair twice; print which column is what."""
    frame: Any = read_all_pairs(files, columns)
    named = frame_columns(frame, columns)
    if name == "ratings" and len(named) < 3:
        raise InputError(
            f"{data} expected a column of ratings, got {', '.join(map(str, named))} only. Name it: "
            "--columns USER,ITEM,RATING; for interactions without ratings use --model implicit."
        )
    show.line("columns", _as_taken(frame, named))
    return _merged(data, frame[named], duplicates)


def _as_taken(frame: Any, named: Sequence[Any]) -> str:
    """Return which column is what; warn where values look like times."""
    if len(named) > 2:
        values = frame[named[2]]
        if values.dtype.kind == "M" or (values.dtype.kind in "iuf" and values.median() > 1e8):
            warnings.warn(
                f"The values, of column {named[2]}, look like times. Name the columns to take: "
                "--columns USER,ITEM or USER,ITEM,VALUE.",
                stacklevel=2,
            )
    kinds = zip(("user", "item", "value"), named, strict=False)
    return ", ".join(f"{what} {name}" for what, name in kinds)


def _merged(
    data: str,
    frame: Any,
    how: str,
    remedy: str = "Say what to do: --duplicates sum, mean or last.",
) -> Any:
    """Return interactions in which no pair of user and item comes twice.

    Parameters
    ----------
    data : str
        The file, for the error.
    frame : DataFrame
        Users, items, and perhaps values.
    how : {"error", "sum", "mean", "last"}
        What becomes of the values; without any, the sum is how often a pair came.
    remedy : str
        What the user can do about them.
    """
    check_choice("--duplicates", how, DUPLICATES)
    pair = list(frame.columns[:2])
    repeated = int(frame.duplicated(pair).sum())
    if not repeated:
        return frame
    if how == "error":
        raise InputError(
            f"{data} expected each pair of a user and an item once, got {repeated:,} "
            f"{'row that repeats' if repeated == 1 else 'rows that repeat'} an earlier one. "
            f"{remedy}"
        )
    if how == "sum" and len(frame.columns) == 2:
        frame = frame.assign(count=1.0)
    if len(frame.columns) == 2 or how == "last":
        return frame.drop_duplicates(pair, keep="last")
    if frame.iloc[:, 2].dtype.kind not in "iufb" or frame.isna().any(axis=None):
        return frame  # the estimator tells what is wrong with them
    return frame.groupby(pair, sort=False, as_index=False)[[frame.columns[2]]].agg(how)


def headline(estimator: Factorization, held_out: pd.DataFrame) -> str:
    """Return the figures that matter: errors of ratings, or how good lists of ten are."""
    if isinstance(estimator, RatingFactorization):
        return _errors(estimator.evaluate(held_out))
    found = estimator.rank_figures(held_out)
    return (
        f"NDCG@10 {found['ndcg@10']:.4f}, recall@10 {found['recall@10']:.4f} for "
        f"{found['users']:,.0f} users"
    )


def _errors(found: dict[str, float]) -> str:
    ratings = f"{found['ratings']:,.0f} ratings"
    return f"RMSE {found['rmse']:.4f}, mean |error| {found['mae']:.4f} on {ratings}"


def _report(estimator: Any) -> None:
    users, items, rank = len(estimator.users_), len(estimator.items_), estimator.rank
    shape = f"{users:,} users × {items:,} items, rank {rank}"
    show.line("model", f"{type(estimator).__name__}, {shape}")
    history = estimator.history_
    skipped = ("iteration", "epoch", "seconds", "learning_rate", "gradient_norm")
    shown = {name: values[-1] for name, values in history.items() if name not in skipped}
    figures = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
    steps = "epochs" if "epoch" in history else "iterations"
    seconds = sum(history["seconds"])
    show.line("trained", f"{len(history['loss'])} {steps} in {seconds:.1f} s: {figures}")


def evaluate(estimator: Factorization, model: Path, data: str, at: Sequence[int] | None) -> None:
    """Print a saved model's figures on held-out interactions."""
    if at is not None:
        check_number("--at", max(at), at_least=1, at_most=len(estimator.items_), whole=True)
    frame: Any = read_pairs(data, estimator.columns)
    if at is not None or not isinstance(estimator, RatingFactorization):
        frame = frame[frame_columns(frame, estimator.columns)]
        remedy = "Delete them, or fit the model with --duplicates sum, mean or last."
        frame = _merged(data, frame, estimator.duplicates, remedy)
    show.line("model", f"{model}: {type(estimator).__name__}")
    show.line("data", f"{data}: {len(frame):,} interactions")
    if isinstance(estimator, RatingFactorization):
        found = estimator.evaluate(frame)
        show.line("result", _errors(found))
        if found["unknown"]:
            show.line("unknown", f"{found['unknown']:,.0f} with a user or item not in training")
        if found["seen"]:
            show.line(
                "note",
                f"{found['seen']:,.0f} of them were trained on; on new ones expect more error.",
            )
        if at is None:
            return
    lengths = tuple(at or (10,))
    found = estimator.rank_figures(frame, at=lengths)
    names = [key.removesuffix(f"@{lengths[0]}") for key in found if key.endswith(f"@{lengths[0]}")]
    rows = [[name, *(f"{found[f'{name}@{k}']:.4f}" for k in lengths)] for name in names]
    title = f"means over {found['users']:,.0f} users"
    if found["unknown_users"]:
        title += f", {found['unknown_users']:,.0f} of them unknown: they get the most popular items"
    show.console().print(show.table(["metric", *(f"@{k}" for k in lengths)], rows, title))
    if found["seen"]:
        show.line(
            "note",
            f"{found['seen']:,.0f} of the relevant items were in training too: they are not "
            "recommended again, and so count as missed.",
        )


def positions(text: str | None) -> tuple[int, ...] | None:
    """Return the lengths that ``--at 10,20`` names."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(
        part.isascii() and part.isdigit() and len(part) < 10 and int(part) for part in parts
    ):
        raise InputError(f"--at expected lengths of lists like 10,20,50; got {text!r}.")
    return tuple(int(part) for part in np.unique(np.array(parts, np.int64)))
