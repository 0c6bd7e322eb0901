"""Forecasts: the next steps of one or more series from a window of the last ones.

Every window of the series and the steps after it are a sample (direct multi-step forecasting). A
window and its targets are normalised by the window's own mean and deviation, and forecasts are
brought back by them, so trend and growth ask for no scaling of the whole series and nothing of the
future leaks in. Recurrent layers stand beside a linear autoregression of the window::

    y_{t+1 … t+h} = μ + σ ∘ (h_t W + b + vec(z) V + c)    with z = (x_{t-w+1 … t} - μ) / σ

Sources: Kim et al. 2022, Reversible instance normalization (here without its learned affine map);
Lai et al. 2018, Modeling long- and short-term temporal patterns (LSTNet), equations 5 and 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lamina.errors import FileFormatError, InputError, check_number
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.baselines import drift, find_season, seasonal_naive
from lamina.estimators.columns import Columns, columns
from lamina.estimators.recurrent import stack
from lamina.layers.composition import Parallel
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape
from lamina.layers.pointwise import Dropout, Flatten
from lamina.layers.sequential import Sequential
from lamina.placement import over
from lamina.training.precision import computing_in

FLATTEST = 0.05
"""A window's least deviation, in root mean squares of the training series' steps."""


@dataclass(kw_only=True, eq=False, repr=False)
class Forecaster(NetworkEstimator):
    """A recurrent network beside a linear autoregression that forecasts series at even steps.

    Parameters
    ----------
    cell : {"gru", "lstm", "rnn", "rnn_relu"}
        The recurrent layers' kind.
    hidden : sequence of int
        Units of each recurrent layer.
    window : int
        Steps that a forecast is made from; one or two seasons are a good choice.
    horizon : int
        Steps that are forecast at once.
    season : int, optional
        Steps of a season, which `evaluate` repeats for comparison; None finds it in the series.
    dropout : float in [0, 1)
        The share of each recurrent layer's outputs dropped in training.
    **others
        See `NetworkEstimator`. Early stopping holds out the last windows.

    Attributes
    ----------
    season_ : int
        The season, as given or as found in the training series; 1 where there is none.
    horizon_ : int
        Steps that the network was trained to forecast.
    tail_ : array of shape (window, k + e)
        The training series' last steps, with the exogenous columns, in their own units.
    target_names_, exogenous_names_ : tuple of str, or None
        The names of the columns where they came from pandas.
    time_name_ : str or None
        The name of the series' index where it came from pandas.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import Forecaster
    >>> t = np.arange(120)
    >>> series = 100 + t + 20 * np.sin(2 * np.pi * t / 12)
    >>> model = Forecaster(window=12, horizon=6, max_epochs=60, random_state=0).fit(series)
    >>> model.season_
    12
    >>> t = np.arange(120, 126)
    >>> bool(np.abs(model.predict() - (100 + t + 20 * np.sin(2 * np.pi * t / 12))).max() < 10)
    True
    """

    cell: str = "gru"
    hidden: Sequence[int] = (32,)
    window: int = 24
    horizon: int = 12
    season: int | None = None
    dropout: float = 0.2
    learning_rate: float | None = 3e-3
    schedule: Any = "cosine"
    clip_norm: float | None = 1.0
    batch_size: int | None = 32
    _any_rank: ClassVar[bool] = True

    @property
    def _outputs(self) -> int:
        return self.horizon_ * self._columns

    @property
    def _columns(self) -> int:
        """k, how many series are forecast."""
        return len(self._flattest)

    @property
    def _target(self) -> str:
        return "values"

    def _usual_loss(self, targets: np.ndarray) -> str:
        return "absolute"

    def _learned(self) -> dict[str, Any]:
        return {
            "season": self.season_,
            "horizon": self.horizon_,
            "tail": self.tail_.tolist(),
            "flattest": self._flattest.tolist(),
            "exogenous_mean": self._exogenous_mean.tolist(),
            "exogenous_scale": self._exogenous_scale.tolist(),
            "exogenous_names": self.exogenous_names_,
            "time_name": self.time_name_,
            "vector": self._vector,
        }

    def _adopt(self, learned: dict[str, Any]) -> None:
        self.season_, self.horizon_ = learned["season"], learned["horizon"]
        for name in ("season", "horizon"):
            check_number(name, learned[name], at_least=1, whole=True)
        parts = ("tail", "flattest", "exogenous_mean", "exogenous_scale")
        tail, flattest, mean, scale = (np.array(learned[name], np.float64) for name in parts)
        columns = (len(flattest) + len(mean),)
        fits = flattest.ndim == mean.ndim == 1 and len(flattest) and mean.shape == scale.shape
        if not fits or tail.shape != self.input_shape_ or tail.shape[1:] != columns:
            raise FileFormatError("the series' last steps expected a window of all its columns")
        if not all(np.isfinite(part).all() for part in (tail, flattest, mean, scale)):
            raise FileFormatError("what was learned of the series expected finite numbers")
        if (flattest <= 0).any() or (scale <= 0).any():
            raise FileFormatError("deviations expected numbers above 0")
        self.tail_, self._flattest = tail, flattest
        self._exogenous_mean, self._exogenous_scale = mean, scale
        names = learned["exogenous_names"]
        self.exogenous_names_ = None if names is None else tuple(map(str, names))
        time = learned["time_name"]
        self.time_name_ = None if time is None else str(time)
        self._vector = bool(learned["vector"])

    def _takes(self, input_shape: Shape) -> bool:
        return input_shape[1:] == (self.n_features_in_,)

    def _network(self, input_shape: Shape, outputs: int) -> Layer:
        recurrent = stack(
            self.cell, self.hidden, bidirectional=False, output="last", dropout=self.dropout
        )
        dropped = [Dropout(self.dropout)] if self.dropout else []
        network = Sequential([*recurrent, *dropped, Dense(outputs, init="glorot")])
        autoregression = Sequential([Flatten(), Dense(outputs, init="glorot")])
        return Parallel([network, autoregression], join="sum")

    # Fitting

    def fit(self, series, exogenous=None):  # type: ignore[override]
        """Train on every window of a series and the steps after it.

        Parameters
        ----------
        series : array-like of shape (t,) or (t, k)
            Values at even steps; a pandas Series or DataFrame names them.
        exogenous : array-like of shape (t, e), optional
            What else was known at each step; read with the window, never forecast.

        Raises
        ------
        InputError
            For NaN, or a series shorter than a window and the horizon.
        """
        with computing_in(self.precision), over(self.devices):
            with self._unchanged_on_error():
                X, targets, names = self._samples(series, exogenous)
                run = self._prepare(X, targets, None, None)
                self.target_names_ = names
            self._run(run)
        return self

    def _samples(self, series: Any, exogenous: Any) -> tuple[np.ndarray, np.ndarray, Any]:
        """Learn what is known of the series, and return windows, targets and names."""
        for name in ("window", "horizon"):
            check_number(name, getattr(self, name), at_least=1, whole=True)
        if self.season is not None:
            check_number("season", self.season, at_least=1, whole=True)
        check_number("dropout", self.dropout, at_least=0, below=1)
        given = columns(series, "fit", "a series")
        values, needed = given.values, self.window + self.horizon
        if len(values) < needed:
            raise InputError(
                f"fit expected a series of at least {needed} steps, window {self.window} + horizon "
                f"{self.horizon}, got {len(values)}. Use a smaller window or horizon."
            )
        beside = columns(exogenous, "fit", "exogenous columns", len(values))
        if self.warm_start and hasattr(self, "weights_"):
            self._check_columns(given, beside)
        self.n_features_in_ = values.shape[1] + beside.values.shape[1]
        self.horizon_, self._vector = self.horizon, given.vector
        self.exogenous_names_, self.time_name_ = beside.names, _time_name(series)
        self.season_ = self.season or find_season(values)
        typical = np.sqrt(np.mean(np.diff(values, axis=0) ** 2, axis=0))
        constant = np.where(values[0] != 0, np.abs(values[0]), 1.0) * 1e-6
        self._flattest = np.where(typical > 0, FLATTEST * typical, constant)
        deviation = beside.values.std(axis=0)
        self._exogenous_mean = beside.values.mean(axis=0)
        self._exogenous_scale = np.where(deviation > 0, deviation, 1.0)
        both = np.concatenate([values, beside.values], axis=1)
        self.tail_ = both[-self.window :].copy()
        count = len(values) - needed + 1
        after = np.arange(count)[:, None] + self.window + np.arange(self.horizon)
        X, mean, deviation = self._normalised(both, np.arange(count) + self.window)
        targets = ((values[after] - mean) / deviation).reshape(count, -1)
        return X, targets.astype(self._dtype), given.names

    def _matrix(self, X: Any, *, reset: bool) -> np.ndarray:
        return X

    def _fit_targets(self, y: Any, weight: np.ndarray | None = None) -> np.ndarray:
        return y

    def _known_targets(self, y: Any) -> np.ndarray:
        return y

    def _hold_out(self, X, targets, weight, seed: int):
        """Split off the last windows, with none before them whose targets reach into theirs."""
        edge = len(X) - max(round(self.validation_fraction * len(X)), 1)
        train = edge - self.horizon + 1
        if train < 1:
            raise InputError(
                f"early_stopping expected windows to train on before those it holds out, got "
                f"{len(X)} windows in all. Leave it out."
            )
        return X[:train], targets[:train], weight, (X[edge:], targets[edge:], None)

    def _normalised(
        self, both: np.ndarray, origins: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the windows before these steps, with each one's mean and deviation (n, 1, k)."""
        k = self._columns
        window = len(self.tail_)
        rows = both[origins[:, None] - window + np.arange(window)]
        series, beside = rows[..., :k], rows[..., k:]
        mean = series.mean(axis=1, keepdims=True)
        deviation = np.maximum(series.std(axis=1, keepdims=True), self._flattest)
        beside = (beside - self._exogenous_mean) / self._exogenous_scale
        X = np.concatenate([(series - mean) / deviation, beside], axis=2)
        return X.astype(self._dtype), mean, deviation

    # Using

    def predict(self, horizon: int | None = None, series=None, exogenous=None) -> np.ndarray:  # type: ignore[override]
        """Return the steps after the training series, or after a given one.

        Parameters
        ----------
        horizon : int, optional
            How many; None is what was trained. More are made by reading forecasts as if they had
            been seen.
        series : array-like of shape (t,) or (t, k), optional
            What to go on from, at least a window.
        exogenous : array-like of shape (t, e), optional
            Its exogenous columns, where the model was trained with some.

        Returns
        -------
        array of shape (horizon,) or (horizon, k)
            In the series' units, shaped as the training series was.

        Raises
        ------
        InputError
            For another number of columns than in training, a series shorter than a window, NaN, or
            a longer horizon than trained where there are exogenous columns, which nobody forecasts.
        """
        self._check_fitted()
        steps = self.horizon_ if horizon is None else horizon
        check_number("horizon", steps, at_least=1, whole=True)
        if series is None and exogenous is not None:
            raise InputError(
                "predict expected a series with its exogenous columns, got the columns alone. "
                "Pass series too, or neither to go on from the training series."
            )
        if steps > self.horizon_ and len(self._exogenous_mean):
            raise InputError(
                f"predict expected a horizon of at most {self.horizon_}, as trained, since the "
                f"exogenous columns beyond are not known, got {steps}. Fit with horizon={steps}."
            )
        both = self.tail_ if series is None else self._both(series, exogenous, "predict")
        made = both[:0, : self._columns]
        while len(made) < steps:
            known = np.concatenate([both, made]) if len(made) else both
            (following,) = self._forecasts(known, np.array([len(known)]))
            made = np.concatenate([made, following])
        return made[:steps, 0] if self._vector else made[:steps]

    def _forecasts(self, both: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """Return forecasts (n, horizon, k) of what follows from each of these steps on."""
        X, mean, deviation = self._normalised(both, origins)
        scores = self._scores(X).astype(np.float64)
        return scores.reshape(len(X), self.horizon_, -1) * deviation + mean

    def _both(self, series: Any, exogenous: Any, who: str) -> np.ndarray:
        """Return a series and its exogenous columns side by side, checked against training."""
        given = columns(series, who, "a series")
        beside = columns(exogenous, who, "exogenous columns", len(given.values))
        self._check_columns(given, beside)
        window = len(self.tail_)
        if len(given.values) < window:
            raise InputError(
                f"{who} expected a series of at least {window} steps, the model's window, got "
                f"{len(given.values)}. Pass more of its past."
            )
        return np.concatenate([given.values, beside.values], axis=1)

    def _check_columns(self, given: Columns, beside: Columns) -> None:
        pairs = (
            ("series", given, self._columns, self.target_names_),
            ("exogenous", beside, len(self._exogenous_mean), self.exogenous_names_),
        )
        for what, found, expected, names in pairs:
            if found.values.shape[1] != expected:
                raise InputError(
                    f"{what} expected {expected} columns, as in training, got "
                    f"{found.values.shape[1]}."
                )
            if expected > 1 and names and found.names and names != found.names:
                raise InputError(
                    f"{what} expected the columns {', '.join(names)} in this order, as in "
                    f"training, got {', '.join(found.names)}."
                )

    def evaluate(self, series, start: int, exogenous=None, step: int = 1):  # type: ignore[override]
        """Forecast from every origin on and compare with what came, without training again.

        Parameters
        ----------
        series : array-like of shape (t,) or (t, k)
            The whole series; each forecast reads what is before its origin.
        start : int
            The first origin, the index of the first step that is forecast.
        exogenous : array-like of shape (t, e), optional
            Its exogenous columns, where the model was trained with some.
        step : int
            From one origin to the next.

        Returns
        -------
        dict
            For ``"model"``, ``"seasonal naive"`` (the values one season before, repeated) and
            ``"drift"`` (on from the last value by the mean slope so far): ``"mae"`` and ``"rmse"``,
            the mean absolute and the root mean square error over all origins whose whole horizon
            is known, all of its steps and all columns, in the series' units.

        Raises
        ------
        InputError
            As `predict`; also for an origin with too little before it or no horizon after it.
        """
        self._check_fitted()
        both = self._both(series, exogenous, "evaluate")
        needed, last = max(len(self.tail_), self.season_, 2), len(both) - self.horizon_
        check_number("step", step, at_least=1, whole=True)
        check_number("start", start, at_least=0, whole=True)
        if not needed <= start <= last:
            raise InputError(
                f"start expected an origin with a window and a season ({needed} steps) before it "
                f"and the horizon ({self.horizon_} steps) after it in a series of {len(both)} "
                f"steps, got {start}."
            )
        origins = np.arange(start, last + 1, step)
        values = both[:, : self._columns]
        came = values[origins[:, None] + np.arange(self.horizon_)]
        pasts = [values[:origin] for origin in origins]
        forecasts = {
            "model": self._forecasts(both, origins),
            "seasonal naive": np.array(
                [seasonal_naive(past, self.horizon_, self.season_) for past in pasts]
            ),
            "drift": np.array([drift(past, self.horizon_) for past in pasts]),
        }
        errors = {name: forecast - came for name, forecast in forecasts.items()}
        return {
            name: {
                "mae": float(np.mean(np.abs(error))),
                "rmse": float(np.sqrt(np.mean(error**2))),
            }
            for name, error in errors.items()
        }


def _time_name(series: Any) -> str | None:
    name = getattr(getattr(series, "index", None), "name", None)
    return None if name is None else str(name)
