"""Columns of a table, one encoder each: numbers standardised, categories one-hot."""

from __future__ import annotations

import re
import shlex
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import InputError
from lamina.formats.encoder_checks import LIST, entry, finite, wrong_entry
from lamina.formats.standardization import fits_float32, mean_and_scale, standardized

if TYPE_CHECKING:
    import pandas as pd

# The words of pandas.api.types.infer_dtype.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean"}
_NEARLY_NUMBER = re.compile(r"[^\w.,]{0,2}[\d.,' ]*\d[^\w.,]{0,2}")
_TEXTS = {"string", "categorical", "mixed", "mixed-integer", "empty"}


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: ``(x - mean) / scale``, 0 where missing, and where it was missing."""

    name: str
    mean: float
    scale: float
    marks_missing: bool

    @classmethod
    def fit(cls, column: pd.Series) -> NumberColumn:
        """Learn mean and scale from the cells that are there."""
        values = _numbers(column)
        missing = np.isnan(values)
        if missing.all():
            raise _all_missing(column)
        _check_size(column, np.where(missing, 0.0, values), values)
        mean, scale = mean_and_scale(values[~missing])
        return cls(str(column.name), mean, scale, bool(missing.any()))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The column itself and, if it marks missing values, their indicator."""
        return (self.name, f"{self.name} is missing") if self.marks_missing else (self.name,)

    def encode(self, column: pd.Series) -> np.ndarray:
        """Return float32 of shape (n, 1), or (n, 2) with the indicator."""
        values = _numbers(column)
        missing = np.isnan(values)
        z = standardized(np.where(missing, self.mean, values), self.mean, self.scale)
        _check_size(column, z, values)
        return np.stack([z, missing.astype(np.float32)] if self.marks_missing else [z], axis=1)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories: one 0/1 column each, all 0 where missing or unseen."""

    name: str
    categories: tuple[str, ...]

    @classmethod
    def fit(cls, column: pd.Series, max_categories: int) -> CategoryColumn:
        """Learn the categories, sorted; refuse a column that names rows rather than groups them."""
        codes, labels = _levels(column)
        categories, present = tuple(sorted(set(labels))), int((codes >= 0).sum())
        if not categories:
            raise _all_missing(column)
        if len(categories) > max_categories or len(categories) == present > 50:
            raise InputError(
                f"Column {column.name!r} expected at most {max_categories} categories that repeat, "
                f"got {len(categories)} different values in {present} rows: it looks like an "
                f"identifier, a date or free text. If so, {_drop_hint(column)}, or turn it into "
                "numbers."
            )
        _warn_of_numbers(column, categories)
        return cls(str(column.name), categories)

    @property
    def output_names(self) -> tuple[str, ...]:
        """``colour=red`` for each category."""
        return tuple(f"{self.name}={category}" for category in self.categories)

    def encode(self, column: pd.Series) -> np.ndarray:
        """Return float32 of shape (n, number of categories)."""
        positions, _ = self._positions(column)
        one_hot = np.zeros((len(column), len(self.categories)), np.float32)
        rows = np.flatnonzero(positions >= 0)
        one_hot[rows, positions[rows]] = 1
        return one_hot

    def unseen(self, column: pd.Series) -> int:
        """Count the cells whose category is none of those learned."""
        positions, missing = self._positions(column)
        return int(((positions < 0) & ~missing).sum())

    def _positions(self, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Return each cell's category by position, -1 for none; and which cells are missing."""
        codes, labels = _levels(column)
        position = {category: i for i, category in enumerate(self.categories)}
        by_code = np.array([*(position.get(label, -1) for label in labels), -1])
        return by_code[codes], codes < 0  # a missing cell has code -1: the last entry


def holds_numbers(column: pd.Series) -> bool:
    """Whether a column holds numbers (or booleans) rather than text; refuse anything else."""
    import pandas as pd

    content = pd.api.types.infer_dtype(column, skipna=True)
    if content not in _NUMBERS | _TEXTS:
        raise _foreign(column, content)
    return content in _NUMBERS


