"""Lists of items for users, or for items those alike, as data that can be read and written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.factorization.labels import Labels

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float, Int, Shaped


class Recommendation(NamedTuple):
    """One list, best first; shorter than asked where there is no more.

    Parameters
    ----------
    query : label
        The user, or item, that it is for.
    items : array of shape (k,)
        Labels.
    scores : array of shape (k,)
        The model's scores, or popularities.
    popular : bool
        Whether these are the most popular items, as nothing is known of the user.
    """

    query: Any
    items: Shaped[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]
    popular: bool


@dataclass(frozen=True, eq=False)
class Recommendations:
    """Lists for q queries; iterating yields a `Recommendation` for each.

    Parameters
    ----------
    queries : array of shape (q,)
        Labels of the users, or items, that were asked for.
    codes : array of shape (q, n)
        Items' row numbers, best first; -1 where a list is shorter.
    scores : array of shape (q, n)
        What the model gives them; for popular items how many users have them.
    popular : array of shape (q,)
        Which lists are the most popular items, since nothing is known of the user.
    labels : Labels
        Of the items.
    kind : {"user", "item"}
        What queries are.
    """

    queries: Shaped[np.ndarray, " q"]
    codes: Int[np.ndarray, "q n"]
    scores: Float[np.ndarray, "q n"]
    popular: Shaped[np.ndarray, " q"]
    labels: Labels
    kind: str = "user"

    @property
    def items(self) -> Shaped[np.ndarray, "q n"]:
        """Labels (q, n); None where a list is shorter, which makes the array one of objects."""
        missing = self.codes < 0
        found = self.labels.values[np.maximum(self.codes, 0)]
        if not missing.any():
            return found
        found = found.astype(object)
        found[missing] = None
        return found

    def __len__(self) -> int:
        return len(self.queries)

    def __iter__(self) -> Iterator[Recommendation]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> Recommendation:
        """Return one query's list."""
        known = self.codes[row] >= 0
        items = self.labels.values[self.codes[row][known]]
        query = self.queries[row]
        return Recommendation(query, items, self.scores[row][known], bool(self.popular[row]))

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row for each recommended item.

        Its columns are ``user`` (or ``item``), ``rank`` from 1, ``recommended``, ``score`` and, for
        users, ``popular``.
        """
        import pandas as pd

        rows, places = np.nonzero(self.codes >= 0)
        columns = {
            self.kind: self.queries[rows],
            "rank": places + 1,
            "recommended": self.labels.values[self.codes[rows, places]],
            "score": self.scores[rows, places],
        }
        if self.kind == "user":
            columns["popular"] = self.popular[rows]
        return pd.DataFrame(columns)
