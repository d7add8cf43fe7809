"""ZFNet has the sizes of the paper's figure 3."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from edgecnn.architectures.zfnet import CrossMapNorm, ZFNet, zfnet


def test_parameters_follow_from_figure_three(parameters: Callable[[nn.Module], int]) -> None:
    """7x7x3 to 96, 5x5x96 to 256, 3x3 to 384, 384, 256, then 6x6x256 to 4096, 4096, 1000; all with biases."""
    convolutions = (
        (7 * 7 * 3 + 1) * 96
        + (5 * 5 * 96 + 1) * 256
        + (3 * 3 * 256 + 1) * 384
        + (3 * 3 * 384 + 1) * 384
        + (3 * 3 * 384 + 1) * 256
    )
    linear = (6 * 6 * 256 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    with torch.device("meta"):
        assert parameters(zfnet()) == convolutions + linear == 62_357_608


def test_maps_have_the_sizes_of_figure_three() -> None:
    sizes: list[int] = []

    def note(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(output.shape[-1])

    with torch.device("meta"):
        network = ZFNet(1000)
        for layer in network.features:
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
                layer.register_forward_hook(note)
        assert network(torch.empty(2, 3, 224, 224)).shape == (2, 1000)
    assert sizes == [110, 55, 26, 13, 13, 13, 13, 6]


def test_normalisation_is_local_response_normalisation() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 5, 7) * 50
    reference = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(CrossMapNorm()(x), reference(x))


@pytest.mark.parametrize("side", [64, 96])
def test_other_sizes_and_classes(side: int) -> None:
    with torch.device("meta"):
        assert zfnet(classes=5)(torch.empty(2, 3, side, side)).shape == (2, 5)
