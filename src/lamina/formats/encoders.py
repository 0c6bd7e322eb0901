"""How raw inputs become the matrix ``X`` of float32 that a network multiplies.

An encoder is a frozen value. ``fit`` returns a fitted copy, so an unfitted encoder can stand as a
constructor parameter of an estimator, and its document (plain JSON) travels inside a saved model.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from lamina.errors import FileFormatError, InputError, check_number
from lamina.formats.dataset import Dataset

if TYPE_CHECKING:
    import pandas as pd

_FLOAT32_MAX = np.float64(np.finfo(np.float32).max)
_LARGEST = sys.float_info.max
_BLOCK = 1024  # rows standardised at once, in float64
_LIST = list | tuple  # a document may come from JSON or straight from `to_document`
# The words of pandas.api.types.infer_dtype.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean"}
_TEXTS = {"string", "categorical", "mixed", "mixed-integer", "empty"}


class Encoder(Protocol):
    """From raw inputs to ``X`` (n, m) of float32, by rules learned from the training part."""

    kind: ClassVar[str]

    def fit(self, X: Any) -> Self:
        """Return a copy that has learned its rules from ``X``."""
        ...

    def transform(self, X: Any) -> np.ndarray:
        """Return the float32 matrix of shape (n, m) for these inputs."""
        ...

    @property
    def input_width(self) -> int:
        """Number of raw features: a table's columns, an image's h w c numbers."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the m encoded columns."""
        ...

    def to_document(self) -> dict[str, Any]:
        """Return what ``from_document`` needs, as plain JSON values."""
        ...

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        ...


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
        mean, scale = _mean_and_scale(values[~missing])
        return cls(str(column.name), mean, scale, bool(missing.any()))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The column itself and, if it marks missing values, their indicator."""
        return (self.name, f"{self.name} is missing") if self.marks_missing else (self.name,)

    def encode(self, column: pd.Series) -> np.ndarray:
        """Return float32 of shape (n, 1), or (n, 2) with the indicator."""
        values = _numbers(column)
        missing = np.isnan(values)
        z = _standardised(np.where(missing, self.mean, values), self.mean, self.scale)
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
                f"identifier or free text. If so, {_drop_hint(column)}."
            )
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
        if _holds_numbers(column):
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
        columns = tuple(_column_from(entry) for entry in _entry(document, "columns", _LIST))
        names = [column.name for column in columns]
        if len(set(names)) != len(names):
            raise _wrong_entry("columns", "names that differ", names)
        return cls(_whole(_entry(document, "max_categories", int), "max_categories"), columns)

    def _cells(self, X: pd.DataFrame) -> dict[str, pd.Series]:
        """Return a table's columns by name, once the fitted ones are known to be there."""
        _check_fitted(self, bool(self.columns))
        _check_frame(X)
        missing = [c.name for c in self.columns if c.name not in X.columns]
        if missing:
            raise InputError(
                f"TableEncoder expected the {len(self.columns)} columns it was fitted on, got a "
                f"table without {', '.join(map(repr, missing))}. Add them, with empty cells where "
                f"values are not known."
            )
        return {str(name): column for name, column in X.items()}


