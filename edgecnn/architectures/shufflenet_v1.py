"""ShuffleNet v1 with three groups.

Source: Zhang, Zhou, Lin and Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
Devices", arXiv 1707.01083 (2017), CVPR 2018, figure 2 and table 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.architectures.initialisation import start_rectifiers

__all__ = [
    "ShuffleNetV1",
    "shufflenet_v1_x0_5",
    "shufflenet_v1_x1_0",
    "shufflenet_v1_x1_5",
    "shufflenet_v1_x2_0",
]

#: The column of table 1 that the paper's own larger networks use (its table 5).
GROUPS = 3
#: Channels after stages 2, 3 and 4 at width 1 (table 1, g = 3).
STAGES = (240, 480, 960)
#: Units in stages 2, 3 and 4, the one with stride 2 included.
UNITS = (4, 8, 4)


class ChannelShuffle(nn.Module):
    """Deals the channels of each group out to all groups (section 3.1)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        grouped = x.reshape(-1, GROUPS, x.shape[1] // GROUPS, x.shape[2], x.shape[3])
        return grouped.transpose(1, 2).flatten(1, 2)


class ShuffleUnit(nn.Module):
    """1x1 group convolution, shuffle, 3x3 depthwise, 1x1 group convolution, beside a shortcut (figure 2).

    With stride 1 the shortcut is added. With stride 2 it is a 3x3 average pooling and is concatenated, so
    that the branch makes only the channels that are new. The inner width is a quarter of the output's.
    """

    def __init__(self, channels_in: int, channels: int, *, stride: int, groups: int) -> None:
        super().__init__()
        inner = channels // 4
        made = channels - channels_in if stride == 2 else channels
        self.conv1 = nn.Conv2d(channels_in, inner, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.shuffle = ChannelShuffle()
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, made, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(made)
        self.relu = nn.ReLU()
        self.shortcut = nn.AvgPool2d(3, 2, 1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels, H / stride, W / stride)."""
        branch = self.shuffle(self.relu(self.bn1(self.conv1(x))))
        branch = self.bn3(self.conv3(self.bn2(self.conv2(branch))))
        if self.shortcut is None:
            return self.relu(branch + x)  # type: ignore[no-any-return]
        return self.relu(torch.cat([self.shortcut(x), branch], dim=1))  # type: ignore[no-any-return]


def _stage(channels_in: int, channels: int, units: int, *, first_groups: int) -> nn.Sequential:
    first = ShuffleUnit(channels_in, channels, stride=2, groups=first_groups)
    rest = (ShuffleUnit(channels, channels, stride=1, groups=GROUPS) for _ in range(units - 1))
    return nn.Sequential(first, *rest)


class ShuffleNetV1(nn.Module):
    """A convolution of ``stem`` channels, a pooling, three stages and a linear layer.

    The stages' channels are those of table 1 times ``width``. So is the stem's 24, except at width 1.5,
    where only the unscaled 24 gives the 292 M multiply-adds of table 5.
    """

    def __init__(self, width: float, stem: int, classes: int) -> None:
        super().__init__()
        stages = [round(channels * width) for channels in STAGES]
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        # Not grouped: the first 1x1 convolution of stage 2 reads very few channels (table 1, note).
        self.stage2 = _stage(stem, stages[0], UNITS[0], first_groups=1)
        self.stage3 = _stage(stages[0], stages[1], UNITS[1], first_groups=GROUPS)
        self.stage4 = _stage(stages[1], stages[2], UNITS[2], first_groups=GROUPS)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(stages[2], classes)
        start_rectifiers(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        x = self.stage4(self.stage3(self.stage2(self.conv1(x))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def shufflenet_v1_x0_5(classes: int = 1000) -> nn.Module:
    """ShuffleNet 0.5x (g = 3) for (N, 3, 224, 224) float32 images."""
    return ShuffleNetV1(0.5, 12, classes)


def shufflenet_v1_x1_0(classes: int = 1000) -> nn.Module:
    """ShuffleNet 1x (g = 3) for (N, 3, 224, 224) float32 images."""
    return ShuffleNetV1(1.0, 24, classes)


def shufflenet_v1_x1_5(classes: int = 1000) -> nn.Module:
    """ShuffleNet 1.5x (g = 3) for (N, 3, 224, 224) float32 images."""
    return ShuffleNetV1(1.5, 24, classes)


def shufflenet_v1_x2_0(classes: int = 1000) -> nn.Module:
    """ShuffleNet 2x (g = 3) for (N, 3, 224, 224) float32 images."""
    return ShuffleNetV1(2.0, 48, classes)
