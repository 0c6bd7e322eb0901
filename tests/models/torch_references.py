"""The architectures in PyTorch, under torchvision's and timm's names of modules."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class ResidualBlock(nn.Module):
    """torchvision's BasicBlock and Bottleneck: the last convolution makes ``made`` channels."""

    def __init__(self, channels, width, made, stride, bottleneck):
        super().__init__()
        shapes = [(channels, width, 3, stride), (width, width, 3, 1)]
        if bottleneck:
            shapes = [(channels, width, 1, 1), (width, width, 3, stride), (width, made, 1, 1)]
        for i, (c, k, side, step) in enumerate(shapes, start=1):
            setattr(self, f"conv{i}", nn.Conv2d(c, k, side, step, side // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(k))
        self.count = len(shapes)
        self.downsample = None
        if stride != 1 or channels != made:
            convolution = nn.Conv2d(channels, made, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(made))

    def forward(self, X):
        A = X
        for i in range(1, self.count + 1):
            A = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(A))
            A = F.relu(A) if i < self.count else A
        return F.relu(A + (X if self.downsample is None else self.downsample(X)))


class ResNet(nn.Module):
    def __init__(self, blocks, bottleneck, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            made = 4 * width if bottleneck else width
            layers = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(ResidualBlock(channels, width, made, stride, bottleneck))
                channels = made
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, classes)

    def stages(self, X):
        X = F.max_pool2d(F.relu(self.bn1(self.conv1(X))), 3, 2, 1)
        yield X
        for stage in range(1, 5):
            X = getattr(self, f"layer{stage}")(X)
            yield X

    def scores(self, A):
        return self.fc(A.mean((2, 3)))


def normalised(c, k, side=1, stride=1, groups=1):
    convolution = nn.Conv2d(c, k, side, stride, side // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(k)]


class InvertedResidual(nn.Module):
    """torchvision's."""

    def __init__(self, channels, made, stride, expansion):
        super().__init__()
        wide = channels * expansion
        first = [nn.Sequential(*normalised(channels, wide), nn.ReLU6())] if expansion > 1 else []
        depthwise = nn.Sequential(*normalised(wide, wide, 3, stride, wide), nn.ReLU6())
        self.conv = nn.Sequential(*first, depthwise, *normalised(wide, made))
        self.shortcut = stride == 1 and channels == made

    def forward(self, X):
        return X + self.conv(X) if self.shortcut else self.conv(X)


class MobileNetV2(nn.Module):
    TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
             (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip

    def __init__(self, classes):
        super().__init__()
        layers = [nn.Sequential(*normalised(3, 32, 3, 2), nn.ReLU6())]
        self.ends, channels = [1], 32
        for expansion, made, count, stride in self.TABLE:
            for block in range(count):
                step = stride if block == 0 else 1
                layers.append(InvertedResidual(channels, made, step, expansion))
                channels = made
            self.ends.append(len(layers))
        layers.append(nn.Sequential(*normalised(channels, 1280), nn.ReLU6()))
        self.ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def stages(self, X):
        for number, layer in enumerate(self.features, start=1):
            X = layer(X)
            if number in self.ends:
                yield X

    def scores(self, A):
        return self.classifier(A.mean((2, 3)))


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: ⌈size / stride⌉ windows, the odd zero at the end."""

    def forward(self, X):
        pads = []
        for axis in (3, 2):  # F.pad begins with the last axis
            size, side, stride = X.shape[axis], self.kernel_size[0], self.stride[0]
            total = max((-(-size // stride) - 1) * stride + side - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(X, pads), self.weight, None, self.stride, 0, 1, self.groups)


class LiteBlock(nn.Module):
    """timm's DepthwiseSeparableConv (without expansion) and InvertedResidual."""

    def __init__(self, channels, made, stride, expansion, side):
        super().__init__()
        wide = channels * expansion
        depthwise = SameConv(wide, wide, side, stride, groups=wide, bias=False)
        if expansion == 1:
            rows = [("conv_dw", depthwise), ("conv_pw", nn.Conv2d(wide, made, 1, bias=False))]
        else:
            rows = [
                ("conv_pw", nn.Conv2d(channels, wide, 1, bias=False)),
                ("conv_dw", depthwise),
                ("conv_pwl", nn.Conv2d(wide, made, 1, bias=False)),
            ]
        self.order = [name for name, _ in rows]
        for i, (name, convolution) in enumerate(rows, start=1):
            setattr(self, name, convolution)
            setattr(self, f"bn{i}", nn.BatchNorm2d(convolution.out_channels, eps=1e-3))
        self.shortcut = stride == 1 and channels == made

    def forward(self, X):
        A = X
        for i, name in enumerate(self.order, start=1):
            A = getattr(self, f"bn{i}")(getattr(self, name)(A))
            A = F.relu6(A) if i < len(self.order) else A
        return X + A if self.shortcut else A


class EfficientNetLite0(nn.Module):
    TABLE = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
             (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))  # fmt: skip

    def __init__(self, classes):
        super().__init__()
        self.conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(32, eps=1e-3)
        stages, channels = [], 32
        for expansion, made, count, stride, side in self.TABLE:
            blocks = []
            for block in range(count):
                step = stride if block == 0 else 1
                blocks.append(LiteBlock(channels, made, step, expansion, side))
                channels = made
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(channels, 1280, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1280, eps=1e-3)
        self.classifier = nn.Linear(1280, classes)

    def stages(self, X):
        X = F.relu6(self.bn1(self.conv_stem(X)))
        yield X
        for stage in self.blocks:
            X = stage(X)
            yield X
        yield F.relu6(self.bn2(self.conv_head(X)))

    def scores(self, A):
        return self.classifier(A.mean((2, 3)))


MAKERS = {
    "resnet18": lambda classes: ResNet((2, 2, 2, 2), False, classes),
    "resnet34": lambda classes: ResNet((3, 4, 6, 3), False, classes),
    "resnet50": lambda classes: ResNet((3, 4, 6, 3), True, classes),
    "mobilenet_v2": MobileNetV2,
    "efficientnet_lite0": EfficientNetLite0,
}
LIBRARY = {"efficientnet_lite0": "timm"}
"""Whose names the reference has, where not torchvision's."""


def reference(name, classes, seed=0):
    """Return a model in inference mode with random weights and running statistics."""
    torch.manual_seed(seed)
    model = MAKERS[name](classes).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.3, 1.5)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


def maps(model, X):
    """Return each stage's feature map (n, h, w, c), then the scores."""
    with torch.no_grad():
        found = list(model.stages(torch.from_numpy(X).permute(0, 3, 1, 2).contiguous()))
        scores = model.scores(found[-1]).numpy()
    return [A.permute(0, 2, 3, 1).numpy() for A in found], scores
