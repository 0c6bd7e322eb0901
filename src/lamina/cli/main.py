"""The command line: one function a command, each in its own file.

Nothing heavy is imported here, so that ``--help`` answers at once; a command imports what it needs
when it runs.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lamina.cli import options, show
from lamina.cli.commands import (
    compress,
    datasets,
    demo,
    evaluate,
    export,
    fit,
    generate,
    import_onnx,
    import_torch,
    inspect,
    plan,
    predict,
    recommend,
)
from lamina.errors import LaminaError

app = typer.Typer(
    name="lamina",
    help="Deep learning as linear algebra: train, use and look into classic networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit")(fit.fit)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("recommend")(recommend.recommend)
app.command("generate")(generate.generate)
app.command("plan")(plan.plan)
app.command("inspect")(inspect.inspect)
app.command("compress")(compress.compress)
app.command("export")(export.export)
app.command("import-torch")(import_torch.import_torch)
app.command("import-onnx")(import_onnx.import_onnx)
app.add_typer(datasets.app, name="datasets")
app.command("demo")(demo.demo)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version

    from lamina import __version__
    from lamina.kernels import native

    python = ".".join(map(str, sys.version_info[:3]))
    print(f"lamina {__version__} (jax {version('jax')}, Python {python})")
    print(f"kernels: {native.explanation()}")
    print(f"bfloat16 kernels: {native.explanation_of_half()}")
    raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show versions and exit."
        ),
    ] = False,
) -> None:
    show.warnings_as_lines()


def main() -> None:
    """Run the command line: 0 is success, 2 unusable input, 1 training that failed."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # where the terminal's letters lack σ or ‖
    try:
        app()
    except LaminaError as error:
        print(f"lamina: {options.in_options(str(error), fit.fit)}", file=sys.stderr)
        raise SystemExit(getattr(error, "exit_status", 2)) from None
    except MemoryError as error:
        print(
            f"lamina: expected to find the memory for this, got: {error or 'none left'}. Take a "
            "smaller network, batch or data set (lamina plan tells what a network takes).",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    except BrokenPipeError:  # the reader of our output has gone, as in `lamina … | head`
        sys.stderr.close()
        raise SystemExit(0) from None


if __name__ == "__main__":
    main()