@dataclass(frozen=True)
class ImageEncoder:
    """Images as rows of numbers: ``uint8`` divided by 255, floating numbers as they are.

    Parameters
    ----------
    image_shape : tuple (h, w, c) or None
        What ``fit`` has learned; None before.
    """

    kind: ClassVar[str] = "images"
    image_shape: tuple[int, int, int] | None = None

    def fit(self, X: np.ndarray) -> Self:
        """Return a copy that knows the shape of images (n, h, w, c) or (n, h, w)."""
        X = np.asarray(X)
        if X.ndim not in (3, 4) or 0 in X.shape:
            raise InputError(
                f"ImageEncoder expected images of shape (n, h, w, c) or (n, h, w), got shape "
                f"{X.shape}. Reshape them: X.reshape(-1, h, w, c)."
            )
        _check_pixels(X)
        h, w, c = (*X.shape[1:], 1)[:3]
        return replace(self, image_shape=(h, w, c))

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return float32 of shape (n, h w c), from images or from rows already flat."""
        h, w, c = self._shape
        X = np.asarray(X)
        if X.shape[1:] not in ((h, w, c), (h * w * c,)) and (X.shape[1:], c) != ((h, w), 1):
            raise InputError(
                f"ImageEncoder expected images of shape ({h}, {w}, {c}), as in its fit, got X of "
                f"shape {X.shape}. Resize the images or fit anew."
            )
        _check_pixels(X)
        flat = X.reshape(len(X), h * w * c)
        if X.dtype == np.uint8:
            return np.divide(flat, 255, dtype=np.float32)
        with np.errstate(over="ignore"):
            flat = flat.astype(np.float32)
        wrong = np.flatnonzero(~np.isfinite(flat).all(axis=1))
        if len(wrong):
            raise InputError(
                f"ImageEncoder expected finite numbers, got NaN or infinity in image {wrong[0]} "
                f"(X[{wrong[0]}]). Repair or leave out that image."
            )
        return flat

    @property
    def input_width(self) -> int:
        """Numbers in an image, h w c."""
        h, w, c = self._shape
        return h * w * c

    @property
    def output_names(self) -> tuple[str, ...]:
        """``pixel 3,4,0`` for row 3, column 4, channel 0."""
        return tuple("pixel " + ",".join(map(str, at)) for at in np.ndindex(self._shape))

    def to_document(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        shape = _entry(document, "image_shape", _LIST | None)
        if shape is None:
            return cls()
        if len(shape) != 3:
            raise _wrong_entry("image_shape", "three whole numbers", shape)
        h, w, c = (_whole(size, "image_shape") for size in shape)
        return cls((h, w, c))

    @property
    def _shape(self) -> tuple[int, int, int]:
        _check_fitted(self, self.image_shape is not None)
        return self.image_shape or (0, 0, 0)


@dataclass(frozen=True)
class ArrayEncoder:
    """A numeric array, each column standardised: ``(X - mean) / scale``.

    Parameters
    ----------
    standardize : bool
        False takes the numbers as they are (mean 0, scale 1).
    mean, scale : tuples of m floats
        What ``fit`` has learned; empty before. A constant column has scale 1.
    """

    kind: ClassVar[str] = "array"
    standardize: bool = True
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def fit(self, X: np.ndarray) -> Self:
        """Return a copy that has learned mean and scale of an array of shape (n, m)."""
        X = _matrix(X)
        if 0 in X.shape:
            raise InputError(
                f"ArrayEncoder expected at least one row and one column, got shape {X.shape}."
            )
        _check_entries(X, X)
        pairs = [(0.0, 1.0)] * X.shape[1]
        if self.standardize:
            pairs = [_mean_and_scale(column.astype(np.float64)) for column in X.T]
        mean, scale = zip(*pairs, strict=True)
        return replace(self, mean=mean, scale=scale)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return float32 of shape (n, m)."""
        _check_fitted(self, bool(self.mean))
        X = _matrix(X)
        if X.shape[1] != len(self.mean):
            raise InputError(
                f"ArrayEncoder expected X with {len(self.mean)} columns, as in its fit, got shape "
                f"{X.shape}. Give the same columns in the same order."
            )
        mean, scale = np.array(self.mean), np.array(self.scale)
        Z = np.empty(X.shape, np.float32)
        for start in range(0, len(X), _BLOCK):
            block = slice(start, start + _BLOCK)
            Z[block] = _standardised(X[block], mean, scale)
        _check_entries(Z, X)
        return Z

    @property
    def input_width(self) -> int:
        """Number of columns, m."""
        return len(self.mean)

    @property
    def output_names(self) -> tuple[str, ...]:
        """``x0`` to ``x(m-1)``."""
        return tuple(f"x{j}" for j in range(len(self.mean)))

    def to_document(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        mean = tuple(_finite(v, "mean") for v in _entry(document, "mean", _LIST))
        scale = tuple(_finite(v, "scale", above=0) for v in _entry(document, "scale", _LIST))
        if len(mean) != len(scale):
            raise _wrong_entry("scale", f"{len(mean)} numbers, as in 'mean'", len(scale))
        return cls(_entry(document, "standardize", bool), mean, scale)


_ENCODERS = {encoder.kind: encoder for encoder in (TableEncoder, ImageEncoder, ArrayEncoder)}


def encoder_for(dataset: Dataset) -> TableEncoder | ImageEncoder | ArrayEncoder:
    """Return the unfitted encoder for a data set's kind."""
    return _ENCODERS[dataset.kind]()


def encoder_from_document(document: object) -> TableEncoder | ImageEncoder | ArrayEncoder:
    """Return the encoder that ``to_document`` described, every entry checked."""
    kind = _entry(document, "kind", str)
    if kind not in _ENCODERS:
        raise _wrong_entry("kind", f"one of {', '.join(_ENCODERS)}", kind)
    return _ENCODERS[kind].from_document(document)


def _holds_numbers(column: pd.Series) -> bool:
    """Whether a column holds numbers (or booleans) rather than text; refuse anything else."""
    import pandas as pd

    content = pd.api.types.infer_dtype(column, skipna=True)
    if content not in _NUMBERS | _TEXTS:
        raise _foreign(column, content)
    return content in _NUMBERS


def _numbers(column: pd.Series) -> np.ndarray:
    """Return float64 of shape (n,), NaN where a cell is missing."""
    import pandas as pd

    _holds_numbers(column)
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


def _levels(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return each cell's code (-1 where missing) and the text that each code stands for."""
    import pandas as pd

    _holds_numbers(column)
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


def _mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of shape (n,) numbers; scale 1 for a constant."""
    if values.min() == values.max():  # exact, where the deviation may round to 1e-17
        return float(values[0]), 1.0
    scale = float(values.std())
    return float(values.mean()), scale if scale >= sys.float_info.min else 1.0


def _standardised(values: np.ndarray, mean: Any, scale: Any) -> np.ndarray:
    """Return ``(values - mean) / scale``, float64 rounded to float32, infinity where too large."""
    with np.errstate(over="ignore"):
        return ((values - mean) / scale).astype(np.float32)


def _check_size(column: pd.Series, encoded: np.ndarray, values: np.ndarray) -> None:
    wrong = np.flatnonzero(~(np.abs(encoded) <= _FLOAT32_MAX))
    if len(wrong):
        raise InputError(
            f"Column {column.name!r} expected finite numbers within float32's range, got "
            f"{values[wrong[0]]} in row {column.index[wrong[0]]} (its index). Correct that cell, "
            f"or empty it to count as missing."
        )


def _matrix(X: Any) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "buif":
        raise InputError(
            f"ArrayEncoder expected a numeric array of shape (n, m), got {X.dtype} of shape "
            f"{X.shape}. Convert it: np.asarray(X, float).reshape(n, m)."
        )
    return X


def _check_entries(encoded: np.ndarray, X: np.ndarray) -> None:
    fine = np.abs(encoded) <= _FLOAT32_MAX
    if not fine.all():
        i, j = np.argwhere(~fine)[0]
        raise InputError(
            f"ArrayEncoder expected finite numbers within float32's range, got {X[i, j]} in row "
            f"{i}, column {j} (X[{i}, {j}]). Fill it in or leave the row out."
        )


def _check_pixels(X: np.ndarray) -> None:
    if X.dtype != np.uint8 and X.dtype.kind != "f":
        raise InputError(
            f"ImageEncoder expected uint8 or floating images, got {X.dtype}. "
            f"Convert them: X.astype('uint8') for numbers from 0 to 255."
        )


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


def _check_fitted(encoder: object, fitted: bool) -> None:
    if not fitted:
        name = type(encoder).__name__
        raise InputError(
            f"{name} expected to be fitted first, got an unfitted one. "
            f"Use the copy that fit returns: encoder = {name}().fit(X)."
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
    return f"drop it (--drop {name} on the command line, drop=[{name!r}] in Python)"


def _column_from(entry: object) -> NumberColumn | CategoryColumn:
    name = _entry(entry, "name", str)
    if isinstance(entry, dict) and "categories" in entry:
        categories = _entry(entry, "categories", _LIST)
        distinct = {c for c in categories if isinstance(c, str)}
        if not categories or len(distinct) != len(categories):
            raise _wrong_entry("categories", "texts that differ", categories)
        return CategoryColumn(name, tuple(categories))
    mean = _finite(_entry(entry, "mean", float | int), "mean")
    scale = _finite(_entry(entry, "scale", float | int), "scale", above=0)
    return NumberColumn(name, mean, scale, _entry(entry, "marks_missing", bool))


def _entry(document: object, key: str, kind: Any) -> Any:
    """Return an entry of a document if it is there and of this type."""
    if not isinstance(document, dict) or key not in document:
        raise FileFormatError(
            f"An encoder's document expected the entry {key!r}, got {_short(document)}. "
            f"The file was edited or is of another version: save the model again."
        )
    if not isinstance(document[key], kind):
        raise _wrong_entry(key, getattr(kind, "__name__", str(kind)), document[key])
    return document[key]


def _finite(value: Any, key: str, above: float = -_LARGEST) -> float:
    plain = isinstance(value, float | int) and not isinstance(value, bool)
    if plain and above < value <= _LARGEST:
        return float(value)
    raise _wrong_entry(key, "a finite number" + (" above 0" if above == 0 else ""), value)


def _whole(value: object, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _wrong_entry(key, "a whole number of at least 1", value)
    return value


def _wrong_entry(key: str, expected: str, got: object) -> FileFormatError:
    return FileFormatError(
        f"An encoder's document expected {key!r} to be {expected}, got {_short(got)}. "
        f"The file was edited or is of another version: save the model again."
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
