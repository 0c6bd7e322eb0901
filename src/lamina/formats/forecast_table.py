"""Tables whose rows are steps in time: series to forecast, their dates, and the dates to come."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.errors import InputError
from lamina.formats.tables import check_column, read_table

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"

FORMATS = (
    "%Y-%m-%d", "%Y-%m", "%Y", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S",
    "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y",
)  # fmt: skip
"""How dates may be written so that the ones to come are written alike; ISO 8601 otherwise."""

EARLIEST_YEAR = 1000
"""Earlier dates are words, such as the name of a month, that pandas makes something of."""


@dataclass(frozen=True)
class ForecastTable:
    """Series at even steps.

    Parameters
    ----------
    series : DataFrame of shape (t, k)
        What to forecast, by column; its index is the time, named as in the table.
    exogenous : DataFrame of shape (t, e), or None
        What else was known at each step.
    frequency : str or int
        From one step to the next: pandas' name for it, or a number where steps are numbers.
    format : str or None
        How dates are written, in strftime's letters; None is ISO 8601.
    source : str
        Where it came from.
    """

    series: pd.DataFrame
    exogenous: pd.DataFrame | None
    frequency: str | int
    format: str | None
    source: str

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.series)

    @property
    def time_name(self) -> str:
        """What the column of times is called; ``step`` where the table has none."""
        return str(self.series.index.name)

    def written(self, row: int) -> str:
        """Return the time of a row as the table writes it."""
        return _text(self.series.index[row], self.format)

    def after(self, steps: int) -> list[Any]:
        """Return the times of the steps that follow, written as those of the table are."""
        import pandas as pd

        last: Any = self.series.index[-1]
        if isinstance(self.frequency, int):
            return [int(last) + self.frequency * i for i in range(1, steps + 1)]
        dates = pd.date_range(last, periods=steps + 1, freq=self.frequency)[1:]
        return [_written(date, self.format) for date in dates]


def read_forecast_table(
    path: str | os.PathLike[str],
    targets: str | Sequence[str],
    time: str | None = None,
    exogenous: str | Sequence[str] = (),
) -> ForecastTable:
    """Read a CSV, TSV or Parquet file of series at even steps, oldest row first.

    Parameters
    ----------
    path : path
        As `lamina.formats.tables.read_table` takes it.
    targets : str or sequence of str
        The columns to forecast.
    time : str, optional
        The column of dates, or of whole numbers; None is the first column that parses as dates and
        is no target. A table without one has its rows numbered from 1.
    exogenous : sequence of str, or "all"
        Numeric columns to read beside the targets; ``"all"`` is every one that is left.

    Raises
    ------
    InputError
        For dates that do not parse, are not strictly increasing or not evenly spaced, and for
        columns that are missing, not numbers, or have gaps.
    """
    path = Path(path)
    frame: Any = read_table(path).X
    targets = [targets] if isinstance(targets, str) else list(targets)
    asked = [] if exogenous == ALL else [exogenous] if isinstance(exogenous, str) else exogenous
    for name in (*targets, *([] if time is None else [time]), *asked):
        check_column(path, frame.columns, name)
    if not targets:
        raise InputError(f"{path} expected a column to forecast, got none.")
    if len(frame) < 3:
        raise InputError(f"{path} expected at least 3 rows to be steps in time, got {len(frame)}.")
    if time is None:
        free = [name for name in frame.columns if name not in (*targets, *asked)]
        tests = (_dates, _mostly_dates)  # the second finds the column to complain about
        time = next((name for found in tests for name in free if found(frame[name])), None)
    index, frequency, written = _times(path, frame, time)
    frame = frame.set_axis(index, axis=0)
    if exogenous == ALL:
        numbers = frame.select_dtypes("number").columns
        asked = [name for name in numbers if name not in (*targets, time)]
    for name in (*targets, *asked):
        _check_numbers(path, frame, name, written)
    return ForecastTable(
        frame[targets].astype("float64"),
        frame[list(asked)].astype("float64") if len(asked) else None,
        frequency,
        written,
        str(path),
    )


def _dates(column: Any) -> list[pd.DatetimeIndex]:
    """Return the ways in which a column reads as dates, month first before day first."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        return [] if column.isna().any() else [pd.DatetimeIndex(column)]
    if pd.api.types.is_numeric_dtype(column) or column.isna().any():
        return []
    found = []
    ways: list[dict[str, Any]] = [{"format": "ISO8601"}, {"dayfirst": False}, {"dayfirst": True}]
    for options in ways:
        try:
            with warnings.catch_warnings():  # it warns where it has to guess
                warnings.simplefilter("ignore")
                dates = pd.DatetimeIndex(pd.to_datetime(column, **options))
        except (ValueError, TypeError, OverflowError):
            continue
        if dates.year.min() >= EARLIEST_YEAR:  # type: ignore
            found.append(dates)
    return found


