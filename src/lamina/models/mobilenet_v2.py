"""MobileNetV2: inverted residual blocks, for phones.

Source: Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks, table 2.
"""

from __future__ import annotations

from lamina.models.architecture import Architecture, Preprocessing
from lamina.models.inverted import Stage, Style, timm_names

STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
STYLE = Style("even", epsilon=1e-5, momentum=0.9)


def mobilenet_v2(outputs: int = 1000) -> Architecture:
    """Return MobileNetV2; 3.5 M weights."""
    names = {"torchvision": _torchvision_names(), "timm": timm_names(STAGES)}
    stages = STYLE.network(STAGES)
    return Architecture("mobilenet_v2", stages, names, Preprocessing(), outputs)


def _torchvision_names() -> tuple[str, ...]:
    names = ["features.0.0", "features.0.1"]
    number = 1
    for stage in STAGES:
        for _ in range(stage.blocks):
            parts = ["0.0", "0.1", "1.0", "1.1", "2", "3"]
            if stage.expansion == 1:
                parts = ["0.0", "0.1", "1", "2"]
            names += [f"features.{number}.conv.{part}" for part in parts]
            number += 1
    return (*names, f"features.{number}.0", f"features.{number}.1", "classifier.1")
