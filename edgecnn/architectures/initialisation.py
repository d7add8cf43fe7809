"""The random start that the rectifier networks of this package share."""

from __future__ import annotations

from torch import nn

__all__ = ["start_rectifiers"]


def start_rectifiers(network: nn.Module) -> None:
    """Draw every convolution and linear layer anew: Gaussian with variance 2 / fan-in, biases zero.

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10: it keeps the size of the
    signal through any number of rectifiers.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
