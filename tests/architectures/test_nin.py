"""The two networks in network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from edgecnn.architectures.nin import cifar_nin, nin


def test_parameters_are_those_of_the_authors_definitions(parameters: Callable[[nn.Module], int]) -> None:
    with torch.device("meta"):
        assert parameters(cifar_nin()) == 966_986
        assert parameters(nin()) == 7_595_176  # "7.6 million"


def test_the_last_layer_is_one_map_per_class() -> None:
    torch.manual_seed(0)
    network, images = cifar_nin(classes=4).eval(), torch.randn(3, 3, 32, 32)
    maps = network.get_submodule("features")(images)
    assert maps.shape == (3, 4, 8, 8)
    torch.testing.assert_close(network(images), maps.mean(dim=(2, 3)))
    assert maps.min() < 0  # not rectified: a rectified last layer can die


def test_imagenet_maps_shrink_to_six() -> None:
    with torch.device("meta"):
        network = nin(classes=11)
        assert network.get_submodule("features")(torch.empty(1, 3, 224, 224)).shape == (1, 11, 6, 6)


def test_random_start_tells_images_apart() -> None:
    torch.manual_seed(0)
    logits = cifar_nin().eval()(torch.randn(8, 3, 32, 32))
    assert logits.std(dim=0).max() > 0.01
