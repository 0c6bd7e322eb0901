"""``lamina fit``: from a file to a trained, saved network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lamina.cli import options
from lamina.cli.families import FACTORIZATIONS, MODELS, TASKS, check_family
from lamina.cli.options import (
    in_conv,
    in_data,
    in_network,
    in_output,
    in_series,
    in_training,
    numbers,
    refuse,
    words,
)
from lamina.errors import InputError, check_choice, check_number

in_transfer = partial(typer.Option, rich_help_panel="Network: transfer")
in_recurrent = partial(typer.Option, rich_help_panel="Network: lstm, gru, rnn")
in_forecast = partial(typer.Option, rich_help_panel="Forecast")
in_pairs = partial(typer.Option, rich_help_panel="Users and items: ratings, implicit")


def fit(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="A table (.csv, .tsv, .parquet), .npz, IDX or CIFAR files, a folder of images "
            "with a folder per class, series (.ts, .wav), a text (.txt), or a known data set's "
            "name (see lamina datasets). Several tables of users and items are read as one.",
        ),
    ],
    target: options.Target = None,
    task: options.Task = "auto",
    test: Annotated[str | None, in_data(help="Test data; never trained on.")] = None,
    test_fraction: Annotated[
        float, in_data(help="Share of rows held out to test on, where there is no test data.")
    ] = 0.2,
    validation: Annotated[str | None, in_data(help="Data to validate on after each epoch.")] = None,
    drop: Annotated[
        list[str] | None, in_data(help="A column to leave out; may be repeated.")
    ] = None,
    size: options.Size = None,
    skip_bad: options.SkipBad = False,
    stream: Annotated[
        bool,
        in_data(
            help="Read the data from disk as they are trained on, as they may be larger than the "
            "memory: Parquet, .npy, a folder of these or of images."
        ),
    ] = False,
    image_shape: options.ImageShape = None,
    series_id: Annotated[
        str | None,
        in_series(
            help="For a table with a row a step: the column that says which series it is of."
        ),
    ] = None,
    time: Annotated[
        str | None,
        in_series(
            help="The column of times, numbers or dates, that orders the rows of a series; for a "
            "forecast found if left out."
        ),
    ] = None,
    series_shape: options.SeriesShape = None,
    text: Annotated[
        str | None, in_series(help="The column of texts to classify, or to predict a value from.")
    ] = None,
    unknown: Annotated[
        str | None,
        in_series(help="Words of a text never seen in training: error, or replace (usual)."),
    ] = None,
    sound: Annotated[
        str | None, in_series(help="What describes a frame of sound: log-mel (usual) or samples.")
    ] = None,
    frame: Annotated[float | None, in_series(help="Seconds in a frame; 0.025 if left out.")] = None,
    hop: Annotated[
        float | None, in_series(help="Seconds from frame to frame; 0.01 if left out.")
    ] = None,
    bands: Annotated[int | None, in_series(help="Bands of log-mel; 40 if left out.")] = None,
    model: Annotated[
        str | None,
        in_network(
            help=f"The network: {', '.join(MODELS)}; or for users and items "
            f"{', '.join(FACTORIZATIONS)}. If left out mlp; lstm for series and texts, gru for a "
            "forecast."
        ),
    ] = None,
    hidden: options.Hidden = None,
    activation: Annotated[str | None, in_network(help="relu (usual), tanh, gelu, …")] = None,
    init: Annotated[str | None, in_network(help="he, glorot, lecun, …")] = None,
    rank: Annotated[
        int | None, in_network(help="Length of users' and items' vectors; rank of lora's changes.")
    ] = None,
    dropout: Annotated[
        float | None,
        in_network(help="Share of hidden outputs dropped in training; mlp 0, others 0.2."),
    ] = None,
    filters: options.Filters = None,
    kernel_size: options.KernelSize = None,
    depth: options.Depth = None,
    augment: Annotated[
        str | None, in_conv(help="Change training images: some of flip,shift,cutout,mixup.")
    ] = None,
    backbone: Annotated[
        str | None,
        in_transfer(
            help="What to begin with: efficientnet_lite0, a file of weights (.safetensors, .pth), "
            "a model file, or hf:owner/name."
        ),
    ] = None,
    tune: Annotated[
        str | None, in_transfer(help="What trains: head (usual), last:2, all, or lora.")
    ] = None,
    head_learning_rate: Annotated[float | None, in_transfer(help="The scores' rate.")] = None,
    backbone_learning_rate: Annotated[
        float | None, in_transfer(help="The backbone's rate; a tenth of the scores' if left out.")
    ] = None,
    layer_decay: Annotated[
        float | None, in_transfer(help="Factor on the rate from each stage to the one before.")
    ] = None,
    pooling: Annotated[
        str | None, in_recurrent(help="What of all states is taken: last, mean, max.")
    ] = None,
    generate_level: Annotated[
        str | None, in_recurrent(help="Train a language model on a text, of its char or word.")
    ] = None,
    window: Annotated[
        int | None, in_recurrent(help="Steps that a forecast or a gradient looks back over.")
    ] = None,
    forecast: Annotated[
        str | None, in_forecast(help="Forecast these columns of a table: a,b.")
    ] = None,
    horizon: Annotated[int | None, in_forecast(help="Steps to forecast; 12 if left out.")] = None,
    season: Annotated[int | None, in_forecast(help="Steps of a season; found if left out.")] = None,
    exogenous: Annotated[
        str | None, in_forecast(help="Columns to read beside the forecast ones: a,b or all.")
    ] = None,
    columns: Annotated[
        str | None,
        in_pairs(help="The file's columns: USER,ITEM,VALUE; or names for a file without a header."),
    ] = None,
    user: Annotated[str | None, in_pairs(help="The column of users.")] = None,
    item: Annotated[str | None, in_pairs(help="The column of items.")] = None,
    value: Annotated[str | None, in_pairs(help="The column of ratings, or of counts.")] = None,
    duplicates: Annotated[
        str | None, in_pairs(help="Pairs that come twice: error (usual), sum, mean, last.")
    ] = None,
    iterations: Annotated[int | None, in_pairs(help="Of the alternating solvers.")] = None,
    solver: Annotated[
        str | None, in_pairs(help="For ratings bayes, als, sgd; for implicit cg, exact, bpr.")
    ] = None,
    unobserved_weight: Annotated[
        float | None, in_pairs(help="implicit: the weight of what was not seen.")
    ] = None,
    regularization: Annotated[float | None, in_pairs(help="implicit: the L2 penalty.")] = None,
    exponent: Annotated[
        float | None, in_pairs(help="How the L2 penalty grows with a row's interactions.")
    ] = None,
    average_weights: Annotated[
        float | None, in_training(help="Decay of the weights' moving average, such as 0.999.")
    ] = None,
    loss: Annotated[
        str | None, in_training(help="softmax, hinge; squared, absolute, huber.")
    ] = None,
    penalty: Annotated[
        str | None, in_training(help="l1, l2, elastic_net, or none; on weight matrices.")
    ] = None,
    alpha: Annotated[
        float | None, in_training(help="The penalty's strength; 1e-4, conv 0.01.")
    ] = None,
    l1_ratio: Annotated[float | None, in_training(help="Share of L1 in elastic_net.")] = None,
    optimizer: options.Optimizer = None,
    learning_rate: Annotated[
        float | None, in_training(help="The base rate; mlp 0.001, conv and recurrent 0.003.")
    ] = None,
    schedule: Annotated[
        str | None, in_training(help="constant, cosine, one_cycle, exponential, plateau.")
    ] = None,
    clip_norm: Annotated[float | None, in_training(help="Bound on the gradient norm.")] = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
    early_stopping: Annotated[
        int | None, in_training(help="Stop after so many epochs without a better validation loss.")
    ] = None,
    class_weight: Annotated[
        str | None, in_training(help="balanced: every class counts the same in all.")
    ] = None,
    precision: Annotated[str | None, in_training(help="float32, float64 or bfloat16.")] = None,
    devices: Annotated[
        str | None,
        in_training(help="Devices to share the work: all, a number, or DATAxMODEL as 4x2."),
    ] = None,
    distributed: Annotated[
        bool, in_training(help="Join the processes that Slurm, mpirun or another cluster started.")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        in_training(
            help="A folder to keep the run in as it goes; the same command goes on from it."
        ),
    ] = None,
    resume: Annotated[
        Path | None, in_training(help="The folder of a run that has begun, to go on with.")
    ] = None,
    metrics: Annotated[
        Path | None, in_training(help="Write each epoch's figures to this file as a JSON line.")
    ] = None,
    watch: Annotated[
        bool,
        in_training(help="Record each matrix's gradient, step and norm by epoch, and print them."),
    ] = False,
    seed: Annotated[int, in_training(help="Seeds the split, the weights and the order.")] = 0,
    out: Annotated[
        Path | None,
        in_output(
            "--out", "-o", help="The model file; a new file named after the data if left out."
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a network, or a model of users and items, on a file and save it."""
    from lamina.cli import data as sources
    from lamina.cli import reading as readings
    from lamina.cli import rows, show, streaming, training

    if distributed:
        training.join_processes()
    check_family(model, generate_level, forecast)
    data = _one_of(files, model)
    check_choice("--task", task, TASKS)
    check_number("--seed", seed, at_least=0, whole=True)
    check_number("--test-fraction", test_fraction, at_least=0, below=1)
    settings = dict(  # noqa: C408
        hidden=numbers("--hidden", hidden), filters=numbers("--filters", filters),
        kernel_size=kernel_size, depth=depth, augment=words(augment),
        image_shape=numbers("--image-shape", image_shape, "x"), average_weights=average_weights,
        activation=activation, init=init, dropout=dropout, loss=loss, pooling=pooling,
        series_shape=numbers("--series-shape", series_shape, "x"), level=generate_level,
        window=window, horizon=horizon, season=season,
        backbone=backbone, tune=tune, rank=rank, head_learning_rate=head_learning_rate,
        backbone_learning_rate=backbone_learning_rate, layer_decay=layer_decay,
        penalty=penalty, alpha=alpha, l1_ratio=l1_ratio, optimizer=optimizer,
        learning_rate=learning_rate, schedule=schedule, clip_norm=clip_norm, batch_size=batch_size,
        max_epochs=epochs, early_stopping=early_stopping, class_weight=class_weight,
        precision=precision, devices=training.devices_told(devices, distributed),
        random_state=seed, verbose=0 if quiet else 1,
        checkpoint=training.folder_of_the_run(checkpoint, resume),
        callbacks=training.watchers(metrics, watch),
    )  # fmt: skip
    of_pairs = dict(  # noqa: C408
        columns=columns, user=user, item=item, value=value, duplicates=duplicates,
        iterations=iterations, solver=solver, unobserved_weight=unobserved_weight,
        regularization=regularization, exponent=exponent,
    )  # fmt: skip
    of_rows = dict(  # noqa: C408
        target=target, test=test, validation=validation, drop=drop, size=size, skip_bad=skip_bad,
        series_id=series_id, text=text, unknown=unknown, sound=sound, frame=frame, hop=hop,
        bands=bands,
    )  # fmt: skip
    of_steps = {"time": time, "forecast": forecast, "exogenous": exogenous}
    path = _named(out, data)
    show.check_outputs([*files, test, validation], out=path, metrics=metrics)
    if stream:
        others = {"generate_level": generate_level, "series_shape": series_shape}
        streaming.refuse_others(
            of_rows | of_pairs | of_steps | others,
            but=("target", "test", "validation", "drop", "size"),
        )
        streaming.fit(
            data, model, task, test, test_fraction, validation, settings, path,
            target=target, drop=drop, size=sources.image_size(size),
        )  # fmt: skip
        return
    if model in FACTORIZATIONS:
        from lamina.cli import pairs

        del of_rows["test"]
        others = of_rows | of_steps | {"generate_level": generate_level}
        refuse("a labelled data set", "users and items", **others)
        pairs.fit(files, model, settings, of_pairs, path, test, test_fraction)
        return
    refuse("--model ratings or implicit", model or "none", **of_pairs)
    if generate_level is not None:
        from lamina.cli import language

        refuse("a labelled data set", "a text to learn to write", **of_rows, **of_steps)
        language.fit(data, settings | {"cell": model or "lstm"}, path)
        return
    if forecast is not None:
        from lamina.cli import forecasting

        refuse("a model of rows", "one that forecasts series", **of_rows)
        refuse("a fit of more than seconds", "a forecast", checkpoint=checkpoint or resume)
        settings["cell"] = model or "gru"
        forecasting.fit(data, forecast, time, exogenous, test_fraction, settings, path)
        return
    refuse("--forecast COLUMNS beside it", "none", exogenous=exogenous)
    rows.fit(
        data, model, task, test, test_fraction, validation, settings, path,
        target=target, unknown=unknown, drop=drop or (), size=sources.image_size(size),
        skip_bad=skip_bad, reading=readings.told(
            series_id=series_id, time=time, text=text, sound=sound, frame=frame, hop=hop,
            bands=bands,
        ),
    )  # fmt: skip


def _one_of(files: list[str], model: str | None) -> str:
    """Return the first file, where there may be more, or the only one."""
    if len(files) > 1 and model not in FACTORIZATIONS:
        raise InputError(
            f"lamina fit expected one data set, got {len(files)}: {', '.join(files[:3])}. "
            f"Several are for --model {' or '.join(FACTORIZATIONS)}; join others into one."
        )
    return files[0]


def _named(out: Path | None, data: str) -> Path:
    """Return where to write: never over a file that was not named."""
    if out is None:
        stem = Path(data.rstrip("/\\")).name.split(".")[0] or "model"
        out = Path(f"{stem}.safetensors")
        number = 2
        while out.exists():
            out, number = Path(f"{stem}-{number}.safetensors"), number + 1
    return out
