"""``lamina fit``: from a file to a trained, saved network."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from lamina.errors import DivergenceError, InputError, check_choice, check_number

MODELS = {
    "linear": ("LinearClassifier", "LinearRegressor"),
    "mlp": ("MLPClassifier", "MLPRegressor"),
    "conv": ("ConvClassifier", "ConvRegressor"),
    "lstm": ("RecurrentClassifier", "RecurrentRegressor"),
    "gru": ("RecurrentClassifier", "RecurrentRegressor"),
    "rnn": ("RecurrentClassifier", "RecurrentRegressor"),
}
"""Estimators by the name of their family: for classes, for values."""

CELLS = ("lstm", "gru", "rnn")

TASKS = ("auto", "classify", "regress")


def fit(
    data: Annotated[
        str,
        typer.Argument(
            help="A table (.csv, .tsv, .parquet), .npz, IDX or CIFAR files, a folder of images "
            "with a folder per class, series (.ts, .wav), a text (.txt), or a known data set's "
            "name (see lamina datasets)."
        ),
    ],
    target: Annotated[str | None, typer.Option(help="The column to predict; tables only.")] = None,
    model: Annotated[str, typer.Option(help=f"The network: {', '.join(MODELS)}.")] = "mlp",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The model file; a new file named after the data if left out."
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="classify, regress, or auto: by the target.")] = "auto",
    test: Annotated[str | None, typer.Option(help="Test data; never trained on.")] = None,
    test_fraction: Annotated[
        float, typer.Option(help="Share of rows held out to test on, where there is no test data.")
    ] = 0.2,
    validation: Annotated[
        str | None, typer.Option(help="Data to validate on after each epoch.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out; may be repeated.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Resize a folder's images: HEIGHTxWIDTH.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option(help="Skip unreadable images, and count them.")] = False,
    hidden: Annotated[
        str | None, typer.Option(help="Units of each hidden layer: 256,128. [mlp, conv]")
    ] = None,
    activation: Annotated[str | None, typer.Option(help="relu, tanh, gelu, … [mlp, conv]")] = None,
    init: Annotated[str | None, typer.Option(help="he, glorot, lecun, … [mlp]")] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Share of hidden outputs dropped in training. [mlp, conv]")
    ] = None,
    filters: Annotated[
        str | None, typer.Option(help="Channels of each stage: 32,64. [conv]")
    ] = None,
    kernel_size: Annotated[int | None, typer.Option(help="The filters' side. [conv]")] = None,
    depth: Annotated[int | None, typer.Option(help="Convolutions in a stage. [conv]")] = None,
    augment: Annotated[
        str | None,
        typer.Option(help="Change training images: some of flip,shift,cutout,mixup. [conv]"),
    ] = None,
    image_shape: Annotated[
        str | None,
        typer.Option(help="What rows of numbers are: HEIGHTxWIDTHxCHANNELS. [conv]"),
    ] = None,
    pooling: Annotated[
        str | None, typer.Option(help="What of all states is taken: last, mean, max. [lstm, …]")
    ] = None,
    series_shape: Annotated[
        str | None, typer.Option(help="What rows of numbers are: STEPSxCHANNELS. [lstm, …]")
    ] = None,
    generate_level: Annotated[
        str | None,
        typer.Option(help="Train a language model on a text, of its char or word. [lstm, …]"),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="Steps that a forecast or a gradient looks back over. [lstm, …]"),
    ] = None,
    forecast: Annotated[
        str | None,
        typer.Option(help="Forecast these columns of a table: a,b. [lstm, gru, rnn]"),
    ] = None,
    horizon: Annotated[int | None, typer.Option(help="Steps to forecast. [--forecast]")] = None,
    season: Annotated[
        int | None, typer.Option(help="Steps of a season; found if left out. [--forecast]")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="The column of dates; found if left out. [--forecast]")
    ] = None,
    exogenous: Annotated[
        str | None,
        typer.Option(help="Columns to read beside the forecast ones: a,b or all. [--forecast]"),
    ] = None,
    average_weights: Annotated[
        float | None, typer.Option(help="Decay of the weights' moving average, such as 0.999.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="softmax, hinge; squared, absolute, huber.")
    ] = None,
    penalty: Annotated[
        str | None, typer.Option(help="l1, l2, elastic_net, or none; on weight matrices.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="The penalty's strength.")] = None,
    l1_ratio: Annotated[float | None, typer.Option(help="Share of L1 in elastic_net.")] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="gd, sgd, momentum, nesterov, rmsprop, adam, adamw, muon, lbfgs."),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The base rate.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant, cosine, one_cycle, exponential, plateau.")
    ] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Bound on the gradient norm.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    early_stopping: Annotated[
        int | None,
        typer.Option(help="Stop after so many epochs without a better validation loss."),
    ] = None,
    class_weight: Annotated[
        str | None, typer.Option(help="balanced: every class counts the same in all.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the split, the weights and the order.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Train a network on a file and save it."""
    from lamina.cli import data as sources
    from lamina.cli import measure, show
    from lamina.formats.encoders import encoder_for

    show.warnings_as_lines()
    check_choice("--model", model, MODELS)
    check_choice("--task", task, TASKS)
    check_number("--seed", seed, at_least=0, whole=True)
    check_number("--test-fraction", test_fraction, at_least=0, below=1)
    settings = dict(  # noqa: C408
        hidden=_numbers("--hidden", hidden), filters=_numbers("--filters", filters),
        kernel_size=kernel_size, depth=depth, augment=_words(augment),
        image_shape=_numbers("--image-shape", image_shape, "x"), average_weights=average_weights,
        activation=activation, init=init, dropout=dropout, loss=loss, pooling=pooling,
        series_shape=_numbers("--series-shape", series_shape, "x"), level=generate_level,
        window=window, horizon=horizon, season=season, cell=model if model in CELLS else None,
        penalty=penalty, alpha=alpha, l1_ratio=l1_ratio, optimizer=optimizer,
        learning_rate=learning_rate, schedule=schedule, clip_norm=clip_norm, batch_size=batch_size,
        max_epochs=epochs, early_stopping=early_stopping, class_weight=class_weight,
        precision=precision, random_state=seed, verbose=0 if quiet else 1,
    )  # fmt: skip
    path = _writable(out, data)
    if generate_level is not None:
        _fit_text(data, settings, path)
        return
    if forecast is not None:
        if model not in (*CELLS, "mlp"):  # mlp is what stands there if nothing was said
            raise InputError(f"--forecast expected --model {', '.join(CELLS)}, got {model!r}.")
        from lamina.cli import forecasting

        forecasting.refuse(
            target=target, test=test, validation=validation, drop=drop, size=size, skip_bad=skip_bad
        )
        _fit_series(data, forecast, time, exogenous, test_fraction, settings, path)
        return
    reading: dict[str, Any] = {
        "drop": drop or (),
        "size": sources.image_size(size),
        "skip_bad": skip_bad,
    }
    train, held_out = sources.train_and_test(data, target, test, test_fraction, seed, **reading)
    assert train.y is not None
    classify = sources.is_classification(train.y) if task == "auto" else task == "classify"
    estimator = _estimator(MODELS[model][0 if classify else 1], settings)
    estimator.encoder = encoder_for(train)
    validate = None if validation is None else sources.read_labelled(validation, target, **reading)

    show.line("data", f"{train.source}: {len(train):,} rows to train on")
    y = sources.with_name(train.y, target)
    _train(
        estimator,
        path,
        train.X,
        y,
        validation_data=None if validate is None else (validate.X, validate.y),
    )
    _report(estimator, f"{len(estimator.classes_)} classes" if classify else "values")
    if held_out is not None:
        show.line("test", measure.headline(estimator, held_out))
    estimator.save(path)
    show.line("saved", f"{path} ({show.file_size(path)})")


