"""``lamina import-torch``: PyTorch's weights as a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamina.cli import options


def import_torch(
    weights: Annotated[
        Path,
        typer.Argument(help="A state dict: .pt, .pth or .safetensors. Nothing in it is run."),
    ],
    layout: Annotated[
        Path,
        typer.Option(
            help='JSON: {"network": {"is": "Sequential", "layers": [{"is": "LSTM", "units": 64}, '
            '{"is": "Dense", "units": 3}]}, "input_shape": [20, 12], "classes": ["a", "b", "c"]}. '
            'Also "estimator": "RecurrentClassifier" for series of any length, and "names": '
            '{"lstm_0": "rnn", "dense_0": "head.fc"} where modules stand in another order; '
            "rnn[1] is the second layer of a stacked module. Images are (h, w, c)."
        ),
    ],
    out: options.NewModelFile,
) -> None:
    """Make a model file of PyTorch's weights and a description of the network."""
    from lamina.cli import show
    from lamina.estimators import torch_weights

    show.check_outputs([weights, layout], out=out)
    estimator = torch_weights.import_torch(weights, layout)
    estimator.save(out)
    show.line("saved", f"{out}: {type(estimator).__name__} with the weights of {weights}")
