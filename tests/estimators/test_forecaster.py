"""Forecasts: of series whose future is known, against comparisons worked by hand, and kept."""

import numpy as np
import pandas as pd
import pytest

import lamina
from lamina import Forecaster
from lamina.errors import FileFormatError, InputError
from lamina.estimators.baselines import drift, find_season, seasonal_naive
from lamina.formats.model_file import read_model, write_model

SETTINGS = {
    "window": 12, "horizon": 6, "hidden": (8,), "learning_rate": 0.01, "random_state": 0,
    "verbose": 0,
}  # fmt: skip


def seasonal(start, stop):
    """Return a line and a season of 6 steps that grows with it."""
    t = np.arange(start, stop)
    return (100 + 2 * t) * (1 + 0.2 * np.sin(2 * np.pi * t / 6))


@pytest.fixture(scope="module")
def fitted():
    """Return a model of the first 90 steps."""
    return Forecaster(**SETTINGS).fit(seasonal(0, 90))


@pytest.fixture(scope="module")
def beside():
    """Return a series that repeats, six steps later, what another column was; and a model of it."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=(206, 1))
    series = pd.DataFrame({"level": given[:200, 0] * 3 + 50})  # the column six steps ahead of it
    exogenous = pd.DataFrame({"signal": given[6:, 0]})
    settings = SETTINGS | {"hidden": (4,), "max_epochs": 120, "dropout": 0.0}
    return series, exogenous, Forecaster(**settings).fit(series[:150], exogenous[:150])


# What it forecasts


def test_a_season_with_a_trend_is_forecast(fitted):
    expected = seasonal(90, 96)
    found = fitted.predict()
    assert found.shape == (6,)
    np.testing.assert_allclose(found, expected, rtol=0.04)
    naive = seasonal_naive(seasonal(0, 90)[:, None], 6, 6)[:, 0]
    assert np.abs(found - expected).mean() < np.abs(naive - expected).mean() / 3


def test_a_given_series_is_gone_on_from(fitted):
    found = fitted.predict(series=seasonal(30, 50))
    np.testing.assert_allclose(found, seasonal(50, 56), rtol=0.04)
    np.testing.assert_array_equal(found, fitted.predict(series=seasonal(38, 50)))
    np.testing.assert_array_equal(fitted.predict(series=seasonal(0, 90)), fitted.predict())


def test_forecasts_follow_the_units(fitted):
    """Normalised by its window, a series a thousand times as large and moved is the same series."""
    series = seasonal(60, 80)
    moved = fitted.predict(series=1000 * series - 5e4)
    np.testing.assert_allclose(moved, 1000 * fitted.predict(series=series) - 5e4, rtol=1e-4)


def test_a_longer_horizon_reads_its_own_forecasts(fitted):
    found = fitted.predict(horizon=15)
    first = fitted.predict()
    second = fitted.predict(series=np.concatenate([seasonal(0, 90), first]))
    third = fitted.predict(series=np.concatenate([seasonal(0, 90), first, second]))
    np.testing.assert_allclose(found, [*first, *second, *third[:3]], rtol=1e-6)
    np.testing.assert_array_equal(fitted.predict(horizon=2), first[:2])


def test_several_columns():
    t = np.arange(96)
    table = pd.DataFrame({"up": seasonal(0, 96), "down": 500 - t + 9 * np.cos(np.pi * t / 3)})
    model = Forecaster(**SETTINGS).fit(table[:90])
    assert model.target_names_ == ("up", "down")
    found = model.predict()
    assert found.shape == (6, 2)
    np.testing.assert_allclose(found, table[90:], rtol=0.06)
    with pytest.raises(InputError, match="series expected 2 columns, as in training, got 1"):
        model.predict(series=table["up"])
    with pytest.raises(InputError, match=r"columns up, down in this order, .* got down, up"):
        model.predict(series=table[["down", "up"]])


def test_exogenous_columns_are_read(beside):
    """The series is noise, and only the column beside it, which is ahead of it, tells it."""
    series, exogenous, model = beside
    assert model.exogenous_names_ == ("signal",)
    figures = model.evaluate(series, 150, exogenous)
    assert figures["model"]["mae"] < 0.5 * figures["seasonal naive"]["mae"]
    np.testing.assert_allclose(
        model.predict(series=series[:150], exogenous=exogenous[:150]), model.predict()
    )


def test_exogenous_columns_are_scaled_by_the_training_series(beside):
    series, exogenous, model = beside
    np.testing.assert_allclose(model._exogenous_mean, exogenous[:150].mean())
    np.testing.assert_allclose(model._exogenous_scale, exogenous[:150].std(ddof=0))
    moved = model.predict(series=series, exogenous=exogenous + 1)
    assert not np.allclose(moved, model.predict(series=series, exogenous=exogenous))


def test_a_flat_series_stays_where_it_is():
    found = Forecaster(**SETTINGS, max_epochs=2).fit(np.full(30, 7.0)).predict()
    np.testing.assert_allclose(found, 7, rtol=1e-6)


def test_training_targets_are_the_steps_after_their_windows():
    series = np.arange(20.0) ** 2
    model = Forecaster(window=3, horizon=2)
    X, targets, names = model._samples(series, None)
    assert X.shape == (16, 3, 1)
    assert names is None
    past, future = series[5:8], series[8:10]
    np.testing.assert_allclose(X[5, :, 0], (past - past.mean()) / past.std(), rtol=1e-6)
    np.testing.assert_allclose(targets[5], (future - past.mean()) / past.std(), rtol=1e-6)


def test_early_stopping_holds_out_windows_that_training_does_not_reach():
    model = Forecaster(**SETTINGS, early_stopping=1, max_epochs=3)
    X = np.arange(50)[:, None]
    train, _, _, (held_out, _, _) = model._hold_out(X, X, None, seed=0)
    np.testing.assert_array_equal(held_out[:, 0], np.arange(45, 50))
    assert train[-1, 0] == 39  # its targets end where the held-out ones begin
    assert len(model.fit(seasonal(0, 60)).history_["val_loss"]) <= 3


def test_warm_start_goes_on():
    model = Forecaster(**SETTINGS, max_epochs=2, warm_start=True).fit(seasonal(0, 60))
    model.fit(seasonal(0, 60))
    assert len(model.history_["loss"]) == 4
    with pytest.raises(InputError, match="series expected 1 columns"):
        model.fit(np.stack([seasonal(0, 60)] * 2, axis=1))


# What it is held against


def test_comparisons_by_hand():
    past = np.array([[1.0], [5.0], [2.0], [7.0], [4.0]])
    np.testing.assert_array_equal(seasonal_naive(past, 5, 2)[:, 0], [7, 4, 7, 4, 7])
    np.testing.assert_array_equal(seasonal_naive(past, 2, 1)[:, 0], [4, 4])
    np.testing.assert_array_equal(drift(past, 3)[:, 0], [4.75, 5.5, 6.25])


def test_a_backtest_by_hand():
    series = np.array([10.0, 20, 12, 22, 14, 24, 16, 30, 18, 28])
    model = Forecaster(window=4, horizon=2, season=2, hidden=(2,), max_epochs=1, verbose=0)
    model.fit(series[:7])
    figures = model.evaluate(series, 6, step=2)
    naive = np.array([14, 24, 16, 30]) - [16, 30, 18, 28]  # from origins 6 and 8
    slopes = (24 - 10) / 5, (30 - 10) / 7
    drifts = [24 + slopes[0], 24 + 2 * slopes[0], 30 + slopes[1], 30 + 2 * slopes[1]]
    own = [*model.predict(series=series[:6]), *model.predict(series=series[:8])]
    forecasts = {
        "model": own - series[6:],
        "seasonal naive": naive,
        "drift": drifts - series[6:],
    }
    assert list(figures) == list(forecasts)
    for name, error in forecasts.items():
        assert figures[name]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
        assert figures[name]["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    every = model.evaluate(series, 6)["drift"]["mae"]
    assert every != pytest.approx(figures["drift"]["mae"])


@pytest.mark.parametrize("season", [4, 7, 12])
def test_the_season_is_found(season):
    t = np.arange(120)
    rng = np.random.default_rng(season)
    shape = rng.normal(size=season)
    series = 3 * t + 10 * shape[t % season] + rng.normal(size=120)
    assert find_season(series[:, None]) == season


def test_a_smooth_season_is_no_short_lag():
    t = np.arange(500)
    assert find_season(np.sin(2 * np.pi * t / 100)[:, None]) == 100


def test_no_season_in_a_line():
    assert find_season(np.arange(50.0)[:, None]) == 1
    assert find_season(np.log(np.arange(1.0, 60))[:, None]) == 1
    assert find_season(np.random.default_rng(0).normal(size=(200, 1)).cumsum(axis=0)) == 1


# Kept


def test_a_saved_model_forecasts_the_same(fitted, beside, tmp_path):
    series, exogenous, other = beside
    for model in (fitted, other):
        model.save(tmp_path / "model.safetensors")
        loaded = lamina.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(loaded.predict(), model.predict())
        assert loaded.get_params() == model.get_params()
        assert loaded.target_names_ == model.target_names_
    assert loaded.evaluate(series, 150, exogenous) == other.evaluate(series, 150, exogenous)
    assert loaded.season_ == other.season_


@pytest.mark.parametrize(
    "change",
    [
        {"tail": [[1.0]]},
        {"tail": [["inf"]] * 12},
        {"horizon": 5},
        {"season": 0},
        {"flattest": [0.0]},
        {"flattest": []},
        {"exogenous_mean": [0.0]},
    ],
)
def test_an_edited_file_is_refused(fitted, tmp_path, change):
    fitted.save(tmp_path / "model.safetensors")
    document, arrays = read_model(tmp_path / "model.safetensors")
    document["target"] |= change
    document["target"] |= change
    write_model(tmp_path / "edited.safetensors", document, arrays)
    with pytest.raises(FileFormatError):
        lamina.load(tmp_path / "edited.safetensors")


# Refused


@pytest.mark.parametrize(
    ("settings", "series", "exogenous", "words"),
    [
        ({}, np.arange(17.0), None, r"at least 18 steps, window 12 \+ horizon 6, got 17"),
        ({}, [1.0] * 20 + [np.nan] * 2, None, "got NaN at step 20"),
        ({}, [[1.0, 2.0]] * 20 + [[1.0, np.inf]], None, "got infinity at step 20 of column 1"),
        ({"horizon": 0}, np.arange(30.0), None, "horizon expected .* at least 1; got 0"),
        ({"window": 2.5}, np.arange(30.0), None, "window expected a whole number"),
        ({"season": 0}, np.arange(30.0), None, "season expected .* at least 1; got 0"),
        ({}, np.arange(30.0), np.ones((29, 1)), "exogenous expected 30 steps, .* got 29"),
        ({}, np.arange(30.0), [np.nan] * 30, "exogenous columns of finite numbers, got NaN at st"),
        ({}, ["a"] * 30, None, "expected a series of numbers"),
        ({}, np.ones((3, 3, 3)), None, r"of shape \(t,\) or \(t, k\), got shape \(3, 3, 3\)"),
        ({"cell": "elman"}, np.arange(30.0), None, "cell expected one of"),
        ({"early_stopping": 2}, np.arange(20.0), None, "early_stopping expected windows to train"),
    ],
)
def test_unusable_series(settings, series, exogenous, words):
    model = Forecaster(**{**SETTINGS, **settings})
    with pytest.raises(InputError, match=words):
        model.fit(series, exogenous)
    assert not hasattr(model, "weights_")


def test_unusable_series_to_go_on_from(fitted, beside):
    series, exogenous, other = beside
    refused = [
        (lambda: fitted.predict(horizon=0), "horizon expected .* at least 1; got 0"),
        (lambda: fitted.predict(series=np.ones((20, 2))), "series expected 1 columns, .* got 2"),
        (lambda: fitted.predict(series=np.ones(11)), "at least 12 steps, the model's window, got"),
        (lambda: fitted.predict(series=[np.nan] * 12), "got NaN at step 0"),
        (lambda: fitted.predict(exogenous=np.ones(12)), "expected a series with its exogenous"),
        (lambda: fitted.predict(series=np.ones(12), exogenous=np.ones(12)), "expected 0 columns"),
        (lambda: other.predict(horizon=7), "horizon of at most 6, as trained, .* got 7"),
        (lambda: other.predict(series=series), "exogenous expected 1 columns, .* got 0"),
        (lambda: other.predict(series=series, exogenous=exogenous[1:]), "expected 200 steps, as"),
        (lambda: fitted.evaluate(seasonal(0, 30), 25), r"origin .* \(6 steps\) after it .* got 25"),
        (lambda: fitted.evaluate(seasonal(0, 30), 11), r"\(12 steps\) before it .* got 11"),
        (lambda: fitted.evaluate(seasonal(0, 30), 20, step=0), "step expected"),
    ]
    for call, words in refused:
        with pytest.raises(InputError, match=words):
            call()


def test_an_unfitted_model():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        Forecaster().predict()
