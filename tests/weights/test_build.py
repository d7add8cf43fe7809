"""Modules without weights of their own."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from edgecnn.cards import all_cards, find_card
from edgecnn.errors import DependencyMissingError, UsageError
from edgecnn.weights import build_module, build_outline
from edgecnn.weights.build import build_empty


@pytest.mark.parametrize("name", ["squeezenet1_1", "cifar_resnet20", "lenet5", "resnetv2_50"])
def test_each_source_gives_a_module_in_eval_mode(name: str) -> None:
    card = find_card(name)
    module = build_module(card, 7)
    assert not any(part.training for part in module.modules())
    with torch.no_grad():
        assert module(torch.zeros(2, card.preprocess.channels, *card.smallest)).shape == (2, 7)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_not_built_and_the_input_is_transformed(name: str) -> None:
    module = build_outline(find_card(name), 5)
    assert not any("aux" in key.lower() for key in module.state_dict())
    assert module.transform_input


def test_an_outline_has_the_shapes_of_the_module_and_no_values() -> None:
    card = find_card("regnet_x_400mf")  # computes its widths with tensors while it is built
    outline, module = build_outline(card, 3), build_module(card, 3)
    assert {key: value.shape for key, value in outline.state_dict().items()} == {
        key: value.shape for key, value in module.state_dict().items()
    }
    assert all(value.is_meta for value in outline.parameters())


def test_an_outline_leaves_the_random_generator_alone() -> None:
    before = torch.get_rng_state()
    build_outline(find_card("mobilenet_v2"), 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_no_state_dict_holds_is_defined_in_an_empty_module() -> None:
    empty = build_empty(find_card("lenet5"), 10)
    buffer = empty.get_buffer("c3.inputs0")
    assert "c3.inputs0" not in empty.state_dict()
    assert buffer.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("resnet18", "torchvision.models", "export"), ("inception_v4", "timm", "timm")],
)
def test_a_missing_library_is_named_with_its_extra(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyMissingError, match=package.partition(".")[0]) as caught:
        build_module(find_card(name), 3)
    assert f"edgecnn[{extra}]" in caught.value.remedy


def test_a_builder_that_does_not_exist_is_named() -> None:
    card = replace(find_card("lenet5"), builder="edgecnn.architectures.lenet:lenet6")
    with pytest.raises(UsageError, match="lenet6"):
        build_module(card, 3)


@pytest.mark.slow
@pytest.mark.no_cover  # it would double the time
def test_all_networks_have_the_parameters_of_their_cards() -> None:
    for card in all_cards():
        module: nn.Module = build_outline(card, len(card.classes))
        assert sum(value.numel() for value in module.parameters()) == card.parameters, card.name
