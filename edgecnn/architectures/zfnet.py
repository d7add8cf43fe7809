"""ZFNet.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", arXiv 1311.2901 (2013),
ECCV 2014, figure 3.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgecnn.architectures.initialisation import start_rectifiers

__all__ = ["CrossMapNorm", "ZFNet", "zfnet"]


class CrossMapNorm(nn.Module):
    """Divides each element by the energy of its neighbours in the channel direction.

    ``x / (k + alpha * mean(x ** 2 over size neighbouring channels)) ** beta``. The paper says "contrast
    normalized across feature maps" and gives no constants; these are of AlexNet, which it sets out from
    (Krizhevsky et al., NeurIPS 2012, section 3.3). There the sum is taken, not the mean, hence 5e-4.

    It is ``torch.nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)`` without the 3-D pooling that
    PyTorch uses for it, which few inference engines run well.
    """

    def __init__(self, size: int = 5, alpha: float = 5e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        energy = functional.avg_pool2d(
            x.square().flatten(2).unsqueeze(1), (self.size, 1), stride=1, padding=(self.size // 2, 0)
        )
        return x / (self.k + self.alpha * energy.view(x.shape)).pow(self.beta)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)  # the sizes of figure 3 (110 to 55, 26 to 13) are rounded up


class ZFNet(nn.Module):
    """Five convolutions and three linear layers, on one device (no split into groups, unlike AlexNet)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 96, 7, stride=2, padding=1), nn.ReLU(), _pool(), CrossMapNorm()),
            *(nn.Conv2d(96, 256, 5, stride=2), nn.ReLU(), _pool(), CrossMapNorm()),
            *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
        # Identity at the paper's 224x224; other sizes reach the linear layers through it.
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            *(nn.Linear(256 * 6 * 6, 4096), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5)),
            nn.Linear(4096, classes),
        )
        start_rectifiers(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))  # type: ignore[no-any-return]


def zfnet(classes: int = 1000) -> nn.Module:
    """ZFNet for (N, 3, 224, 224) float32 images."""
    return ZFNet(classes)
