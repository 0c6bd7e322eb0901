"""What commands print: figures, tables, matrices. Plain text when piped."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

MOST_CLASSES_SHOWN = 20
PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


def console() -> Console:
    """Return the console for standard output; wide when piped, so that no line is cut."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=True)


def warnings_as_lines() -> None:
    """Print warnings as one line each, without the source line that raised them."""

    def show(message, category, filename, lineno, file=None, line=None):
        warning(message)

    warnings.showwarning = show


def warning(text: object) -> None:
    """Print a warning as one line."""
    print(f"lamina: warning: {text}", file=sys.stderr)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Any:
    """Return a table with numbers to the right; the first column is text."""
    from rich import box
    from rich.table import Table

    made = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        made.add_column(
            _escaped(column), justify="left" if position == 0 else "right", no_wrap=True
        )
    for row in rows:
        made.add_row(*(_escaped(str(cell)) for cell in row))
    return made


def _escaped(text: str) -> str:
    """Return text that the terminal shows as it is: no markup, no control characters."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "�" for c in text))


def check_outputs(inputs: Iterable[str | Path | None], **outputs: Path | None) -> None:
    """Raise unless files can be written, none of them over an input: found out before any work.

    Parameters
    ----------
    inputs : iterable of str or Path
        What the command reads; what is no file, such as a known data set's name, is passed over.
    **outputs
        The paths to write, by their options' names.
    """
    from lamina.formats.files import check_can_write

    read = [Path(path) for path in inputs if path is not None]
    for option, path in outputs.items():
        if path is None:
            continue
        if option == "png" and path.suffix.lower() not in PICTURES:
            raise InputError(f"--png expected a file's name that ends in .png, got {path}.")
        if path.is_dir():
            raise InputError(f"--{option} expected a file to write, got the folder {path}.")
        if path.exists() and any(each.exists() and path.samefile(each) for each in read):
            raise InputError(f"--{option} expected a new file, got {path}, which is read.")
        check_can_write(path)


def line(label: str, text: object) -> None:
    """Print one labelled line."""
    console().print(f"[bold]{label:<9}[/bold] {_escaped(str(text))}")


def file_size(path: str | Path) -> str:
    """Return a file's size in kB or MB."""
    size = Path(path).stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def predictions(columns: dict[str, Any], out: Path | None, what: str) -> None:
    """Write columns as a table and say what it holds, or print them where no file is named."""
    if out is None:
        import pandas as pd

        print(pd.DataFrame(columns).to_csv(index=False), end="")
        return
    from lamina.formats.tables import write_predictions

    write_predictions(out, columns)
    line("saved", f"{out}: {what}")


def confusion_table(confusion: np.ndarray, names: Sequence[object]) -> Any:
    """Return a confusion matrix as a table: true classes down, predicted ones across."""
    rows = [
        [name, *(count if count else "·" for count in counts)]
        for name, counts in zip(names, confusion.tolist(), strict=True)
    ]
    return table(["true \\ predicted", *map(str, names)], rows)
