"""``lamina datasets``: known data sets, and how to get them."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="List known data sets, or fetch one.", invoke_without_command=True)


@app.callback()
def datasets(context: typer.Context) -> None:
    """List known data sets and where they are on this machine."""
    if context.invoked_subcommand is not None:
        return
    from lamina.cli import show
    from lamina.formats.known import KNOWN_DATASETS, locate

    rows = []
    for known in KNOWN_DATASETS.values():
        place = locate(known.name) if known.files else "comes with scikit-learn"
        size = f"{sum(file.size for file in known.files) / 1e6:,.0f} MB" if known.files else "—"
        rows.append([known.name, known.shape, size, place or "not here"])
    columns = ["name", "what", "download", "on this machine"]
    show.console().print(show.table(columns, rows))
    print("Fetch one with: lamina datasets fetch NAME. Train on it with: lamina fit NAME.")


@app.command("fetch")
def fetch(name: Annotated[str, typer.Argument(help="A name that lamina datasets lists.")]) -> None:
    """Download a data set from its official source, and check it."""
    import sys

    from lamina.cli import show
    from lamina.formats.known import fetch

    def progress(file: str, done: int, size: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{file}: {done / 1e6:,.1f} of {size / 1e6:,.1f} MB", end="", file=sys.stderr)

    folder = fetch(name, progress=progress)
    show.line("ready", f"{folder}. Train on it with: lamina fit {name}")
