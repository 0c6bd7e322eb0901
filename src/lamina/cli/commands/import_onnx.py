"""``lamina import-onnx``: an ONNX file as a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamina.cli import options


def import_onnx(
    graph: Annotated[Path, typer.Argument(help="An ONNX file with its weights in it.")],
    out: options.NewModelFile,
    classes: Annotated[
        str | None,
        typer.Option(
            help="A classifier's classes in the order of its scores, with commas between; those "
            "in a file from lamina export if left out."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Which output of the graph; scores or the first.")
    ] = None,
) -> None:
    """Make a model file of an ONNX file's network."""
    from lamina.cli import show
    from lamina.estimators import onnx_import

    show.check_outputs([graph], out=out)
    named = None if classes is None else [name.strip() for name in classes.split(",")]
    estimator = onnx_import.import_onnx(graph, named, output)
    estimator.save(out)
    show.line("saved", f"{out}: {type(estimator).__name__} with the network of {graph}")
