"""``lamina export``: a saved model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamina.cli import options
from lamina.errors import InputError


def export(
    model: options.ModelFile,
    onnx: Annotated[
        Path | None,
        typer.Option(help="Write the encoder, the network and its probabilities as ONNX."),
    ] = None,
    torch: Annotated[
        Path | None,
        typer.Option(help="Write the weights by PyTorch's names: a .safetensors or .pt file."),
    ] = None,
) -> None:
    """Write a model for other programs: as an ONNX graph, or its weights for PyTorch."""
    from lamina.cli import show
    from lamina.estimators.persistence import load

    if onnx is None and torch is None:
        raise InputError("export expected --onnx FILE or --torch FILE, got neither.")
    show.check_outputs([model], onnx=onnx, torch=torch)
    estimator = load(model)
    if not hasattr(estimator, "network_"):
        raise InputError(
            f"export expected a network, got {model}, a {type(estimator).__name__}. Its matrices "
            "are in the model file, which any reader of safetensors opens."
        )
    if onnx is not None:
        from lamina.estimators.onnx_export import export_onnx

        export_onnx(estimator, onnx)
        show.line("saved", f"{onnx}: {type(estimator).__name__} as ONNX")
    if torch is not None:
        from lamina.estimators.torch_weights import export_torch

        names = export_torch(estimator, torch)
        show.line("saved", f"{torch}: {len(names)} arrays by PyTorch's names")
        if getattr(estimator, "encoder_", None) is not None:
            show.line("left out", "how files become the network's numbers; --onnx has that too")
