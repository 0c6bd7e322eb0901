"""Tables of a page: figures whose columns can be sorted, and the confusion of classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lamina.inspection.page.markup import Markup, tag


@dataclass(frozen=True)
class Number:
    """A number in a table: how it is written, and what rows are sorted by.

    Parameters
    ----------
    value : float or None
        None is an empty cell.
    form : str
        A format specification: ``",d"``, ``".1%"``.
    """

    value: float | None
    form: str = ".4g"

    def __str__(self) -> str:
        """Return it written; nothing for None."""
        if self.value is None:
            return ""
        return "∞" if math.isinf(self.value) else format(self.value, self.form)


Cell = Number | Markup | str


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Markup:
    """Return a table that can be sorted by any column and scrolls sideways where it must.

    Parameters
    ----------
    caption : str
        What it is a table of.
    columns : sequence of str
        Their heads; the first column names the row.
    rows : iterable of sequences
        Cells; what is no `Number` is text, to the left. A column without any is left out.
    """
    rows = [list(row) for row in rows]
    filled = [j for j in range(len(columns)) if any(str(row[j]) for row in rows)]
    columns, rows = [columns[j] for j in filled], [[row[j] for j in filled] for row in rows]
    numeric = [all(isinstance(row[j], Number) for row in rows) for j in range(len(columns))]
    heads = [
        tag("th", head, scope="col", class_=None if numeric[j] else "text")
        for j, head in enumerate(columns)
    ]
    body = [
        tag("tr", tag("th", row[0], scope="row"), [_cell(cell) for cell in row[1:]]) for row in rows
    ]
    made = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", heads)),
        tag("tbody", body),
        class_="sortable",
    )
    return scrolling(made, caption)


def _cell(cell: Cell) -> Markup:
    if isinstance(cell, Number):
        return tag("td", str(cell), data_value="" if cell.value is None else repr(cell.value))
    return tag("td", cell, class_="text")


def scrolling(made: Markup, label: str) -> Markup:
    """Return a table in a region of its own, which the keyboard can scroll."""
    return tag("div", made, class_="scroll", role="region", aria_label=label, tabindex="0")


def confusion(counts: np.ndarray, names: Sequence[str]) -> Markup:
    """Return a confusion matrix as a table, true classes down and predicted ones across.

    Parameters
    ----------
    counts : int array of shape (K, K)
        Rows of data.
    names : sequence of K str
        The classes.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    heads = [tag("th", tag("span", "true \\ predicted", class_="quiet"))]
    heads += [tag("th", name, scope="col") for name in names]
    body = []
    for i, name in enumerate(names):
        cells = [_share(int(counts[i, j]), shares[i, j], i == j) for j in range(len(names))]
        body.append(tag("tr", tag("th", name, scope="row"), cells))
    made = tag("table", tag("thead", tag("tr", heads)), tag("tbody", body), class_="confusion")
    return scrolling(made, "Confusion matrix")


def _share(count: int, share: float, right: bool) -> Markup:
    if not count:
        return tag("td", "·", class_="none", style="--share: 0")
    depth = share if right else 0.12 + 0.88 * share**0.5
    kinds = ["right"] if right else []
    kinds += ["strong"] if depth > 0.6 else []
    title = f"{share:.1%} of its class"
    return tag(
        "td", count, class_=" ".join(kinds) or None, style=f"--share: {depth:.2f}", title=title
    )
