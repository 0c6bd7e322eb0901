"""ResNet: stages of residual blocks, ``A = relu(body(X) + shortcut(X))``.

Source: He, Zhang, Ren and Sun 2016, Deep Residual Learning, figure 5 and table 1; the stride of a
bottleneck in its 3×3 convolution, as in torchvision's and timm's weights.
"""

from __future__ import annotations

from lamina.layers.composition import Residual
from lamina.layers.convolution import Conv2D
from lamina.layers.layer import Layer
from lamina.layers.normalization import BatchNorm
from lamina.layers.pointwise import Activation
from lamina.layers.pooling import MaxPool2D
from lamina.layers.sequential import Sequential
from lamina.models.architecture import Architecture, Preprocessing

WIDTHS = (64, 128, 256, 512)


def resnet18(outputs: int = 1000) -> Architecture:
    """Return ResNet-18: blocks of two 3×3 convolutions, (2, 2, 2, 2) of them; 11.7 M weights."""
    return _resnet("resnet18", (2, 2, 2, 2), False, outputs)


def resnet34(outputs: int = 1000) -> Architecture:
    """Return ResNet-34: blocks of two 3×3 convolutions, (3, 4, 6, 3) of them; 21.8 M weights."""
    return _resnet("resnet34", (3, 4, 6, 3), False, outputs)


def resnet50(outputs: int = 1000) -> Architecture:
    """Return ResNet-50: bottlenecks 1×1, 3×3, 1×1, (3, 4, 6, 3) of them; 25.6 M weights."""
    return _resnet("resnet50", (3, 4, 6, 3), True, outputs)


def _resnet(name: str, blocks: tuple[int, ...], bottleneck: bool, outputs: int) -> Architecture:
    stem = [*_normalised(64, 7, 2), Activation("relu"), MaxPool2D(3, 2, 1)]
    stages: list[Layer] = [Sequential(stem)]
    modules = ["conv1", "bn1"]
    channels = 64
    for stage, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True)):
        made = 4 * width if bottleneck else width
        layers: list[Layer] = []
        for block in range(count):
            stride = 2 if stage and not block else 1
            convolutions = [(width, 3, stride), (width, 3, 1)]
            if bottleneck:
                convolutions = [(width, 1, 1), (width, 3, stride), (made, 1, 1)]
            body: list[Layer] = []
            path = f"layer{stage + 1}.{block}"
            for number, convolution in enumerate(convolutions, start=1):
                body += [*_normalised(*convolution), Activation("relu")]
                modules += [f"{path}.conv{number}", f"{path}.bn{number}"]
            shortcut = None
            if stride != 1 or channels != made:
                shortcut = Sequential(_normalised(made, 1, stride))
                modules += [f"{path}.downsample.0", f"{path}.downsample.1"]
            layers += [Residual(Sequential(body[:-1]), shortcut), Activation("relu")]
            channels = made
        stages.append(Sequential(layers))
    names = (*modules, "fc")
    both = {"torchvision": names, "timm": names}
    return Architecture(name, tuple(stages), both, Preprocessing(), outputs)


def _normalised(filters: int, side: int, stride: int) -> list[Layer]:
    """Return a convolution without bias and its normalisation, padded evenly as PyTorch pads."""
    convolution = Conv2D(filters, side, stride, padding=side // 2, init="he", bias=False)
    return [convolution, BatchNorm()]
