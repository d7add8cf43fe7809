"""The CIFAR residual networks, and real trained weights in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.architectures import cifar_resnet
from edgecnn.architectures.cifar_resnet import BasicBlock
from edgecnn.cards import find_card

#: Layers -> parameters in millions, table 6 of the paper.
PAPER = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}


def build(layers: int, classes: int = 10) -> nn.Module:
    network: nn.Module = getattr(cifar_resnet, f"cifar_resnet{layers}")(classes=classes)
    return network.eval()


@pytest.mark.parametrize(("layers", "millions"), PAPER.items())
def test_parameters_and_layers(layers: int, millions: float, parameters: Callable[[nn.Module], int]) -> None:
    with torch.device("meta"):
        network = build(layers)
    assert float(f"{parameters(network) / 1e6:.2g}") == millions
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in network.modules()) == layers


def test_shortcut_takes_every_second_pixel_between_zero_channels() -> None:
    block = BasicBlock(16, 32, 2).eval()
    nn.init.zeros_(block.bn2.weight)  # leaves the shortcut alone
    x = torch.rand(2, 16, 8, 8)
    out = block(x)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert out[:, :8].count_nonzero() == out[:, 24:].count_nonzero() == 0


def test_shortcut_without_stride_is_the_input() -> None:
    block = BasicBlock(16, 16, 1).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 16, 8, 8)
    assert torch.equal(block(x), x)
    assert not any("shortcut" in key for key in block.state_dict())


def test_any_number_of_classes() -> None:
    assert build(20, classes=3)(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(("layers", "correct"), [(20, 1817), (56, 1848)])
def test_real_weights_reach_their_stated_accuracy(real_data: Path, layers: int, correct: int) -> None:
    network = build(layers)
    state = torch.load(real_data / "weights_cifar10" / f"resnet{layers}.pth", weights_only=True)
    network.load_state_dict(state, strict=True)
    preprocess = find_card(f"cifar_resnet{layers}").preprocess
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    with np.load(real_data / "cifar10" / "cifar10_subset.npz", allow_pickle=False) as data:
        images, labels = torch.from_numpy(data["x_test"]), torch.from_numpy(data["y_test"])
    hits = 0
    with torch.inference_mode():
        for some, wanted in zip(torch.split(images, 250), torch.split(labels, 250), strict=True):
            scaled = (some.permute(0, 3, 1, 2) / preprocess.divisor - mean) / std
            hits += int((network(scaled).argmax(1) == wanted).sum())
    assert hits == correct