def _mostly_dates(column: Any) -> bool:
    """Whether a column was meant to hold dates: more than half of its cells are."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return False
    dates: Any = pd.to_datetime(column.astype(str), format="ISO8601", errors="coerce", utc=True)
    return bool((dates.dt.year >= EARLIEST_YEAR).mean() > 0.5)


def _times(path: Any, frame: Any, name: str | None) -> tuple[Any, str | int, str | None]:
    """Return the index of times, the step between them, and how they are written."""
    import pandas as pd

    if name is None:
        return pd.RangeIndex(1, len(frame) + 1, name="step"), 1, None
    column = frame[name]
    if pd.api.types.is_integer_dtype(column):
        numbers = pd.Index(column.astype("int64"), name=name)
        _check_increasing(path, numbers, None)
        steps = numbers[1:] - numbers[:-1]
        usual = Counter(steps.tolist()).most_common(1)[0][0]
        if (steps != usual).any():
            wrong = numbers[int((steps != usual).argmax())]
            raise _uneven(path, f"no {wrong + usual} after {wrong} (the usual step is {usual})")
        return numbers, usual, None
    readings = _dates(column)
    if not readings:
        raise InputError(
            f"{path} expected dates in column {name!r}, got {_strangest(column)}. "
            "Write them as 2024-01-31."
        )
    in_order = [dates for dates in readings if dates.is_monotonic_increasing] or readings
    even = [dates for dates in in_order if _inferred(dates)] or in_order
    dates = even[0].rename(name)
    written = _format_of(column, dates)
    _check_increasing(path, dates, written)
    return dates, _frequency(path, dates, written), written


def _strangest(column: Any) -> str:
    """Return the first cell that is no date, for an error."""
    for row, cell in enumerate(column, start=1):
        if not _dates(column.iloc[row - 1 : row]):
            return f"{cell!r} in row {row} below the header"
    return f"{column.iloc[0]!r} and others written in another way"


def _format_of(column: Any, dates: pd.DatetimeIndex) -> str | None:
    text = column.astype(str).tolist()
    return next((way for way in FORMATS if dates.strftime(way).tolist() == text), None)


def _text(time: Any, way: str | None) -> str:
    return _written(time, way) if hasattr(time, "isoformat") else str(time)


def _written(date: Any, way: str | None) -> str:
    if way is not None:
        return date.strftime(way)
    return date.date().isoformat() if date == date.normalize() else date.isoformat()


def _check_increasing(path: Any, times: Any, way: str | None) -> None:
    wrong = (times[1:] <= times[:-1]).nonzero()[0]
    if len(wrong):
        i = int(wrong[0])
        before, after = (_text(time, way) for time in times[i : i + 2])
        raise InputError(
            f"{path} expected every row to be later than the one before, got {after} in row "
            f"{i + 2} below the header after {before} in row {i + 1}. Sort the rows, and keep one "
            "for each step."
        )


def _frequency(path: Any, dates: pd.DatetimeIndex, way: str | None) -> str:
    """Return pandas' name for the step between dates, or raise with the first one missing."""
    import pandas as pd

    found = _inferred(dates)
    if found is not None:
        return found
    for length in (10, 3):  # ten days in a row know that weekends are left out
        starts = range(max(len(dates) - length + 1, 0))
        inferred = Counter(_inferred(dates[i : i + length]) for i in starts)
        del inferred[None]
        if inferred:
            usual = inferred.most_common(1)[0][0]
            expected = pd.date_range(dates[0], dates[-1], freq=usual)
            missing = expected.difference(dates)
            if len(missing):
                first = _written(missing[0], way)
                raise _uneven(path, f"none for {first} (the usual step is {usual})")
            extra = dates.difference(expected)
            if len(extra):
                raise _uneven(
                    path, f"{_written(extra[0], way)} between (the usual step is {usual})"
                )
    raise _uneven(path, "steps of no usual length")


def _inferred(dates: pd.DatetimeIndex) -> str | None:
    import pandas as pd

    with warnings.catch_warnings():  # it is about to return an offset in place of its name
        warnings.simplefilter("ignore")
        found: Any = pd.infer_freq(dates)
    return getattr(found, "freqstr", found)


def _uneven(path: Any, got: str) -> InputError:
    return InputError(
        f"{path} expected evenly spaced times, got {got}. Fill the gap in, or cut the table there."
    )


def _check_numbers(path: Any, frame: Any, name: str, way: str | None) -> None:
    import pandas as pd

    column = frame[name]
    missing = column.isna()
    if missing.any():
        times = [_text(time, way) for time in frame.index[missing.to_numpy()]]
        more = f" and {len(times) - 5} more" if len(times) > 5 else ""
        raise InputError(
            f"{path} expected a value for every step in column {name!r}, got none for "
            f"{', '.join(times[:5])}{more}. Fill them in, or cut the table there."
        )
    if not pd.api.types.is_numeric_dtype(column):
        raise InputError(
            f"{path} expected numbers in column {name!r}, got {column.iloc[0]!r} and the like."
        )
