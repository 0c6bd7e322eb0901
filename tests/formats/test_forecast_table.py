"""Tables of steps in time: found dates, the dates to come, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from lamina.errors import InputError
from lamina.formats.forecast_table import read_forecast_table


def written(folder, table, name="table.csv"):
    """Return the path of a table written into a folder."""
    path = folder / name
    table.to_parquet(path, index=False) if name.endswith("parquet") else table.to_csv(
        path, index=False, sep="\t" if name.endswith("tsv") else ","
    )
    return path


def monthly(months=24, way="%Y-%m"):
    """Return months and three columns."""
    dates = pd.date_range("2019-01-01", periods=months, freq="MS")
    values = np.arange(months)
    return pd.DataFrame(
        {"shop": "north", "Month": dates.strftime(way), "sold": values, "rain": values * 0.5}
    )


@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.parquet"])
def test_targets_dates_and_what_is_beside_them(tmp_path, name):
    path = written(tmp_path, monthly(), name)
    table = read_forecast_table(path, "sold")
    assert table.time_name == "Month"
    assert table.series.columns.tolist() == ["sold"]
    np.testing.assert_array_equal(table.series["sold"], np.arange(24.0))
    assert table.exogenous is None
    assert len(table) == 24
    assert table.written(3) == "2019-04"
    assert table.after(3) == ["2021-01", "2021-02", "2021-03"]
    both = read_forecast_table(path, ["rain", "sold"])
    assert both.series.columns.tolist() == ["rain", "sold"]
    for asked in ("all", ["rain"], "rain"):
        beside = read_forecast_table(path, "sold", exogenous=asked).exogenous
        assert beside is not None
        assert beside.columns.tolist() == ["rain"]


@pytest.mark.parametrize(
    ("start", "frequency", "way", "after"),
    [
        ("2020-02-27", "D", "%Y-%m-%d", ["2020-03-18", "2020-03-19"]),
        ("2020-01-31", "ME", "%d.%m.%Y", ["30.09.2021", "31.10.2021"]),
        ("2020-01-01", "MS", "%d/%m/%Y", ["01/09/2021", "01/10/2021"]),
        ("2020-01-01", "D", "%m/%d/%Y", ["01/21/2020", "01/22/2020"]),
        ("2020-01-02", "B", "%Y/%m/%d", ["2020/01/30", "2020/01/31"]),
        ("2020-01-01", "h", "%Y-%m-%d %H:%M", ["2020-01-01 20:00", "2020-01-01 21:00"]),
        ("2020-01-01", "QS", "%d %B %Y", ["2025-01-01", "2025-04-01"]),
        ("2020-01-05", "W", "%Y-%m-%d", ["2020-05-24", "2020-05-31"]),
    ],
)
def test_times_to_come_are_written_alike(tmp_path, start, frequency, way, after):
    dates = pd.date_range(start, periods=20, freq=frequency)
    path = written(tmp_path, pd.DataFrame({"y": range(20), "when": dates.strftime(way)}))
    table = read_forecast_table(path, "y")
    assert table.time_name == "when"
    assert table.after(2) == after


def test_a_column_of_dates_may_be_named(tmp_path):
    table = monthly()
    table.insert(0, "printed", "2024-05-01")
    path = written(tmp_path, table)
    assert read_forecast_table(path, "sold", time="Month").after(1) == ["2021-01"]
    with pytest.raises(InputError, match=r"got 2024-05-01 in row 2 .* after 2024-05-01 in row 1"):
        read_forecast_table(path, "sold")


def test_whole_numbers_may_be_times(tmp_path):
    path = written(tmp_path, pd.DataFrame({"Year": range(1990, 2000, 2), "y": range(5)}))
    table = read_forecast_table(path, "y", time="Year")
    assert table.after(2) == [2000, 2002]
    assert table.written(1) == "1992"
    unnamed = read_forecast_table(path, "y")
    assert unnamed.time_name == "step"
    assert unnamed.after(2) == [6, 7]


def without(row):
    return monthly().drop(index=row)


def changed(column, row, value):
    table = monthly().astype({column: object})
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (without(5), {}, r"evenly spaced times, got none for 2019-06 \(the usual step is MS\)"),
        (changed("Month", 5, "2019-05"), {}, "got 2019-05 in row 6 .* after 2019-05 in row 5"),
        (monthly()[::-1], {}, "got 2020-11 in row 2 .* after 2020-12 in row 1. Sort"),
        (changed("sold", 5, None), {}, "every step in column 'sold', got none for 2019-06. Fill"),
        (changed("rain", 5, None), {"exogenous": "all"}, "in column 'rain', got none for 2019-06"),
        (changed("sold", 5, "many"), {}, "expected numbers in column 'sold', got "),
        (monthly(), {"targets": "sole"}, "a column 'sole', .* Did you mean 'sold'"),
        (monthly(), {"targets": "shop"}, "expected numbers in column 'shop', got 'north'"),
        (monthly(), {"time": "shop"}, "expected dates in column 'shop', got 'north' in row 1"),
        (changed("Month", 5, "June"), {"time": "Month"}, "dates in column 'Month', got 'June' in"),
        (monthly(), {"exogenous": ["wind"]}, "expected a column 'wind'"),
        (monthly(2), {}, "expected at least 3 rows to be steps in time, got 2"),
        (monthly(), {"targets": []}, "expected a column to forecast, got none"),
    ],
)
def test_refused(tmp_path, table, options, words):
    with pytest.raises(InputError, match=words):
        read_forecast_table(written(tmp_path, table), **{"targets": "sold", **options})


def test_the_first_business_day_missing(tmp_path):
    dates = pd.date_range("2020-01-01", periods=40, freq="B")
    table = pd.DataFrame({"day": dates, "y": range(40)}).drop(index=17)
    missing = str(dates[17])[:10]
    with pytest.raises(InputError, match=f"none for {missing} .*usual step is B"):
        read_forecast_table(written(tmp_path, table), "y")


def test_numbers_that_jump(tmp_path):
    path = written(tmp_path, pd.DataFrame({"n": [1, 2, 3, 5, 6], "y": range(5)}))
    with pytest.raises(InputError, match=r"no 4 after 3 \(the usual step is 1\)"):
        read_forecast_table(path, "y", time="n")
