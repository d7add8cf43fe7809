"""Freezing: what learns and what stays."""

from __future__ import annotations

import pytest
import torch

from edgecnn.cards import find_card
from edgecnn.train.layers import freeze, shorten_memory, training_mode
from edgecnn.train.settings import Layers
from edgecnn.weights import build_module, head_keys


def _trained(name: str, layers: Layers) -> tuple[torch.nn.Module, list[str]]:
    card = find_card(name)
    module = build_module(card, 10)
    freeze(module, layers, head_keys(card))
    return module, [key for key, value in module.named_parameters() if value.requires_grad]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("mobilenet_v2", ["classifier.1.weight", "classifier.1.bias"]),
        ("squeezenet1_1", ["classifier.1.weight", "classifier.1.bias"]),
        ("cifar_resnet20", ["linear.weight", "linear.bias"]),
    ],
)
def test_head_is_the_classifying_layer(name: str, head: list[str]) -> None:
    assert _trained(name, "head")[1] == head


def test_last_is_the_head_and_the_layers_before_it() -> None:
    module, trained = _trained("mobilenet_v2", "last")
    names = [name for name, _ in module.named_parameters()]
    assert trained == names[-len(trained) :]
    assert "features.18.0.weight" in trained
    assert "features.0.0.weight" not in trained
    assert 0.25 < len(trained) / len(names) < 0.4


def test_all_is_all() -> None:
    module, trained = _trained("cifar_resnet20", "all")
    assert len(trained) == len(list(module.parameters()))


def test_frozen_batch_normalisation_keeps_its_statistics() -> None:
    module, _ = _trained("cifar_resnet20", "head")
    before = {key: value.clone() for key, value in module.state_dict().items()}
    training_mode(module)
    assert module.training
    module(torch.rand(4, 3, 32, 32) + 5)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_trained_batch_normalisation_follows_the_images() -> None:
    module, _ = _trained("cifar_resnet20", "last")
    training_mode(module)
    module(torch.rand(4, 3, 32, 32))
    state = module.state_dict()
    assert state["bn1.num_batches_tracked"] == 0
    assert state["layer3.2.bn2.num_batches_tracked"] == 1


@pytest.mark.parametrize(
    ("name", "steps", "momentum"),
    [
        ("mnasnet0_5", 1000, 0.05),
        ("mnasnet0_5", 10, 0.1),
        ("mobilenet_v3_small", 100_000, 0.01),
        ("mobilenet_v2", 1000, 0.1),
    ],
)
def test_statistics_span_a_small_part_of_a_short_run(name: str, steps: int, momentum: float) -> None:
    module = build_module(find_card(name), 2)
    shorten_memory(module, steps)
    found = {layer.momentum for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    assert found == {momentum}
