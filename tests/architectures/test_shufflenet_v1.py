"""ShuffleNet v1 costs what the paper says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from edgecnn.architectures import shufflenet_v1
from edgecnn.architectures.shufflenet_v1 import ChannelShuffle, ShuffleUnit

#: Width -> multiply-adds in millions at 224x224: tables 1 (g = 3), 2 and 5 of the paper.
PAPER = {"x0_5": 38, "x1_0": 137, "x1_5": 292, "x2_0": 524}


def build(width: str, classes: int = 1000) -> nn.Module:
    network: nn.Module = getattr(shufflenet_v1, f"shufflenet_v1_{width}")(classes=classes)
    return network.eval()


@pytest.mark.parametrize(("width", "millions"), PAPER.items())
def test_multiply_adds(
    width: str, millions: int, multiply_accumulates: Callable[[nn.Module, tuple[int, ...]], int]
) -> None:
    with torch.device("meta"):
        network = build(width)
    assert round(multiply_accumulates(network, (3, 224, 224)) / 1e6) == millions


def test_maps_have_the_sizes_of_table_one() -> None:
    with torch.device("meta"):
        network, x = build("x1_0"), torch.empty(2, 3, 224, 224)
        shapes = []
        for name in ("conv1", "stage2", "stage3", "stage4"):
            x = network.get_submodule(name)(x)
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [(24, 56, 56), (240, 28, 28), (480, 14, 14), (960, 7, 7)]


def test_only_the_first_pointwise_convolution_is_not_grouped() -> None:
    with torch.device("meta"):
        network = build("x1_0")
    pointwise = [
        layer.groups
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and name.endswith(("conv1", "conv3"))
    ]
    assert pointwise == [1] + [3] * 31


def test_shuffle_deals_the_channels_out() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert ChannelShuffle()(x).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    batch = torch.randn(4, 12, 3, 5)
    assert torch.equal(ChannelShuffle()(batch), nn.ChannelShuffle(3)(batch))


def test_a_unit_with_stride_keeps_its_pooled_input() -> None:
    unit = ShuffleUnit(24, 240, stride=2, groups=1).eval()
    x = torch.rand(1, 24, 8, 8)
    assert torch.equal(unit(x)[:, :24], nn.functional.avg_pool2d(x, 3, 2, 1))


def test_any_number_of_classes() -> None:
    assert build("x0_5", classes=3)(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
