"""Interactions of users with items: triples (user, item, value) as a sparse matrix and its labels.

Users are rows, items columns; labels may be anything that hashes. The matrix is kept by rows and,
where it is asked for, by columns, and never made dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lamina.errors import InputError, check_choice
from lamina.factorization.labels import UNKNOWN, Labels, label_column

DUPLICATES = ("error", "sum", "mean", "last")
USUAL_COLUMNS = (
    ("user", "user_id", "userId"),
    ("item", "item_id", "itemId", "movieId"),
    ("rating", "value", "count", "weight"),
)
"""What a frame's columns are looked for under where nobody names them."""


class Triples(NamedTuple):
    """Columns of interactions: two of labels, one of numbers or None."""

    users: Any
    items: Any
    values: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who had to do with what, and how much; make one with `of`.

    Parameters
    ----------
    by_user : sparse array of shape (users, items)
        CSR, float32, sorted, no entry twice.
    users, items : Labels
        Of its rows and columns.
    """

    by_user: Any
    users: Labels
    items: Labels

    @classmethod
    def of(
        cls,
        X: Any,
        y: Any = None,
        *,
        columns: Sequence[str] | None = None,
        duplicates: str = "error",
    ) -> Interactions:
        """Return the interactions in any of the forms in which users have them.

        Parameters
        ----------
        X : sparse matrix (users, items), DataFrame, tuple of arrays, or array of shape (n, 2 or 3)
            A sparse matrix's labels are its row and column numbers. Otherwise one user, one item
            and, unless ``y`` has them, one value a row; values are 1 where there are none.
        y : array of shape (n,), optional
            Values.
        columns : sequence of str, optional
            A frame's columns: user, item and perhaps value; see `triples`.
        duplicates : {"error", "sum", "mean", "last"}
            What to do with a pair that comes more than once.

        Raises
        ------
        InputError
            For what cannot be read as interactions, and pairs that come twice.
        """
        check_choice("duplicates", duplicates, DUPLICATES)
        if is_sparse(X):
            return cls._of_matrix(X, y, duplicates)
        given = triples(X, y, columns)
        if len(given.users) == 0:
            raise _nothing()
        users, rows = Labels.of(given.users, "user")
        items, cols = Labels.of(given.items, "item")
        by_user = compressed(rows, cols, given.values, (len(users), len(items)), duplicates)
        return cls(by_user, users, items)

    @classmethod
    def _of_matrix(cls, X: Any, y: Any, duplicates: str) -> Interactions:
        if y is not None:
            raise InputError(
                "y expected None beside a sparse matrix, whose entries are the values, got "
                f"{type(y).__name__}. Leave it out."
            )
        if X.ndim != 2 or X.nnz == 0:
            raise _nothing()
        by_user = sparse_rows(X, duplicates)
        return cls(by_user, Labels.counted(X.shape[0]), Labels.counted(X.shape[1]))

    def rows_of(self, X: Any, columns: Sequence[str] | None = None) -> Interactions:
        """Return new users' interactions with these items.

        Parameters
        ----------
        X : as in `of`
            A sparse matrix has a column for each item; other forms name them.
        columns : sequence of str, optional
            As in `of`.
        """
        return new_rows(X, self.items, columns)

    def with_rows_for(self, users: Any, items: Any) -> Interactions:
        """Return the same interactions with rows, or columns, for these labels too."""
        given = ((self.users, users, "user"), (self.items, items, "item"))
        wider = [Labels.of([*known.values.tolist(), *new], what)[0] for known, new, what in given]
        rows, cols = (
            new.codes(known.values)
            for new, known in zip(wider, (self.users, self.items), strict=True)
        )
        shape = len(wider[0]), len(wider[1])
        of_entry = np.repeat(rows, np.diff(self.by_user.indptr))
        made = compressed(of_entry, cols[self.by_user.indices], self.by_user.data, shape)
        return Interactions(made, *wider)

    @cached_property
    def by_item(self) -> Any:
        """The transpose, by rows as well."""
        return self.by_user.T.tocsr()

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        users, items = self.by_user.shape
        return users, items

    def __len__(self) -> int:
        return self.by_user.nnz


def new_rows(
    X: Any, items: Labels, columns: Sequence[str] | None = None, duplicates: str = "error"
) -> Interactions:
    """Return new users' interactions with known items; see `Interactions.rows_of`."""
    if is_sparse(X):
        if X.shape[1] != len(items):
            raise InputError(
                f"new rows expected a column for each of the {len(items)} items, got "
                f"{X.shape[1]} columns. Pass triples (user, item, value) if items differ."
            )
        by_user = sparse_rows(X, duplicates)
        return Interactions(by_user, Labels.counted(X.shape[0]), items)
    given = triples(X, None, columns)
    if len(given.users) == 0:
        raise _nothing()
    users, rows = Labels.of(given.users, "user")
    cols = items.codes(given.items, "item")
    if (cols == UNKNOWN).any():
        row = int((cols == UNKNOWN).argmax())
        label = label_column(given.items, "item")[row]
        raise InputError(
            f"new rows expected items that the model was fitted with, got {label!s} in row "
            f"{row + 1}. Leave such rows out."
        )
    shape = (len(users), len(items))
    return Interactions(compressed(rows, cols, given.values, shape, duplicates), users, items)