def _train(estimator: Any, path: Path, *data: Any, **others: Any) -> None:
    """Fit, and save the last good weights if that diverges."""
    from lamina.cache import use_compilation_cache

    use_compilation_cache()
    try:
        estimator.fit(*data, **others)
    except DivergenceError as error:
        raise _saved_what_there_is(estimator, path, error) from None


def _fit_text(data: str, settings: dict[str, Any], path: Path) -> None:
    """Train a language model and save it."""
    from lamina.cli import show
    from lamina.formats.read import read

    text = read(data)
    if text.kind != "text":
        raise InputError(f"--generate-level expected a text (.txt), got {data}.")
    estimator = _estimator("CharacterModel", settings)
    edge = round(estimator.validation_fraction * len(text))
    show.line("data", f"{data}: {len(text) - edge:,} characters to train on, the last {edge:,} not")
    _train(estimator, path, text.X)
    _report(estimator, f"{len(estimator.vocabulary_.tokens)} {estimator.level}s")
    bits = estimator.history_["val_bits_per_code"][-1]
    show.line("held out", f"{bits:.3f} bits per {estimator.level}, {edge:,} characters")
    estimator.save(path)
    show.line("saved", f"{path} ({show.file_size(path)})")


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
    from lamina.cli import forecasting, show
    from lamina.formats.forecast_table import ALL, read_forecast_table

    beside = ALL if exogenous == ALL else _words(exogenous) or ()
    table = read_forecast_table(data, _words(forecast) or (), time, beside)

    def train(estimator: Any, series: Any, exogenous: Any) -> None:
        _train(estimator, path, series, exogenous)

    estimator = forecasting.fit(
        table, lambda: _estimator("Forecaster", settings), test_fraction, train
    )
    _report(estimator, f"{estimator.horizon_} steps of {', '.join(table.series.columns)}")
    estimator.save(path)
    show.line("saved", f"{path} ({show.file_size(path)})")