def _numbers(column: pd.Series) -> np.ndarray:
    """Return float64 of shape (n,), NaN where a cell is missing."""
    import pandas as pd

    holds_numbers(column)
    parsed = pd.Series(pd.to_numeric(column, errors="coerce"))
    values = parsed.to_numpy(np.float64, na_value=np.nan)
    wrong = np.flatnonzero(np.isnan(values) & column.notna().to_numpy())
    if len(wrong):
        raise InputError(
            f"Column {column.name!r} expected numbers, got {column.iloc[wrong[0]]!r} in row "
            f"{column.index[wrong[0]]} (its index) and {len(wrong) - 1} more such cells. "
            f"Correct them, or empty them to count as missing."
        )
    return values


def _warn_of_numbers(column: pd.Series, categories: tuple[str, ...]) -> None:
    """Warn where categories are numbers but for a sign, a comma or a question mark."""
    numbers = [each for each in categories if _NEARLY_NUMBER.fullmatch(each)]
    others = [each for each in categories if each not in numbers or not _is_number(each)]
    few = len(numbers) < 5 or 2 * len(numbers) < len(categories)
    if column.dtype == "category" or few or not others:
        return
    warnings.warn(
        f"Column {column.name!r} is read as {len(categories)} categories, though most look like "
        f"numbers; {others[0]!r} is none. Write plain numbers, and leave cells empty where there "
        "is none, to have it read as numbers.",
        stacklevel=6,
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _levels(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return each cell's code (-1 where missing) and the text that each code stands for."""
    import pandas as pd

    holds_numbers(column)
    try:
        codes, values = pd.factorize(column)
    except TypeError as error:  # lists, dictionaries
        raise _foreign(column, "values that cannot be compared") from error
    return codes, [_label(column, value) for value in values]


def _label(column: pd.Series, value: object) -> str:
    """Return a category's text; 1 and 1.0 are one category, as a missing cell turns 1 into 1.0."""
    if isinstance(value, str | bool | np.bool_):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return str(int(number)) if number.is_integer() else str(number)
    raise _foreign(column, type(value).__name__)


def _check_size(column: pd.Series, encoded: np.ndarray, values: np.ndarray) -> None:
    wrong = np.flatnonzero(~fits_float32(encoded))
    if len(wrong):
        raise InputError(
            f"Column {column.name!r} expected finite numbers within float32's range, got "
            f"{values[wrong[0]]} in row {column.index[wrong[0]]} (its index). Correct that cell, "
            f"or empty it to count as missing."
        )


def _foreign(column: pd.Series, content: str) -> InputError:
    return InputError(
        f"Column {column.name!r} expected numbers, booleans or text, got {content}. Turn it into "
        f"numbers (a date: X[{column.name!r}].dt.year, .dt.dayofyear), or {_drop_hint(column)}."
    )


def _all_missing(column: pd.Series) -> InputError:
    return InputError(
        f"Column {column.name!r} expected at least one value, got {len(column)} missing cells. "
        f"Fill it in, or {_drop_hint(column)}."
    )


def _drop_hint(column: pd.Series) -> str:
    name = column.name
    return (
        f"drop it (--drop {shlex.quote(str(name))} on the command line, drop=[{name!r}] in Python)"
    )


def column_from(document: object) -> NumberColumn | CategoryColumn:
    """Return the column of a document, every entry checked."""
    name = entry(document, "name", str)
    if isinstance(document, dict) and "categories" in document:
        categories = entry(document, "categories", LIST)
        distinct = {c for c in categories if isinstance(c, str)}
        if not categories or len(distinct) != len(categories):
            raise wrong_entry("categories", "texts that differ", categories)
        return CategoryColumn(name, tuple(categories))
    mean = finite(entry(document, "mean", float | int), "mean")
    scale = finite(entry(document, "scale", float | int), "scale", above=0)
    return NumberColumn(name, mean, scale, entry(document, "marks_missing", bool))
