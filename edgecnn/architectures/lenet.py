"""LeNet-5.

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE 86(11), 1998, section II.B. Layer names (C1, S2, ...) are the paper's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LeNet5", "lenet5"]

#: Table I of the paper: which of the six maps of S2 each of the sixteen maps of C3 reads.
C3_INPUTS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


class ScaledTanh(nn.Module):
    """The paper's squashing function, 1.7159 tanh(2/3 x) (equation 6 and appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Squash every element; any shape."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """Average of 2x2 neighbours, times one trained coefficient per map, plus one trained bias per map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H/2, W/2)."""
        return functional.avg_pool2d(x, 2) * self.weight + self.bias


class TableConvolution(nn.Module):
    """A 5x5 convolution in which every output map reads only some input maps.

    Written as one small convolution per output map, so that no weight exists that the paper's has not.
    """

    def __init__(self, inputs: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(len(maps), 1, 5) for maps in inputs)
        for index, maps in enumerate(inputs):
            self.register_buffer(f"inputs{index}", torch.tensor(maps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 6, H, W) to (N, 16, H - 4, W - 4)."""
        # index_select becomes one Gather in ONNX; indexing with a list becomes a GatherND between transposes.
        chosen = (x.index_select(1, self.get_buffer(f"inputs{index}")) for index in range(len(self.maps)))
        return torch.cat([conv(maps) for conv, maps in zip(self.maps, chosen, strict=True)], dim=1)


class LeNet5(nn.Module):
    """LeNet-5 up to F6, then a linear layer that gives one logit per class.

    The paper ends in Euclidean distances to fixed 7x12 bitmaps of printed characters. Such bitmaps exist
    for characters only, and a distance is no logit: softmax, cross-entropy and "largest wins" would not
    apply. A linear layer takes any set of classes and answers as every other network here does. Up to F6
    there are the paper's 60,000 trained parameters.

    The start is Gaussian with variance 1 / fan-in (LeCun et al., "Efficient BackProp", 1998, equation 16,
    for this very function) instead of the paper's uniform +-2.4 / fan-in, under which the signal dies out
    on its way through the wide layers.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = TableConvolution(C3_INPUTS)
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.classifier = nn.Linear(84, classes)
        self.squash = ScaledTanh()
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 1, 32, 32)."""
        for layer in (self.c1, self.s2, self.c3, self.s4, self.c5):
            x = self.squash(layer(x))
        return self.classifier(self.squash(self.f6(x.flatten(1))))  # type: ignore[no-any-return]


def lenet5(classes: int = 10) -> nn.Module:
    """LeNet-5 for (N, 1, 32, 32) float32 images."""
    return LeNet5(classes)
