"""Network in Network.

Source: Lin, Chen and Yan, "Network In Network", arXiv 1312.4400 (2013), ICLR 2014. The paper describes the
CIFAR-10 network (section 4.2) without its widths; they, and the ImageNet network, are of the definitions
that its first author published for Caffe: 966,986 parameters on CIFAR-10, 7.6 million on ImageNet.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgecnn.architectures.initialisation import start_rectifiers

__all__ = ["NetworkInNetwork", "cifar_nin", "nin"]


def _mlpconv(
    channels: int, widths: tuple[int, int, int], kernel: int, stride: int, padding: int
) -> nn.Module:
    """A convolution, then two 1x1 convolutions: a small network at every position, rectified throughout."""
    first, second, third = widths
    return nn.Sequential(
        *(nn.Conv2d(channels, first, kernel, stride, padding), nn.ReLU()),
        *(nn.Conv2d(first, second, 1), nn.ReLU()),
        *(nn.Conv2d(second, third, 1), nn.ReLU()),
    )


def _scores(channels: int, width: int, classes: int) -> nn.Module:
    """The last mlpconv layer, whose third convolution makes the class maps.

    Equation 2 rectifies these too. Here they are not: once all maps of a rectified last layer are negative,
    no gradient is left, and training on CIFAR-10 ended so within 100 steps, where it went well without.
    """
    return nn.Sequential(
        *(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(width, width, 1), nn.ReLU()),
        nn.Conv2d(width, classes, 1),
    )


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)  # Caffe rounds up


class NetworkInNetwork(nn.Module):
    """Stacked mlpconv layers; the last has one map per class, whose average is the class's logit."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        start_rectifiers(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        return self.avgpool(self.features(x)).flatten(1)  # type: ignore[no-any-return]


def nin(classes: int = 1000) -> nn.Module:
    """The ImageNet network, for (N, 3, 224, 224) float32 images."""
    return NetworkInNetwork(
        nn.Sequential(
            *(_mlpconv(3, (96, 96, 96), 11, 4, 0), _pool()),
            *(_mlpconv(96, (256, 256, 256), 5, 1, 2), _pool()),
            *(_mlpconv(256, (384, 384, 384), 3, 1, 1), _pool(), nn.Dropout(0.5)),
            _scores(384, 1024, classes),
        )
    )


def cifar_nin(classes: int = 10) -> nn.Module:
    """The CIFAR-10 network, for (N, 3, 32, 32) float32 images.

    All pooling takes the maximum, as the paper says; the Caffe definition's second pooling averages.
    """
    return NetworkInNetwork(
        nn.Sequential(
            *(_mlpconv(3, (192, 160, 96), 5, 1, 2), _pool(), nn.Dropout(0.5)),
            *(_mlpconv(96, (192, 192, 192), 5, 1, 2), _pool(), nn.Dropout(0.5)),
            _scores(192, 192, classes),
        )
    )
