"""Tables as matrices: each column by its own rule, side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from lamina.errors import InputError, check_number
from lamina.formats.encoder_checks import LIST, check_fitted, entry, positive_integer, wrong_entry
from lamina.formats.table_columns import CategoryColumn, NumberColumn, column_from, holds_numbers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TableEncoder:
    """A table's columns, numbers standardised and categories one-hot, side by side.

    Parameters
    ----------
    max_categories : int
        A column of text with more different values than this is refused.
    columns : tuple of NumberColumn and CategoryColumn
        What ``fit`` has learned; empty before.

    Notes
    -----
    Numbers and booleans are standardised by the mean and the standard deviation of the fitted
    data, missing cells filled by the mean; a column that had missing cells in ``fit`` gets an
    indicator ``"age is missing"``. Text and categories become columns ``"colour=red"``, sorted; a
    missing or unseen category is all zeros. ``transform`` finds columns by name and ignores others.
    """

    kind: ClassVar[str] = "table"
    max_categories: int = 1000
    columns: tuple[NumberColumn | CategoryColumn, ...] = ()

    def fit(self, X: pd.DataFrame) -> Self:
        """Return a copy that has learned the columns of a DataFrame of shape (n, p)."""
        check_number("max_categories", self.max_categories, at_least=1, whole=True)
        _check_frame(X)
        if 0 in X.shape:
            raise InputError(
                f"TableEncoder expected at least one row and one column, got shape {X.shape}."
            )
        columns = tuple(self._fit_column(column) for _, column in X.items())
        return replace(self, max_categories=int(self.max_categories), columns=columns)

    def _fit_column(self, column: pd.Series) -> NumberColumn | CategoryColumn:
        if holds_numbers(column):
            return NumberColumn.fit(column)
        return CategoryColumn.fit(column, self.max_categories)

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return float32 of shape (n, m) for a DataFrame that has the fitted columns."""
        cells = self._cells(X)
        return np.concatenate([c.encode(cells[c.name]) for c in self.columns], axis=1)

    def unseen(self, X: pd.DataFrame) -> dict[str, int]:
        """Count, for each column that has any, the cells whose category was not in the fit."""
        cells = self._cells(X)
        grouped = [c for c in self.columns if isinstance(c, CategoryColumn)]
        counts = {c.name: c.unseen(cells[c.name]) for c in grouped}
        return {name: count for name, count in counts.items() if count}

    @property
    def input_width(self) -> int:
        """Number of columns of the table that was fitted."""
        return len(self.columns)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the m encoded columns."""
        return tuple(name for column in self.columns for name in column.output_names)

    def to_document(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        columns = tuple(column_from(each) for each in entry(document, "columns", LIST))
        names = [column.name for column in columns]
        if len(set(names)) != len(names):
            raise wrong_entry("columns", "names that differ", names)
        most = positive_integer(entry(document, "max_categories", int), "max_categories")
        return cls(most, columns)

    def _cells(self, X: pd.DataFrame) -> dict[str, pd.Series]:
        """Return a table's columns by name, once the fitted ones are known to be there."""
        check_fitted(self, bool(self.columns))
        _check_frame(X)
        missing = [c.name for c in self.columns if c.name not in X.columns]
        if missing:
            raise InputError(
                f"TableEncoder expected the {len(self.columns)} columns it was fitted on, got a "
                f"table without {', '.join(map(repr, missing))}. Add them, with empty cells where "
                f"values are not known."
            )
        return {str(name): column for name, column in X.items()}


def _check_frame(X: object) -> None:
    import pandas as pd

    if not isinstance(X, pd.DataFrame):
        raise InputError(
            f"TableEncoder expected a pandas DataFrame, got {type(X).__name__}. "
            f"Name its columns, pd.DataFrame(X, columns=[...]), or use ArrayEncoder."
        )
    wrong = [name for name in X.columns if not isinstance(name, str)]
    if wrong:
        raise InputError(
            f"TableEncoder expected column names that are text, got {wrong[0]!r}. "
            f"Rename them: X.columns = X.columns.astype(str)."
        )
    if not X.columns.is_unique:
        repeated = X.columns[X.columns.duplicated()][0]
        raise InputError(
            f"TableEncoder expected columns with different names, got {repeated!r} more than once. "
            f"Rename or drop one."
        )
