"""``lamina plan``: what a network on this data costs, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lamina.cli import options
from lamina.cli.families import MODELS, TASKS
from lamina.cli.options import in_data, in_network, numbers
from lamina.errors import check_choice

if TYPE_CHECKING:
    from lamina.inspection import Plan

PLANNED = [family for family in MODELS if family != "transfer"]


def plan(
    data: Annotated[str, typer.Argument(help="What `lamina fit` would train on.")],
    target: options.Target = None,
    test_fraction: Annotated[float, in_data(help="Share of rows that fit would hold out.")] = 0.2,
    task: options.Task = "auto",
    image_shape: options.ImageShape = None,
    series_shape: options.SeriesShape = None,
    model: Annotated[
        str | None, in_network(help=f"The network: {', '.join(PLANNED)}. As fit would choose.")
    ] = None,
    hidden: options.Hidden = None,
    filters: options.Filters = None,
    kernel_size: options.KernelSize = None,
    depth: options.Depth = None,
    optimizer: options.Optimizer = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
) -> None:
    """Show what each matrix of a network costs to train on this data; nothing is trained."""
    from lamina.cli import data as sources
    from lamina.cli import families, show, training

    check_choice("--task", task, TASKS)
    if model is not None:
        check_choice("--model", model, PLANNED)
    settings = {
        "hidden": numbers("--hidden", hidden),
        "filters": numbers("--filters", filters),
        "kernel_size": kernel_size,
        "depth": depth,
        "image_shape": numbers("--image-shape", image_shape, "x"),
        "series_shape": numbers("--series-shape", series_shape, "x"),
        "optimizer": optimizer,
        "batch_size": batch_size,
        "max_epochs": epochs,
        "random_state": 0,
        "verbose": 0,
    }
    dataset = sources.train_and_test(data, target, None, test_fraction, 0).train
    estimator = families.estimator_on(dataset, model, task, settings)
    costs, steps = estimator.plan(dataset.X, dataset.y)
    show.line("data", f"{dataset.source}: {len(dataset):,} rows, {costs.batch_size:,} a step")
    _print_costs(costs, steps)
    needed, free = costs.training_bytes, training.free_memory()
    show.line("memory", f"{needed / 1e6:,.1f} MB beside the data, {free / 1e9:,.1f} GB are free")
    needed += getattr(dataset.X, "nbytes", 0)
    if needed > free:
        show.line(
            "warning",
            f"It will not fit: {needed / 1e9:,.1f} GB are needed. Take a smaller "
            "--batch-size, which what is saved grows with, or fewer units.",
        )


def _print_costs(costs: Plan, steps: int) -> None:
    from lamina.cli import show

    rows = [
        [
            cost.path,
            cost.product,
            f"{cost.parameters:,}",
            f"{cost.forward / 1e6:,.2f}",
            f"{cost.backward / 1e6:,.2f}",
            f"{cost.saved / 1e6:,.2f}",
        ]
        for cost in costs.layers
        if cost.parameters or cost.saved
    ]
    columns = ["layer", "product", "weights", "Mflop forward", "backward", "MB saved"]
    show.console().print(show.table(columns, rows))
    show.line("weights", f"{costs.parameters:,}, {costs.weight_bytes / 1e6:,.2f} MB")
    show.line("step", f"{costs.step / 1e9:,.3f} Gflop, of which {costs.forward / 1e9:,.3f} forward")
    show.line("run", f"{steps:,} steps, {costs.step * steps / 1e12:,.3f} Tflop")
