"""The residual networks of 6n + 2 layers for CIFAR-10.

Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv 1512.03385 (2015), CVPR
2016, section 4.2. The shortcuts are the paper's option A: no parameters.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgecnn.architectures.initialisation import start_rectifiers

__all__ = [
    "CifarResNet",
    "cifar_resnet20",
    "cifar_resnet32",
    "cifar_resnet44",
    "cifar_resnet56",
    "cifar_resnet110",
]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.added_channels = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels, H / stride, W / stride)."""
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inner + self._shortcut(x))  # type: ignore[no-any-return]

    def _shortcut(self, x: Tensor) -> Tensor:
        """``x``, or every second row and column of it between two equal sets of zero channels."""
        if self.added_channels == 0:
            return x
        side = self.added_channels // 2
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, side))


def _stage(channels_in: int, channels: int, stride: int, blocks: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


class CifarResNet(nn.Module):
    """One convolution, three stages of ``blocks`` blocks each, and a linear layer: 6 blocks + 2 layers."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, 1, blocks)
        self.layer2 = _stage(16, 32, 2, blocks)
        self.layer3 = _stage(32, 64, 2, blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)
        start_rectifiers(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def cifar_resnet20(classes: int = 10) -> nn.Module:
    """ResNet-20 for (N, 3, 32, 32) float32 images."""
    return CifarResNet(3, classes)


def cifar_resnet32(classes: int = 10) -> nn.Module:
    """ResNet-32 for (N, 3, 32, 32) float32 images."""
    return CifarResNet(5, classes)


def cifar_resnet44(classes: int = 10) -> nn.Module:
    """ResNet-44 for (N, 3, 32, 32) float32 images."""
    return CifarResNet(7, classes)


def cifar_resnet56(classes: int = 10) -> nn.Module:
    """ResNet-56 for (N, 3, 32, 32) float32 images."""
    return CifarResNet(9, classes)


def cifar_resnet110(classes: int = 10) -> nn.Module:
    """ResNet-110 for (N, 3, 32, 32) float32 images."""
    return CifarResNet(18, classes)