def is_sparse(X: Any) -> bool:
    """Tell a SciPy sparse matrix or array without importing SciPy."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def triples(X: Any, y: Any = None, columns: Sequence[str] | None = None) -> Triples:
    """Return the columns user, item and value of a frame, a tuple of arrays or an array.

    Parameters
    ----------
    X : DataFrame, tuple of arrays of shape (n,), or array of shape (n, 2 or 3)
        A frame's columns are those that ``columns`` names, else those with usual names such as
        ``user_id``, else the first two or three where it has no more.
    y : array of shape (n,), optional
        Values, which a third column must not name too.
    columns : sequence of str, optional
        Two or three names.
    """
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        parts = [X[name] for name in frame_columns(X, columns, with_value=y is None)]
    elif isinstance(X, tuple) and len(X) in (2, 3):
        parts = list(X)
    else:
        array = np.asarray(X)
        if array.ndim != 2 or array.shape[1] not in (2, 3):
            raise InputError(
                "Interactions expected a SciPy sparse matrix, a DataFrame, a tuple (user, item, "
                f"value) of arrays or an array of 2 or 3 columns, got shape {array.shape}. A dense "
                "matrix: scipy.sparse.csr_array(X)."
            )
        parts = list(array.T)
    if y is not None and len(parts) == 3:
        raise InputError(
            "Interactions expected values either in y or as a third column, got both. "
            "Leave one of them out."
        )
    values = y if y is not None else parts[2] if len(parts) == 3 else None
    lengths = [len(part) for part in (*parts[:2], *([] if values is None else [values]))]
    if len(set(lengths)) > 1:
        raise InputError(
            f"Interactions expected columns of one length, got {', '.join(map(str, lengths))}."
        )
    return Triples(parts[0], parts[1], None if values is None else _numbers(values))


def frame_columns(
    frame: Any, columns: Sequence[str] | None = None, *, with_value: bool = True
) -> list[Any]:
    """Return the names of a frame's user, item and, if it has one, value columns."""
    present = list(frame.columns)
    if columns is not None:
        wanted = [columns] if isinstance(columns, str) else list(columns)
        if len(wanted) not in (2, 3):
            raise InputError(
                f"columns expected two or three names, user, item and perhaps value, got {wanted}."
            )
        wanted = wanted if with_value else wanted[:2]
        for name in wanted:
            if name not in present:
                raise InputError(
                    f"columns expected names of the frame, {', '.join(map(str, present[:20]))}; "
                    f"got {name!r}."
                )
        return wanted
    found = [next((n for n in names if n in present), None) for names in USUAL_COLUMNS]
    if found[0] is not None and found[1] is not None:
        named = [name for name in found if name is not None]
    elif len(present) in (2, 3):
        named = present
    else:
        raise InputError(
            "Interactions expected columns named user, item and perhaps rating, got "
            f"{', '.join(map(str, present[:20]))}. Say which: columns=(user, item, value)."
        )
    return named if with_value else named[:2]


def compressed(
    rows: np.ndarray,
    cols: np.ndarray,
    values: np.ndarray | None,
    shape: tuple[int, int],
    duplicates: str = "error",
) -> Any:
    """Return entries as CSR in float32, pairs that come twice treated as told.

    Parameters
    ----------
    rows, cols : int arrays of shape (n,)
        Where.
    values : array of shape (n,), or None
        What; None is 1 each.
    shape : (users, items)
        Of the matrix.
    duplicates : {"error", "sum", "mean", "last"}
        See `Interactions.of`.
    """
    from scipy.sparse import csr_array

    keys = rows * np.int64(shape[1]) + cols
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    repeated = len(keys) - len(starts)
    if repeated and duplicates == "error":
        raise _repeated(repeated, len(keys))
    data = np.ones(len(keys), np.float32) if values is None else values[order]
    if repeated:
        ends = np.append(starts[1:], len(keys))
        if duplicates == "last":
            data = data[ends - 1]
        else:
            sums = np.add.reduceat(data.astype(np.float64), starts)
            data = sums / (ends - starts) if duplicates == "mean" else sums
    keys = keys[starts]
    indptr = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(keys // shape[1], minlength=shape[0]), out=indptr[1:])
    indices = (keys % shape[1]).astype(np.int32)
    return _checked(csr_array((data.astype(np.float32), indices, indptr), shape))


def sparse_rows(X: Any, duplicates: str = "error") -> Any:
    """Return a sparse matrix as CSR in float32 of its own, pairs that come twice as told."""
    from scipy.sparse import csr_array

    if X.format == "csr":
        made = csr_array((X.data.astype(np.float32), X.indices.copy(), X.indptr.copy()), X.shape)
        made.sort_indices()
        if made.has_canonical_format:
            return _checked(made)
    coo = X.tocoo()
    rows, cols = coo.row.astype(np.int64), coo.col.astype(np.int64)
    return compressed(rows, cols, _numbers(coo.data), X.shape, duplicates)


def _numbers(values: Any) -> np.ndarray:
    """Return a column of values as float64."""
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Values expected numbers, got others: {error}. Check which column is which."
        ) from None
    if numbers.ndim != 1:
        raise InputError(f"Values expected one number a row, got shape {numbers.shape}.")
    return numbers


def _checked(matrix: Any) -> Any:
    if not np.isfinite(matrix.data).all():
        wrong = int((~np.isfinite(matrix.data)).sum())
        raise InputError(
            f"Values expected finite numbers, got {wrong} that are NaN or infinite. "
            "Delete those interactions."
        )
    return matrix


def _repeated(count: int, total: int) -> InputError:
    return InputError(
        f"Interactions expected each pair of user and item once, got {count:,} of {total:,} that "
        'repeat an earlier one. Say what to do: duplicates="sum", "mean" or "last".'
    )


def _nothing() -> InputError:
    return InputError("Interactions expected at least one pair of user and item, got none.")
