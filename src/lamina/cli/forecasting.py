"""Forecasting for the commands: backtest and fit, forecast to a file, backtest a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lamina.cli import families, show, training
from lamina.cli.options import words
from lamina.errors import InputError, check_number
from lamina.estimators.forecaster import Forecaster
from lamina.formats.forecast_table import ALL, ForecastTable, read_forecast_table


def fit(
    data: str,
    forecast: str,
    time: str | None,
    exogenous: str | None,
    test_fraction: float,
    settings: dict[str, Any],
    path: Path,
) -> None:
    """Backtest on a table's last part, print how it went, fit on all of it and save.

    Parameters
    ----------
    data, forecast, time, exogenous
        As the options of `lamina fit`.
    test_fraction : float in [0, 1)
        The share of rows at the end to backtest on, at least two horizons; 0 for no backtest.
    settings : dict
        Constructor parameters.
    path : Path
        Where to save.
    """
    beside = ALL if exogenous == ALL else words(exogenous) or ()
    table = read_forecast_table(data, words(forecast) or (), time, beside)

    def untrained() -> Forecaster:
        return families.estimator_of("Forecaster", settings)

    def trained_on(rows: int) -> Forecaster:
        estimator = untrained()
        beside = None if table.exogenous is None else table.exogenous[:rows]
        training.train(estimator, path, _series(table)[:rows], beside)
        return estimator

    estimator = untrained()
    _check_sizes(estimator)
    if test_fraction:
        start = _start_of_test(estimator, table, test_fraction)
        show.line("data", f"{table.source}: {start:,} rows to train on, {len(table) - start:,} not")
        estimator = trained_on(start)
        _backtest(estimator, table, start)
    if not test_fraction or not estimator.interrupted_:
        estimator = trained_on(len(table))
        again = "again, with the same settings, " if test_fraction else ""
        show.line("fitted", f"{again}on all {len(table):,} rows, to be saved")
    training.report(estimator, f"{estimator.horizon_} steps of {', '.join(table.series.columns)}")
    training.save(estimator, path)


def _start_of_test(estimator: Forecaster, table: ForecastTable, fraction: float) -> int:
    """Return the first row to test on, with enough before it to train on."""
    needed = estimator.window + estimator.horizon
    start = len(table) - _last_part(len(table), estimator.horizon, fraction)
    if start < needed:
        raise InputError(
            f"{table.source} expected {needed} rows to train on (window {estimator.window} + "
            f"horizon {estimator.horizon}) before the {len(table) - start} to test on, got "
            f"{len(table)} in all. Use a smaller --window or --horizon, or --test-fraction 0."
        )
    return start


def predict(estimator: Forecaster, data: str, out: Path | None, horizon: int | None = None) -> None:
    """Write the steps after a table's end, a time and a forecast for each.

    Parameters
    ----------
    estimator : Forecaster
        A fitted model.
    data : str
        The table.
    out : Path or None
        Where to write; standard output for None.
    horizon : int, optional
        How many steps, at most as many as in training; None for as many.
    """
    steps = estimator.horizon_
    if horizon is not None:
        check_number("--horizon", horizon, at_least=1, whole=True)
        if horizon > steps:
            raise InputError(
                f"--horizon expected at most {steps} steps, as many as the model was trained to "
                f"forecast, got {horizon}. Train one for more: lamina fit … --horizon {horizon}."
            )
    table = _table_for(estimator, data)
    made = estimator.predict(horizon or steps, series=_series(table), exogenous=table.exogenous)
    made = made.reshape(len(made), -1)
    columns = {table.time_name: np.array(table.after(len(made)))}
    columns |= dict(zip(table.series.columns, made.T, strict=True))
    times, names = columns[table.time_name], ", ".join(table.series.columns)
    show.predictions(
        columns, out, f"{len(made):,} steps of {names}, from {times[0]} to {times[-1]}"
    )


def evaluate(estimator: Forecaster, model: Path, data: str, test_fraction: float = 0.2) -> None:
    """Print a saved model's backtest: over the rows it was not trained on, else the last ones."""
    table = _table_for(estimator, data)
    show.line("model", f"{model}: {type(estimator).__name__}")
    show.line("data", f"{table.source}: {len(table):,} rows")
    seen = _rows_trained_on(estimator, table)
    if seen and len(table) - seen >= estimator.horizon_:
        start = seen
    else:
        start = len(table) - _last_part(len(table), estimator.horizon_, test_fraction)
        start = max(start, len(estimator.tail_), estimator.season_)
    _backtest(estimator, table, start)
    if start < seen:
        show.line("note", "The model was trained on these rows too; on new ones expect more error.")


def _backtest(estimator: Forecaster, table: ForecastTable, start: int) -> None:
    figures = estimator.evaluate(_series(table), start, table.exogenous)
    origins = len(table) - estimator.horizon_ - start + 1
    first = table.written(start)
    title = (
        f"{estimator.horizon_} steps ahead from {origins} origins, {first} on; season "
        f"{estimator.season_}"
    )
    rows = [[name, f"{row['mae']:.4g}", f"{row['rmse']:.4g}"] for name, row in figures.items()]
    show.console().print(show.table(["forecast", "mean |error|", "RMSE"], rows, title))


def _rows_trained_on(estimator: Forecaster, table: ForecastTable) -> int:
    """Return where in the table the training series ended, at the latest; 0 if it is not in it."""
    parts = [table.series] if table.exogenous is None else [table.series, table.exogenous]
    both = np.concatenate([part.to_numpy() for part in parts], axis=1)
    window = len(estimator.tail_)
    ends = range(len(both), window - 1, -1)
    return next((e for e in ends if np.array_equal(both[e - window : e], estimator.tail_)), 0)


def _last_part(rows: int, horizon: int, fraction: float) -> int:
    return max(round(fraction * rows), 2 * horizon)


def _table_for(estimator: Forecaster, data: str) -> ForecastTable:
    """Read the columns that a model was trained on."""
    names = estimator.target_names_
    if names is None or (len(estimator._exogenous_mean) and not estimator.exogenous_names_):
        raise InputError(
            "The model expected a table's columns by name, but it was trained on an array without "
            "names. Train it on a pandas Series or DataFrame."
        )
    time = estimator.time_name_
    known = None if time == "step" else time
    return read_forecast_table(data, names, known, estimator.exogenous_names_ or ())


def _series(table: ForecastTable) -> Any:
    """Return the table's one series, or all of its series."""
    return table.series.iloc[:, 0] if table.series.shape[1] == 1 else table.series


def _check_sizes(estimator: Forecaster) -> None:
    """Raise for impossible sizes before they are counted with."""
    for name in ("window", "horizon"):
        check_number(f"--{name}", getattr(estimator, name), at_least=1, whole=True)
