"""``lamina fit``: from a file to a trained, saved network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lamina.cli.training import CELLS
from lamina.errors import InputError, check_choice, check_number

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

_data = partial(typer.Option, rich_help_panel="Data")
_network = partial(typer.Option, rich_help_panel="Network")
_convolutional = partial(typer.Option, rich_help_panel="Network: conv")
_transfer = partial(typer.Option, rich_help_panel="Network: transfer")
_recurrent = partial(typer.Option, rich_help_panel="Network: lstm, gru, rnn")
_forecast = partial(typer.Option, rich_help_panel="Forecast")
_series = partial(typer.Option, rich_help_panel="Data: series, texts and sounds")
_pairs = partial(typer.Option, rich_help_panel="Users and items: ratings, implicit")
_training = partial(typer.Option, rich_help_panel="Training")
_output = partial(typer.Option, rich_help_panel="Output")

FACTORIZATIONS = ("ratings", "implicit")
"""Families of models of users and items."""

TASKS = ("auto", "classify", "regress")


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
    target: Annotated[str | None, _data(help="The column to predict; tables only.")] = None,
    task: Annotated[str, _data(help="classify, regress, or auto: by the target.")] = "auto",
    test: Annotated[str | None, _data(help="Test data; never trained on.")] = None,
    test_fraction: Annotated[
        float, _data(help="Share of rows held out to test on, where there is no test data.")
    ] = 0.2,
    validation: Annotated[str | None, _data(help="Data to validate on after each epoch.")] = None,
    drop: Annotated[list[str] | None, _data(help="A column to leave out; may be repeated.")] = None,
    size: Annotated[str | None, _data(help="Resize a folder's images: HEIGHTxWIDTH.")] = None,
    skip_bad: Annotated[bool, _data(help="Skip unreadable images, and count them.")] = False,
    stream: Annotated[
        bool,
        _data(
            help="Read the data from disk as they are trained on, as they may be larger than the "
            "memory: Parquet, .npy, a folder of these or of images."
        ),
    ] = False,
    image_shape: Annotated[
        str | None,
        _data(help="What rows of numbers are: HEIGHTxWIDTHxCHANNELS."),
    ] = None,
    series_id: Annotated[
        str | None,
        _series(help="For a table with a row a step: the column that says which series it is of."),
    ] = None,
    time: Annotated[
        str | None,
        _series(
            help="The column of times, numbers or dates, that orders the rows of a series; for a "
            "forecast found if left out."
        ),
    ] = None,
    series_shape: Annotated[
        str | None, _series(help="What rows of numbers are: STEPSxCHANNELS.")
    ] = None,
    text: Annotated[
        str | None, _series(help="The column of texts to classify, or to predict a value from.")
    ] = None,
    unknown: Annotated[
        str | None,
        _series(help="Words of a text never seen in training: error, or replace (usual)."),
    ] = None,
    sound: Annotated[
        str | None, _series(help="What describes a frame of sound: log-mel (usual) or samples.")
    ] = None,
    frame: Annotated[float | None, _series(help="Seconds in a frame; 0.025 if left out.")] = None,
    hop: Annotated[
        float | None, _series(help="Seconds from frame to frame; 0.01 if left out.")
    ] = None,
    bands: Annotated[int | None, _series(help="Bands of log-mel; 40 if left out.")] = None,
    model: Annotated[
        str | None,
        _network(
            help=f"The network: {', '.join(MODELS)}; or for users and items "
            f"{', '.join(FACTORIZATIONS)}. If left out mlp; lstm for series and texts, gru for a "
            "forecast."
        ),
    ] = None,
    hidden: Annotated[str | None, _network(help="Units of each hidden layer: 256,128.")] = None,
    activation: Annotated[str | None, _network(help="relu, tanh, gelu, …")] = None,
    init: Annotated[str | None, _network(help="he, glorot, lecun, …")] = None,
    rank: Annotated[
        int | None, _network(help="Length of users' and items' vectors; rank of lora's changes.")
    ] = None,
    dropout: Annotated[
        float | None, _network(help="Share of hidden outputs dropped in training.")
    ] = None,
    filters: Annotated[str | None, _convolutional(help="Channels of each stage: 32,64.")] = None,
    kernel_size: Annotated[int | None, _convolutional(help="The filters' side.")] = None,
    depth: Annotated[int | None, _convolutional(help="Convolutions in a stage.")] = None,
    augment: Annotated[
        str | None,
        _convolutional(help="Change training images: some of flip,shift,cutout,mixup."),
    ] = None,
    backbone: Annotated[
        str | None,
        _transfer(
            help="What to begin with: efficientnet_lite0, a file of weights (.safetensors, .pth), "
            "a model file, or hf:owner/name."
        ),
    ] = None,
    tune: Annotated[
        str | None, _transfer(help="What trains: head (usual), last:2, all, or lora.")
    ] = None,
    head_learning_rate: Annotated[float | None, _transfer(help="The scores' rate.")] = None,
    backbone_learning_rate: Annotated[
        float | None, _transfer(help="The backbone's rate; a tenth of the scores' if left out.")
    ] = None,
    layer_decay: Annotated[
        float | None, _transfer(help="Factor on the rate from each stage to the one before.")
    ] = None,
    pooling: Annotated[
        str | None, _recurrent(help="What of all states is taken: last, mean, max.")
    ] = None,
    generate_level: Annotated[
        str | None,
        _recurrent(help="Train a language model on a text, of its char or word."),
    ] = None,
    window: Annotated[
        int | None,
        _recurrent(help="Steps that a forecast or a gradient looks back over."),
    ] = None,
    forecast: Annotated[
        str | None,
        _forecast(help="Forecast these columns of a table: a,b."),
    ] = None,
    horizon: Annotated[int | None, _forecast(help="Steps to forecast.")] = None,
    season: Annotated[int | None, _forecast(help="Steps of a season; found if left out.")] = None,
    exogenous: Annotated[
        str | None,
        _forecast(help="Columns to read beside the forecast ones: a,b or all."),
    ] = None,
    columns: Annotated[
        str | None,
        _pairs(help="The file's columns: USER,ITEM,VALUE; or names for a file without a header."),
    ] = None,
    user: Annotated[str | None, _pairs(help="The column of users.")] = None,
    item: Annotated[str | None, _pairs(help="The column of items.")] = None,
    value: Annotated[str | None, _pairs(help="The column of ratings, or of counts.")] = None,
    duplicates: Annotated[
        str | None, _pairs(help="Pairs that come twice: error (usual), sum, mean, last.")
    ] = None,
    iterations: Annotated[int | None, _pairs(help="Of the alternating solvers.")] = None,
    solver: Annotated[
        str | None, _pairs(help="For ratings bayes, als, sgd; for implicit cg, exact, bpr.")
    ] = None,
    unobserved_weight: Annotated[
        float | None, _pairs(help="implicit: the weight of what was not seen.")
    ] = None,
    regularization: Annotated[float | None, _pairs(help="implicit: the L2 penalty.")] = None,
    exponent: Annotated[
        float | None, _pairs(help="How the L2 penalty grows with a row's interactions.")
    ] = None,
    average_weights: Annotated[
        float | None, _training(help="Decay of the weights' moving average, such as 0.999.")
    ] = None,
    loss: Annotated[str | None, _training(help="softmax, hinge; squared, absolute, huber.")] = None,
    penalty: Annotated[
        str | None, _training(help="l1, l2, elastic_net, or none; on weight matrices.")
    ] = None,
    alpha: Annotated[float | None, _training(help="The penalty's strength.")] = None,
    l1_ratio: Annotated[float | None, _training(help="Share of L1 in elastic_net.")] = None,
    optimizer: Annotated[
        str | None,
        _training(help="gd, sgd, momentum, nesterov, rmsprop, adam, adamw, muon, lbfgs."),
    ] = None,
    learning_rate: Annotated[float | None, _training(help="The base rate.")] = None,
    schedule: Annotated[
        str | None, _training(help="constant, cosine, one_cycle, exponential, plateau.")
    ] = None,
    clip_norm: Annotated[float | None, _training(help="Bound on the gradient norm.")] = None,
    batch_size: Annotated[int | None, _training(help="Samples a step.")] = None,
    epochs: Annotated[int | None, _training(help="Passes over the data.")] = None,
    early_stopping: Annotated[
        int | None,
        _training(help="Stop after so many epochs without a better validation loss."),
    ] = None,
    class_weight: Annotated[
        str | None, _training(help="balanced: every class counts the same in all.")
    ] = None,
    precision: Annotated[str | None, _training(help="float32, float64 or bfloat16.")] = None,
    devices: Annotated[
        str | None,
        _training(help="Devices to share the work: all, a number, or DATAxMODEL as 4x2."),
    ] = None,
    distributed: Annotated[
        bool, _training(help="Join the processes that Slurm, mpirun or another cluster started.")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        _training(help="A folder to keep the run in as it goes; the same command goes on from it."),
    ] = None,
    resume: Annotated[
        Path | None, _training(help="The folder of a run that has begun, to go on with.")
    ] = None,
    metrics: Annotated[
        Path | None, _training(help="Write each epoch's figures to this file as a JSON line.")
    ] = None,
    watch: Annotated[
        bool,
        _training(help="Record each matrix's gradient, step and norm by epoch, and print them."),
    ] = False,
    seed: Annotated[int, _training(help="Seeds the split, the weights and the order.")] = 0,
    out: Annotated[
        Path | None,
        _output("--out", "-o", help="The model file; a new file named after the data if left out."),
    ] = None,
    quiet: Annotated[bool, _output("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Train a network, or a model of users and items, on a file and save it."""
    from lamina.cli import data as sources
    from lamina.cli import measure, show, streaming, training
    from lamina.cli import reading as readings

    show.warnings_as_lines()
    if distributed:
        training.join_processes()
    _check_family(model, generate_level, forecast)
    data = _one_of(files, model)
    check_choice("--task", task, TASKS)
    check_number("--seed", seed, at_least=0, whole=True)
    check_number("--test-fraction", test_fraction, at_least=0, below=1)
    settings = dict(  # noqa: C408
        hidden=_numbers("--hidden", hidden), filters=_numbers("--filters", filters),
        kernel_size=kernel_size, depth=depth, augment=_words(augment),
        image_shape=_numbers("--image-shape", image_shape, "x"), average_weights=average_weights,
        activation=activation, init=init, dropout=dropout, loss=loss, pooling=pooling,
        series_shape=_numbers("--series-shape", series_shape, "x"), level=generate_level,
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
    of_pairs = {"columns": columns, "user": user, "item": item, "value": value}
    of_pairs |= {"duplicates": duplicates, "iterations": iterations, "solver": solver}
    of_pairs |= {"unobserved_weight": unobserved_weight, "regularization": regularization}
    of_pairs |= {"exponent": exponent}
    path = _writable(out, data)
    of_rows = {"target": target, "test": test, "validation": validation, "drop": drop}
    of_rows |= {"size": size, "skip_bad": skip_bad, "series_id": series_id, "text": text}
    of_rows |= {"unknown": unknown, "sound": sound, "frame": frame, "hop": hop, "bands": bands}
    if stream:
        others = of_pairs | {"generate_level": generate_level, "forecast": forecast, "time": time}
        others |= {"exogenous": exogenous, "series_shape": series_shape}
        streaming.refuse_others(
            of_rows | others, but=("target", "test", "validation", "drop", "size")
        )
        streaming.fit(
            data, MODELS, model, task, test, test_fraction, validation, settings, path,
            target=target, drop=drop, size=sources.image_size(size),
        )  # fmt: skip
        return
    if model in FACTORIZATIONS:
        others = {"generate_level": generate_level, "forecast": forecast, "exogenous": exogenous}
        del of_rows["test"]
        training.refuse("a labelled data set", "users and items", time=time, **of_rows, **others)
        _fit_pairs(files, model, of_pairs, settings, path, test, test_fraction)
        return
    training.refuse("--model ratings or implicit", model or "another", **of_pairs)
    if generate_level is not None:
        of_series = {"time": time, "forecast": forecast, "exogenous": exogenous}
        training.refuse("a labelled data set", "a text to learn to write", **of_rows, **of_series)
        training.fit_text(data, settings | {"cell": model or "lstm"}, path)
        return
    if forecast is not None:
        training.refuse("a model of rows", "one that forecasts series", **of_rows)
        training.refuse("a fit of more than seconds", "a forecast", checkpoint=checkpoint or resume)
        settings["cell"] = model or "gru"
        _fit_series(data, forecast, time, exogenous, test_fraction, settings, path)
        return
    training.refuse("--forecast COLUMNS beside it", "none", exogenous=exogenous)
    told = readings.told(
        series_id=series_id, time=time, text=text, sound=sound, frame=frame, hop=hop, bands=bands
    )
    reading: dict[str, Any] = {
        "drop": drop or (),
        "size": sources.image_size(size),
        "skip_bad": skip_bad,
        "reading": told,
    }
    streaming.notice(data)
    if model == "transfer" and size is None:
        reading["size"] = training.size_for_backbone(data, backbone)
    train, held_out = sources.train_and_test(data, target, test, test_fraction, seed, **reading)
    assert train.y is not None
    model = training.family_for(model, train, settings["series_shape"] is not None)
    settings["cell"] = model if model in CELLS else None
    classify = sources.is_classification(train.y) if task == "auto" else task == "classify"
    name = MODELS[model][0 if classify else 1]
    if name is None:
        raise InputError(
            f"--model {model} expected classes to tell apart, got values. Use --task classify or "
            "another --model."
        )
    estimator = training.estimator_of(name, settings)
    estimator.encoder = training.encoder_of(train, settings["series_shape"], unknown)
    validate = None
    if validation is not None:
        validate = sources.read_like(train, validation, target, **reading)

    show.line("data", f"{train.source}: {len(train):,} rows to train on")
    y = sources.with_name(train.y, target)
    training.train(
        estimator,
        path,
        train.X,
        y,
        validation_data=None if validate is None else (validate.X, validate.y),
    )
    training.report(estimator, f"{len(estimator.classes_)} classes" if classify else "values")
    if held_out is not None:
        show.line("test", measure.headline(estimator, held_out))
    training.save(estimator, path)


def _check_family(told: str | None, generate_level: str | None, forecast: str | None) -> None:
    """Raise for a family of networks that there is not, or that does not do the task."""
    if told is None:
        return
    if forecast is None and generate_level is None:
        check_choice("--model", told, (*MODELS, *FACTORIZATIONS))
    elif told not in CELLS:
        task = "--generate-level" if forecast is None else "--forecast"
        raise InputError(f"{task} expected --model {', '.join(CELLS)}, got {told!r}.")


def _one_of(files: list[str], model: str | None) -> str:
    """Return the first file, where there may be more, or the only one."""
    if len(files) > 1 and model not in FACTORIZATIONS:
        raise InputError(
            f"lamina fit expected one data set, got {len(files)}: {', '.join(files[:3])}. "
            f"Several are for --model {' or '.join(FACTORIZATIONS)}; join others into one."
        )
    return files[0]


def _fit_pairs(
    files: list[str],
    model: str,
    of_pairs: dict[str, Any],
    settings: dict[str, Any],
    path: Path,
    test: str | None,
    test_fraction: float,
) -> None:
    """Measure a model of users and items, fit it on all of the file and save it."""
    from lamina.cache import use_compilation_cache
    from lamina.cli import recommending

    names = ("columns", "user", "item", "value")
    columns, *others = (of_pairs.pop(name) for name in names)
    named = recommending.columns_named(_words(columns), *others)
    use_compilation_cache()
    recommending.fit(
        files, model, named, settings | of_pairs, path, test, test_fraction,
        settings["random_state"],
    )  # fmt: skip


def _fit_series(
    data: str,
    forecast: str,
    time: str | None,
    exogenous: str | None,
    test_fraction: float,
    settings: dict[str, Any],
    path: Path,
) -> None:
    """Backtest a forecaster, train it on the whole table and save it."""
    from lamina.cli import forecasting, training
    from lamina.formats.forecast_table import ALL, read_forecast_table

    beside = ALL if exogenous == ALL else _words(exogenous) or ()
    table = read_forecast_table(data, _words(forecast) or (), time, beside)

    def train(estimator: Any, series: Any, exogenous: Any) -> None:
        training.train(estimator, path, series, exogenous)

    estimator = forecasting.fit(
        table, lambda: training.estimator_of("Forecaster", settings), test_fraction, train
    )
    training.report(estimator, f"{estimator.horizon_} steps of {', '.join(table.series.columns)}")
    training.save(estimator, path)


def _writable(out: Path | None, data: str) -> Path:
    """Return where to write, found out before training: never over a file that was not named."""
    if out is None:
        stem = Path(data.rstrip("/\\")).name.split(".")[0] or "model"
        out = Path(f"{stem}.safetensors")
        number = 2
        while out.exists():
            out, number = Path(f"{stem}-{number}.safetensors"), number + 1
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"--out expected a file in a folder that exists, got {out}.")
    return out


def _numbers(option: str, text: str | None, between: str = ",") -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.lower().split(between) if part.strip())
    except ValueError:
        example = between.join(("32", "64"))
        raise InputError(f"{option} expected numbers like {example}; got {text!r}.") from None


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())
