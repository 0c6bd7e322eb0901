"""What models of users and items recommend, as tables and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.cli import show
from lamina.errors import InputError, check_number, did_you_mean
from lamina.estimators.factorization import USERS_AT_ONCE, Factorization
from lamina.estimators.iterations import progress_bar
from lamina.estimators.ratings import RatingFactorization
from lamina.factorization.interactions import frame_columns
from lamina.factorization.recommendations import Recommendations
from lamina.formats.files import written_whole
from lamina.formats.pairs import read_pairs
from lamina.formats.tables import table_suffix

if TYPE_CHECKING:
    import pandas as pd

NAMES_COMPARED = 20_000
"""So many users' names are looked through for one like a name that is not known."""


def predict(estimator: Factorization, data: str, out: Path | None) -> None:
    """Write the score of each pair in a file."""
    names = None if estimator.columns is None else tuple(estimator.columns)[:2]
    frame = read_pairs(data, names)
    pairs = frame[frame_columns(frame, names)[:2]]
    title = "rating" if isinstance(estimator, RatingFactorization) else "score"
    made = pairs.assign(**{title: estimator.predict(pairs)})
    if out is None:
        print(made.to_csv(index=False), end="")
        return
    _write(out, iter([made]))
    show.line("saved", f"{out}: {len(made):,} predictions of {title}")


def recommend(
    estimator: Factorization,
    users: Sequence[str],
    similar_to: Sequence[str],
    everyone: bool,
    n: int,
    include_seen: bool,
    out: Path | None,
    quiet: bool,
) -> None:
    """Print or write lists of items: for users, for all of them, or of items alike."""
    check_number("-n", n, at_least=1, whole=True)
    ways = [bool(users), bool(similar_to), everyone]
    if sum(ways) != 1:
        raise InputError(
            f"recommend expected one of --user, --similar-to and --all, got {sum(ways)} of them."
        )
    if everyone:
        _recommend_all(estimator, n, include_seen, out, quiet)
        return
    if users:
        queries = estimator._users.read(users)
        found = estimator.recommend(queries, n, exclude_seen=not include_seen)
    else:
        found = estimator.similar_items(estimator._items.read(similar_to), n)
    if out is None:
        _print(found, estimator.users_[:NAMES_COMPARED].tolist())
        return
    _write(out, iter([found.to_frame()]))
    show.line("saved", f"{out}: {counted(len(found), 'list')} of up to {counted(n, 'item')}")


def _recommend_all(
    estimator: Factorization, n: int, include_seen: bool, out: Path | None, quiet: bool
) -> None:
    total = len(estimator.users_)
    with progress_bar(total, "users", verbose=not quiet and out is not None) as moved:

        def frames() -> Iterator[pd.DataFrame]:
            lists = estimator.recommend_all(n, exclude_seen=not include_seen)
            for number, part in enumerate(lists, start=1):
                yield part.to_frame()
                moved(min(number * USERS_AT_ONCE, total))

        if out is None:
            for number, frame in enumerate(frames()):
                print(frame.to_csv(index=False, header=number == 0), end="")
            return
        _write(out, frames())
    lists = f"lists of up to {counted(n, 'item')} for {counted(total, 'user')}"
    show.line("saved", f"{out}: {lists}")


def counted(n: int, noun: str) -> str:
    """Return ``"1 list"`` or ``"1,000 lists"``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _print(found: Recommendations, users: Sequence[Any] = ()) -> None:
    """Print lists; for one whom nothing is known of, the nearest of ``users``."""
    for each in found:
        rows = [
            [rank, item, f"{score:.4g}"]
            for rank, (item, score) in enumerate(zip(each.items, each.scores, strict=True), start=1)
        ]
        if found.kind == "item":
            title, last = f"like item {each.query}", "cosine"
        elif each.popular:
            near = did_you_mean(each.query, map(str, users)) if isinstance(each.query, str) else ""
            title = f"nothing is known of user {each.query}: the most popular items"
            title += near and f".{near}"
            last = "users"
        else:
            title, last = f"for user {each.query}", "score"
        show.console().print(show.table(["rank", "item", last], rows, title))


def _write(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    """Write frames one below the other; the file appears whole or not at all."""
    suffix = table_suffix(path)
    with written_whole(path) as draft:
        if suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            writer = None
            try:
                for frame in frames:
                    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
                    writer = writer or pyarrow.parquet.ParquetWriter(draft, table.schema)
                    writer.write_table(table)
            finally:
                if writer is not None:
                    writer.close()
            return
        import gzip

        between = "\t" if suffix.startswith(".tsv") else ","
        opened: Any = gzip.open if suffix.endswith(".gz") else open
        with opened(draft, "wt", encoding="utf-8", newline="") as text:
            for number, frame in enumerate(frames):
                frame.to_csv(text, sep=between, index=False, header=number == 0)
