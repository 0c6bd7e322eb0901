"""Recurrent networks over series and texts: stacked cells, a summary over time, then scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lamina.errors import InputError, check_choice
from lamina.estimators import series
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.classifier import Classifier
from lamina.estimators.regressor import Regressor
from lamina.formats.text_encoder import TextEncoder
from lamina.formats.vocabulary import Vocabulary
from lamina.layers.dense import Dense
from lamina.layers.each_step import EachStep
from lamina.layers.embedding import Embedding
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.normalization import Standardize
from lamina.layers.pointwise import Dropout
from lamina.layers.recurrent import GRU, LSTM, RNN
from lamina.layers.sequences import Sequences, parts
from lamina.layers.sequential import Sequential
from lamina.training.lengths import LengthSource

CELLS = ("lstm", "gru", "rnn", "rnn_relu")
POOLINGS = ("last", "mean", "max")
WORDS = TextEncoder(Vocabulary("word"), unknown="replace", most=20_000)
"""How texts are read where no encoder is given."""


def stack(
    cell: str, hidden: Sequence[int], *, bidirectional: bool, output: str, dropout: float
) -> list[Layer]:
    """Return recurrent layers one above the other, with dropout between them.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn", "rnn_relu"}
        Their kind.
    hidden : sequence of int
        Units of each.
    bidirectional : bool
        Whether each reads both ways.
    output : {"last", "all", "mean", "max"}
        What the last one hands on.
    dropout : float
        The share of each lower layer's outputs dropped in training.
    """
    check_choice("cell", cell, CELLS)
    if isinstance(hidden, int) or not hidden:
        raise InputError(
            f"hidden expected a sequence with the units of each recurrent layer, got {hidden!r}. "
            "Use hidden=(64,)."
        )
    make: Any = {"lstm": LSTM, "gru": GRU}.get(cell, RNN)
    options: dict[str, Any] = {"bidirectional": bidirectional}
    if make is RNN:
        options["activation"] = "relu" if cell == "rnn_relu" else "tanh"
    layers: list[Layer] = []
    for units in hidden[:-1]:
        layers.append(make(units, output="all", **options))
        if dropout:
            layers.append(EachStep(Dropout(dropout)))
    return [*layers, make(hidden[-1], output=output, **options)]


@dataclass(kw_only=True, eq=False, repr=False)
class _Recurrent(NetworkEstimator):
    """Series standardised by channel, then recurrent layers, then a summary over time and scores.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn", "rnn_relu"}
        The recurrent layers' kind.
    hidden : sequence of int
        Units of each recurrent layer, in each direction.
    bidirectional : bool
        Whether series are read both ways.
    pooling : {"last", "mean", "max"}
        What of the top layer's states is taken: the last, or the mean or maximum over time.
    dropout : float in [0, 1)
        The share of each layer's outputs dropped in training.
    embedding : int
        The size of the vector for each word, where X is a list of texts.
    series_shape : pair (t, m), optional
        What the rows of a 2-D X are; one entry may be -1. A list of arrays (t_i, m), an array
        (n, t, m) and `Sequences` speak for themselves.
    **others
        See `NetworkEstimator`.
    """

    cell: str = "lstm"
    hidden: Sequence[int] = (64,)
    bidirectional: bool = True
    pooling: str = "last"
    dropout: float = 0.2
    embedding: int = 32
    series_shape: Sequence[int] | None = None
    learning_rate: float | None = 3e-3
    schedule: Any = "cosine"
    clip_norm: float | None = 1.0
    batch_size: int | None = 32
    _any_rank: ClassVar[bool] = True
    _streams: ClassVar[bool] = False

    def _matrix(self, X: Any, *, reset: bool) -> Any:
        """Return series as an array (n, t, m), or as `Sequences` where they differ in length."""
        if reset:
            self._fit_encoder(X)
        encoder = getattr(self, "encoder_", None)
        if encoder is not None:
            X = encoder.transform(X)
            if isinstance(encoder, TextEncoder):
                return series.padded_codes(X)
        elif self.series_shape is not None and series.are_rows(X):
            rows = super()._matrix(X, reset=reset)
            return series.reshaped(rows, self.series_shape)
        known = None if reset else self.input_shape_[-1]
        found = series.check_series(X, self._dtype, known)
        if reset and encoder is None:
            self.n_features_in_ = found.shape[2]
        return found

    def _fit_encoder(self, X: Any) -> None:
        """Learn the encoder told, or for a list of texts their words."""
        vars(self).pop("encoder_", None)
        encoder = self.encoder or (WORDS if series.are_texts(X) else None)
        if encoder is not None:
            self.encoder_: Any = encoder.fit(X)
            self.n_features_in_ = self.encoder_.input_width

    def _takes(self, input_shape: Shape) -> bool:
        codes = isinstance(getattr(self, "encoder_", None), TextEncoder)
        return len(input_shape) == (1 if codes else 2)

    def _network(self, input_shape: Shape, outputs: int) -> Layer:
        output = check_choice("pooling", self.pooling, POOLINGS)
        layers = stack(
            self.cell,
            self.hidden,
            bidirectional=self.bidirectional,
            output=output,
            dropout=self.dropout,
        )
        head = [Dropout(self.dropout), Dense(outputs, init="glorot")]
        first: Layer = Standardize()
        if len(input_shape) == 1:
            first = Embedding(len(self.encoder_.vocabulary), self.embedding)
        return Sequential([first, *layers, *head])

    def _adapt(self, statistics: Weights, X: Any, weight: np.ndarray | None) -> None:
        """Take mean and deviation of each channel over all steps that are data."""
        if "standardize_0" not in statistics:
            return
        values, lengths = parts(X)
        counted = np.ones(values.shape[:2])
        if lengths is not None:
            counted *= np.arange(values.shape[1])[None, :] < lengths[:, None]
        if weight is not None:
            counted *= weight[:, None]
        counted /= counted.sum()
        mean = np.einsum("nt,ntm->m", counted, values, dtype=np.float64)
        variance = np.einsum("nt,ntm->m", counted, (values - mean) ** 2, dtype=np.float64)
        scale = np.where(variance > 0, np.sqrt(variance), 1.0)
        statistics["standardize_0"] = {"mean": mean, "scale": scale}

    def _source(self, X, targets, weight, descent, seed: int) -> Any:
        weight = self._class_weights(targets, weight)
        if not isinstance(X, Sequences) or descent.optimizer.full_batch:
            return self._array_source(X, targets, weight, descent, seed)
        source = LengthSource.of(X, targets, weight, batch_size=self.batch_size or 32, seed=seed)
        self.padding_ = source.padding
        return source


@dataclass(kw_only=True, eq=False, repr=False)
class RecurrentClassifier(_Recurrent, Classifier):
    """A recurrent network that classifies series of any length.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn", "rnn_relu"}
        The recurrent layers' kind.
    hidden : sequence of int
        Units of each recurrent layer, in each direction.
    bidirectional, pooling, dropout, embedding, series_shape
        Whether series are read both ways; what of the states is taken; the share of outputs dropped
        in training; the size of a word's vector in texts; what a row of a 2-D X is.
    **others
        See `lamina.estimators.classifier.Classifier` and
        `lamina.estimators.base.NetworkEstimator`.

    Attributes
    ----------
    padding_ : float
        The share of training steps that were padding, where series differ in length.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import RecurrentClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(t, 1)).cumsum(axis=0) for t in rng.integers(5, 15, 200)]
    >>> y = [int(x[-1, 0] > x[0, 0]) for x in X]
    >>> model = RecurrentClassifier(hidden=(16,), max_epochs=60, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """


@dataclass(kw_only=True, eq=False, repr=False)
class RecurrentRegressor(_Recurrent, Regressor):
    """A recurrent network that predicts real values from series of any length.

    Parameters
    ----------
    cell, hidden, bidirectional, pooling, dropout, embedding, series_shape
        As in `RecurrentClassifier`.
    **others
        See `lamina.estimators.regressor.Regressor` and
        `lamina.estimators.base.NetworkEstimator`.
    """
