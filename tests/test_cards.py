"""The model cards are complete, and agree with the libraries and with the networks that these build."""

from __future__ import annotations

import math
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import Weights, get_model_weights

from edgecnn.cards import ModelCard, PretrainedWeights, all_cards, card_names, find_card, label_set
from edgecnn.errors import ArtifactError, UnknownNameError
from edgecnn.spec import Preprocess
from edgecnn.weights import build_outline

MODELS = Path(__file__).parents[1] / "models"
CARDS = tuple(all_cards())
TORCHVISION = [card for card in CARDS if card.source == "torchvision"]
TIMM = [card for card in CARDS if card.source == "timm"]

#: What the field's courses teach, by our names.
TAUGHT = """
lenet5 alexnet zfnet nin
vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn
googlenet inception_v3 inception_v4 inception_resnet_v2
resnet18 resnet34 resnet50 resnet101 resnet152
cifar_resnet20 cifar_resnet32 cifar_resnet44 cifar_resnet56 cifar_resnet110
resnetv2_50 resnetv2_101 wide_resnet50_2 wide_resnet101_2
resnext50_32x4d resnext101_32x8d resnext101_64x4d seresnet50 seresnext50_32x4d
densenet121 densenet161 densenet169 densenet201 squeezenet1_0 squeezenet1_1
mobilenetv1_100 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large
shufflenet_v1_x0_5 shufflenet_v1_x1_0 shufflenet_v1_x1_5 shufflenet_v1_x2_0
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0
mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 nasnetalarge
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l
regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf
regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf
convnext_tiny convnext_small convnext_base convnext_large
"""


def by_name(card: ModelCard) -> str:
    return card.name


def outline(card: ModelCard) -> nn.Module:
    """The network on the meta device."""
    return build_outline(card, len(card.classes)).to("meta")


def published(card: ModelCard) -> PretrainedWeights:
    assert card.pretrained is not None
    return card.pretrained


def weights_of(card: ModelCard) -> Weights:
    return get_model_weights(card.builder)[published(card).id]


def test_every_taught_network_has_a_card() -> None:
    assert set(TAUGHT.split()) <= set(card_names())


def test_names_and_titles_are_unique() -> None:
    assert len({card.title for card in CARDS}) == len(CARDS) == len(card_names())


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.toml")), ids=lambda path: path.stem)
def test_file_holds_known_fields_only(path: Path) -> None:
    """A misspelt optional field would otherwise be ignored and its default be used."""
    document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    assert document["name"] == path.stem
    assert document.keys() <= {field.name for field in fields(ModelCard)}
    assert document["preprocess"].keys() <= {field.name for field in fields(Preprocess)}
    assert document.get("pretrained", {}).keys() <= {field.name for field in fields(PretrainedWeights)}


@pytest.mark.parametrize("card", CARDS, ids=by_name)
def test_card_is_plausible(card: ModelCard) -> None:
    assert str(card.year)[:2] in card.paper
    assert 1998 <= card.year <= 2022
    assert min(card.smallest) >= 32
    assert card.smallest <= card.preprocess.crop
    assert card.classes
    if card.pretrained:
        assert card.labels == "imagenet1k"
        assert 50 < card.pretrained.top1 < 90
        assert card.pretrained.top1 + 8 < card.pretrained.top5 < 99


@pytest.mark.parametrize("card", CARDS, ids=by_name)
def test_parameters_are_those_of_the_network(card: ModelCard) -> None:
    assert sum(parameter.numel() for parameter in outline(card).parameters()) == card.parameters


@pytest.mark.slow
@pytest.mark.no_cover  # it would double the time
@pytest.mark.parametrize("card", CARDS, ids=by_name)
def test_multiply_accumulates_are_those_of_the_network(card: ModelCard) -> None:
    counts: list[int] = []

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(output.numel() * layer.get_parameter("weight")[0].numel())

    network = outline(card)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(torch.empty(1, card.preprocess.channels, *card.preprocess.crop, device="meta"))
    assert sum(counts) == card.macs


@pytest.mark.parametrize("card", TORCHVISION, ids=by_name)
def test_torchvision_card_repeats_its_weights(card: ModelCard) -> None:
    weights = weights_of(card)
    transform, metrics = weights.transforms(), weights.meta["_metrics"]["ImageNet-1K"]
    assert card.preprocess == Preprocess(
        resize=transform.resize_size[0],
        crop=(transform.crop_size[0], transform.crop_size[0]),
        interpolation=transform.interpolation.value,
        antialias=transform.antialias,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )
    assert (published(card).top1, published(card).top5) == (metrics["acc@1"], metrics["acc@5"])


@pytest.mark.parametrize("card", TORCHVISION, ids=by_name)
def test_torchvision_counts_the_same_operations(card: ModelCard) -> None:
    """torchvision states giga-operations with three decimals, counted by another program."""
    assert card.macs / 1e9 == pytest.approx(weights_of(card).meta["_ops"], abs=0.0006)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_rescaling_networks_are_built_with_their_rescaling(name: str) -> None:
    """Their cards state ImageNet's normalisation, so the network must turn it into its own."""
    assert getattr(outline(find_card(name)), "transform_input", None) is True


@pytest.mark.parametrize("card", TIMM, ids=by_name)
def test_timm_card_repeats_its_configuration(card: ModelCard) -> None:
    config = timm.get_pretrained_cfg(published(card).id)
    assert config is not None
    assert published(card).id.partition(".")[0] == card.builder
    assert (config.num_classes, config.crop_mode) == (1000, "center")
    size = config.input_size[1]
    assert card.preprocess == Preprocess(
        resize=math.floor(size / config.crop_pct),
        crop=(size, size),
        interpolation=config.interpolation,  # type: ignore[arg-type]
        mean=config.mean,
        std=config.std,
    )


@pytest.mark.parametrize(("name", "count"), [("imagenet1k", 1000), ("cifar10", 10), ("digits", 10)])
def test_label_sets(name: str, count: int) -> None:
    labels = label_set(name)
    assert len(set(labels)) == len(labels) == count
    assert all(label and label == label.strip() for label in labels)


def test_lenet_takes_ink_and_paper_as_the_paper_does() -> None:
    """Background -0.1 and ink 1.175 (LeCun et al. 1998, section II.B), for white digits on black."""
    preprocess = find_card("lenet5").preprocess
    assert (preprocess.color, preprocess.crop) == ("L", (32, 32))
    levels = [(value - preprocess.mean[0]) / preprocess.std[0] for value in (0.0, 1.0)]
    assert levels == pytest.approx([-0.1, 1.175])


def test_a_wrong_name_brings_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="mobilenet_v2") as caught:
        find_card("mobilenetv2")
    assert "mobilenet_v2" in caught.value.nearest


def test_a_broken_card_names_its_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.toml").write_text('name = "broken"\nyear = "soon"\n')
    monkeypatch.setattr("edgecnn.cards._directory", lambda: tmp_path)
    card_names.cache_clear()
    try:
        with pytest.raises(ArtifactError, match=r"broken\.toml"):
            find_card("broken")
    finally:
        card_names.cache_clear()


def test_a_wrong_label_set_brings_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="imagenet1k"):
        label_set("imagenet")
