"""``lamina compress``: a smaller model that does nearly the same, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamina.cli import options
from lamina.cli.options import in_output, numbers
from lamina.errors import InputError, check_choice

if TYPE_CHECKING:
    from lamina.inspection.compression import Compressed, Compression


def compress(
    model: options.ModelFile,
    data: Annotated[
        str,
        typer.Argument(
            help="Data with targets, best those that it was trained on; a tenth is held out to "
            "measure on. Of a known data set the training part."
        ),
    ],
    budget: Annotated[
        float, typer.Option(help="The share of its numbers that the model may keep.")
    ] = 0.25,
    method: Annotated[
        str,
        typer.Option(
            help="svd: products of low rank; units: fewer units; prune: entries that are zero, a "
            "smaller file but no faster; auto: what measures best."
        ),
    ] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the data to train the smaller model on, 0 for none; about 1,500 "
            "steps if left out."
        ),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(help="More budgets, for the table and the curve: 0.5,0.1.")
    ] = None,
    target: options.TargetAsTrained = None,
    size: options.Size = None,
    png: Annotated[
        Path | None, in_output(help="Draw accuracy against size into this file.")
    ] = None,
    out: Annotated[
        Path | None,
        in_output("--out", "-o", help="The smaller model; MODEL-small if left out."),
    ] = None,
) -> None:
    """Make a model smaller: fewer numbers for nearly the same predictions."""
    from lamina.cache import use_compilation_cache
    from lamina.cli import reading as readings
    from lamina.cli import show, training
    from lamina.estimators.base import NetworkEstimator
    from lamina.estimators.persistence import load
    from lamina.formats.trained_on import seen
    from lamina.inspection.compression import AUTO, WAYS
    from lamina.inspection.compression import compress as compressed

    check_choice("--method", method, (AUTO, *WAYS))
    out = out or model.with_name(f"{model.stem}-small.safetensors")
    show.check_outputs([model, data], out=out, png=png)
    estimator = load(model)
    training.check_predicts(estimator)
    if not isinstance(estimator, NetworkEstimator) or type(estimator).__name__ == "Forecaster":
        raise InputError(
            f"compress expected a network that predicts from rows, got {type(estimator).__name__}. "
            "Use a model of lamina fit --model mlp, conv, lstm or another network."
        )
    use_compilation_cache()
    dataset = readings.labelled(estimator, data, target=target, size=size, part="train")
    dataset = seen(estimator, dataset)
    show.line("data", f"{dataset.source}: {len(dataset):,} rows, a tenth of them to measure on")

    def told(row: Compressed) -> None:
        show.line(row.method, f"{row.numbers:,} numbers: {row.metric} {row.figure:.4f}")

    found = compressed(
        estimator, dataset.X, dataset.y, _budgets(budget, sweep), method, epochs, told
    )
    best = found.best(budget)
    _print_tried(found, best)
    if png is not None:
        found.draw().savefig(png, dpi=150)
        show.line("picture", png)
    before = show.file_size(model)
    training.save(best.model, out)
    show.line("before", f"{model} ({before}); measure both on a test set: lamina evaluate")


def _budgets(budget: float, sweep: str | None) -> list[float]:
    """Return all budgets to try, the one to save first."""
    others = numbers("--sweep", sweep, kind=float) or ()
    return list(dict.fromkeys([budget, *others]))


def _print_tried(found: Compression, best: Compressed) -> None:
    from lamina.cli import show

    whole = found.whole
    rows = [
        (
            each.method,
            f"{each.budget:.0%}",
            f"{each.numbers:,}",
            f"{each.numbers / whole.numbers:.1%}",
            f"{each.operations / whole.operations:.1%}",
            f"{each.figure:.4f}",
            f"{each.figure - whole.figure:+.4f}",
            "saved" if each is best else "",
        )
        for each in found.tried
    ]
    columns = ["method", "budget", "numbers", "share", "operations", whole.metric, "change", ""]
    title = f"measured on {found.held_out:,} rows held out"
    show.console().print(show.table(columns, rows, title))
