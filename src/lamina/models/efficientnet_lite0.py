"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with relu6.

Source: Tan and Le 2019, EfficientNet, table 1; Liu 2020, Higher accuracy on vision models with
EfficientNet-Lite. Trained in TensorFlow, whose "same" padding it keeps.
"""

from __future__ import annotations

from lamina.models.architecture import Architecture, Preprocessing
from lamina.models.inverted import SAME, Stage, Style, timm_names

STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1),
)
PREPROCESSING = Preprocessing(mean=(0.5,) * 3, scale=(0.5,) * 3, interpolation="bicubic")


def efficientnet_lite0(outputs: int = 1000, padding: str = SAME) -> Architecture:
    """Return EfficientNet-Lite0; 4.7 M weights.

    Parameters
    ----------
    outputs : int
        Scores.
    padding : {"same", "even"}
        Even is PyTorch's, of the weights that timm has trained anew under the same names.
    """
    style = Style(padding, epsilon=1e-3 if padding == SAME else 1e-5, momentum=0.99)
    names = {"timm": timm_names(STAGES), "efficientnet_pytorch": _efficientnet_pytorch_names()}
    stages = style.network(STAGES)
    return Architecture("efficientnet_lite0", stages, names, PREPROCESSING, outputs)


def _efficientnet_pytorch_names() -> tuple[str, ...]:
    names = ["_conv_stem", "_bn0"]
    number = 0
    for stage in STAGES:
        for _ in range(stage.blocks):
            parts = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
            names += [f"_blocks.{number}.{p}" for p in parts[2 * (stage.expansion == 1) :]]
            number += 1
    return (*names, "_conv_head", "_bn1", "_fc")
