"""Which rows a model was trained on: told again when it is shown the data that they are from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from lamina.formats.dataset import Dataset
from lamina.formats.encoder_checks import LIST, entry, finite, wrong_entry


def split(rows: int, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the rows to train on and of those held out, each in order."""
    order = np.random.default_rng((seed, 2)).permutation(rows)
    count = round(held_out * rows)
    return np.sort(order[count:]), np.sort(order[:count])


@dataclass(frozen=True)
class TrainedOn:
    """Data that a model was trained on, or on a share of: known again by a digest.

    Parameters
    ----------
    digest : str
        Over the inputs and targets of all rows; see `Dataset.digest`.
    columns : tuple of str, or None
        Of a table, those that were read as inputs.
    held_out : float in [0, 1)
        The share of rows that the model was not trained on, drawn at random.
    seed : int
        What they were drawn by.
    """

    digest: str
    columns: tuple[str, ...] | None
    held_out: float
    seed: int

    @classmethod
    def of(cls, data: Dataset, held_out: float, seed: int) -> Self:
        """Describe data and how they were split."""
        return cls(data.digest(), _columns(data), float(held_out), int(seed))

    def rows(self, data: Dataset) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the rows trained on and those held out; None where these are other data."""
        found = _columns(data)
        if (self.columns is None) != (found is None):
            return None
        if not set(self.columns or ()) <= set(found or ()):
            return None
        if data.digest(self.columns) != self.digest:
            return None
        return split(len(data), self.held_out, self.seed)

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return what a document describes, every entry checked."""
        columns = entry(document, "columns", LIST | None)
        if not all(isinstance(name, str) for name in columns or ()):
            raise wrong_entry("columns", "names of columns", columns)
        held_out = finite(entry(document, "held_out", float), "held_out", -1e-9)
        seed = entry(document, "seed", int)
        if held_out >= 1 or seed < 0:
            raise wrong_entry("held_out", "a share of rows, and its seed not negative", held_out)
        digest = entry(document, "digest", str)
        return cls(digest, None if columns is None else tuple(columns), held_out, seed)


def unseen(estimator: Any, data: Dataset) -> tuple[Dataset, str]:
    """Return the rows to measure a model on, and a word on them, for after their number.

    Those held out, where the data are known again; else all.
    """
    rows = _split_of(estimator, data)
    if rows is None:
        return data, ""
    if not len(rows[1]):
        return data, " that it was trained on: on new ones expect more error"
    return data.take(rows[1]), f", those of {len(data):,} that it was not trained on"


def seen(estimator: Any, data: Dataset) -> Dataset:
    """Return the rows to train a model on further: not those held out."""
    rows = _split_of(estimator, data)
    return data if rows is None else data.take(rows[0])


def _split_of(estimator: Any, data: Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    trained: TrainedOn | None = getattr(estimator, "trained_on_", None)
    return None if trained is None else trained.rows(data)


def _columns(data: Dataset) -> tuple[str, ...] | None:
    return tuple(map(str, data.X.columns)) if hasattr(data.X, "columns") else None  # type: ignore
