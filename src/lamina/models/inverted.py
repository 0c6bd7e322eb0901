"""The inverted residual block of mobile networks: widen, filter each channel, narrow.

Source: Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks, figure 4.
"""

from __future__ import annotations

from typing import NamedTuple

from lamina.layers.composition import Residual
from lamina.layers.convolution import DEPTHWISE, Conv2D
from lamina.layers.layer import Layer
from lamina.layers.normalization import BatchNorm
from lamina.layers.pointwise import Activation
from lamina.layers.sequential import Sequential

SAME = "same"


class Stage(NamedTuple):
    """Blocks of one width: row of the paper's table 2.

    Parameters
    ----------
    expansion : int
        By how much a block widens.
    channels, blocks, stride : int
        What it makes, how many there are, and the first one's stride.
    side : int
        The side of the filters.
    """

    expansion: int
    channels: int
    blocks: int
    stride: int
    side: int = 3


class Style(NamedTuple):
    """What tells the networks of the family apart.

    Parameters
    ----------
    padding : {"even", "same"}
        Evenly on both sides, as PyTorch; or "same", the odd zero at the end, as TensorFlow.
    epsilon, momentum : float
        Of `BatchNorm`.
    """

    padding: str
    epsilon: float
    momentum: float

    def convolution(
        self, filters: int, side: int = 1, stride: int = 1, depthwise: bool = False
    ) -> list[Layer]:
        """Return a convolution without bias and its normalisation."""
        padding = SAME if self.padding == SAME else side // 2
        groups = DEPTHWISE if depthwise else 1
        return [
            Conv2D(filters, side, stride, padding, init="he", bias=False, groups=groups),
            BatchNorm(self.momentum, self.epsilon),
        ]

    def block(self, channels: int, stage: Stage, stride: int) -> Layer:
        """Return one block for ``channels`` channels; with a shortcut where shapes allow."""
        wide = channels * stage.expansion
        relu6 = Activation("relu6")
        widen = [*self.convolution(wide), relu6] if stage.expansion > 1 else []
        filtered = [*self.convolution(wide, stage.side, stride, depthwise=True), relu6]
        body = Sequential([*widen, *filtered, *self.convolution(stage.channels)])
        return Residual(body) if stride == 1 and channels == stage.channels else body

    def stage(self, channels: int, stage: Stage) -> Sequential:
        """Return the blocks of a stage."""
        blocks = [self.block(channels, stage, stage.stride)]
        blocks += [self.block(stage.channels, stage, 1) for _ in range(stage.blocks - 1)]
        return Sequential(blocks)

    def network(self, stages: tuple[Stage, ...]) -> tuple[Layer, ...]:
        """Return the stem, all stages, and the last convolution to 1280 channels."""
        found: list[Layer] = [Sequential([*self.convolution(32, 3, 2), Activation("relu6")])]
        channels = 32
        for stage in stages:
            found.append(self.stage(channels, stage))
            channels = stage.channels
        return (*found, Sequential([*self.convolution(1280), Activation("relu6")]))


def timm_names(stages: tuple[Stage, ...]) -> tuple[str, ...]:
    """Return timm's modules with weights."""
    names = ["conv_stem", "bn1"]
    for number, stage in enumerate(stages):
        for block in range(stage.blocks):
            parts = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
            if stage.expansion == 1:
                parts = ["conv_dw", "bn1", "conv_pw", "bn2"]
            names += [f"blocks.{number}.{block}.{part}" for part in parts]
    return (*names, "conv_head", "bn2", "classifier")
