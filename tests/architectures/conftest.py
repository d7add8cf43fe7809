"""What the tests of several architectures need."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Measure = Callable[[nn.Module, tuple[int, ...]], int]


@pytest.fixture
def multiply_accumulates() -> Measure:
    """Counts those of convolutions and linear layers for one image of a given (C, H, W)."""

    def measure(network: nn.Module, shape: tuple[int, ...]) -> int:
        counts: list[int] = []

        def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            counts.append(output.numel() * layer.get_parameter("weight")[0].numel())

        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(count)
        network.eval().to("meta")(torch.empty(1, *shape, device="meta"))
        return sum(counts)

    return measure


@pytest.fixture
def parameters() -> Callable[[nn.Module], int]:
    """Counts trained parameters."""
    return lambda network: sum(parameter.numel() for parameter in network.parameters())
