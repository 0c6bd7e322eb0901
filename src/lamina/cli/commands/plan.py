"""``lamina plan``: what a network on this data costs, before anything is trained."""

from __future__ import annotations

from typing import Annotated

import typer

from lamina.cli.commands.fit import MODELS, TASKS, _numbers
from lamina.cli.training import CELLS
from lamina.errors import check_choice


def plan(
    data: Annotated[str, typer.Argument(help="What `lamina fit` would train on.")],
    target: Annotated[str | None, typer.Option(help="The column to predict; tables only.")] = None,
    test_fraction: Annotated[
        float, typer.Option(help="Share of rows that fit would hold out.")
    ] = 0.2,
    task: Annotated[str, typer.Option(help="classify, regress, or auto: by the target.")] = "auto",
    model: Annotated[
        str | None, typer.Option(help=f"The network: {', '.join(MODELS)}. As fit would choose.")
    ] = None,
    hidden: Annotated[str | None, typer.Option(help="Units of each hidden layer: 512,256.")] = None,
    filters: Annotated[
        str | None, typer.Option(help="Channels of each convolutional stage: 32,64.")
    ] = None,
    kernel_size: Annotated[int | None, typer.Option(help="The filters' side.")] = None,
    depth: Annotated[int | None, typer.Option(help="Convolutions in a stage.")] = None,
    image_shape: Annotated[
        str | None, typer.Option(help="What rows of numbers are: HEIGHTxWIDTHxCHANNELS.")
    ] = None,
    series_shape: Annotated[
        str | None, typer.Option(help="What rows of numbers are: STEPSxCHANNELS.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="gd, sgd, momentum, nesterov, rmsprop, adam, adamw, lbfgs.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
) -> None:
    """Show what each matrix of a network costs to train on this data; nothing is trained."""
    from lamina.cli import data as sources
    from lamina.cli import show, training

    show.warnings_as_lines()
    check_choice("--task", task, TASKS)
    settings = {
        "hidden": _numbers("--hidden", hidden),
        "filters": _numbers("--filters", filters),
        "kernel_size": kernel_size,
        "depth": depth,
        "image_shape": _numbers("--image-shape", image_shape, "x"),
        "series_shape": _numbers("--series-shape", series_shape, "x"),
        "optimizer": optimizer,
        "batch_size": batch_size,
        "max_epochs": epochs,
        "random_state": 0,
        "verbose": 0,
    }
    dataset, _ = sources.train_and_test(data, target, None, test_fraction, 0)
    assert dataset.y is not None
    if model is not None:
        check_choice("--model", model, [name for name in MODELS if name != "transfer"])
    family = training.family_for(model, dataset, settings["series_shape"] is not None)
    settings["cell"] = family if family in CELLS else None
    classify = sources.is_classification(dataset.y) if task == "auto" else task == "classify"
    estimator = training.estimator_of(MODELS[family][0 if classify else 1], settings)
    estimator.encoder = training.encoder_of(dataset, settings["series_shape"], None)
    costs, steps = estimator.plan(dataset.X, dataset.y)

    show.line("data", f"{dataset.source}: {len(dataset):,} rows, {costs.batch_size:,} a step")
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
    of_data = getattr(dataset.X, "nbytes", 0)
    needed, free = costs.training_bytes, training.free_memory()
    show.line("memory", f"{needed / 1e6:,.1f} MB beside the data, {free / 1e9:,.1f} GB are free")
    if needed + of_data > free:
        show.line(
            "warning",
            f"It will not fit: {(needed + of_data) / 1e9:,.1f} GB are needed. Take a smaller "
            "--batch-size, which what is saved grows with, or fewer units.",
        )