def _report(estimator: Any, kind: str) -> None:
    from lamina.cli import show
    from lamina.estimators.persistence import flatten

    arrays = flatten(estimator.weights_)
    matrices = [f"{name} {'×'.join(map(str, W.shape))}" for name, W in arrays.items() if W.ndim > 1]
    count = sum(W.size for W in arrays.values())
    show.line(
        "model", f"{type(estimator).__name__}, {kind}, {count:,} weights: " + ", ".join(matrices)
    )
    padding = getattr(estimator, "padding_", None)
    if padding is not None:
        show.line("padding", f"{padding:.0%} of the steps trained on, as series differ in length")
    history = estimator.history_
    shown = {k: v[-1] for k, v in history.items() if k not in ("epoch", "learning_rate", "seconds")}
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
    seconds = sum(history["seconds"])
    show.line("trained", f"{len(history['loss'])} epochs in {seconds:.1f} s: {figures}")


def _estimator(name: str, settings: dict[str, Any]) -> Any:
    import lamina

    cls = getattr(lamina, name)
    known = {field.name for field in fields(cls)}
    given = {key: value for key, value in settings.items() if value is not None}
    strange = [key for key in given if key not in known]
    if strange:
        raise InputError(
            f"--{strange[0].replace('_', '-')} expected a model that has it, got {name}. "
            "Leave it out or choose another --model."
        )
    if given.get("penalty") == "none":
        given["penalty"] = None
    return cls(**given)


def _saved_what_there_is(estimator: Any, path: Path, error: DivergenceError) -> DivergenceError:
    """Save the last good weights, and say so."""
    if estimator.history_.get("loss"):
        estimator.save(path)
        error = DivergenceError(f"{error} They are saved in {path}.")
    error.exit_status = 1  # type: ignore
    return error


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
