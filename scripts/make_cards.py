#!/usr/bin/env python
"""Write the figures of model cards anew, from the networks and the libraries themselves.

A person writes a card's name, title, family, year, paper, source, builder, labels and smallest, for timm also
the weights' id and published accuracy, for edgecnn also the preprocessing. Everything else is computed here:
parameters and multiply-accumulates from the built network, preprocessing and accuracy of torchvision's
weights from their metadata, preprocessing of timm's weights from their configuration.

    scripts/make_cards.py [NAME ...]
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from edgecnn.cards import ModelCard
from edgecnn.spec import Preprocess
from edgecnn.weights import build_outline

MODELS = Path(__file__).resolve().parents[1] / "models"
#: torchvision's first weights of a network; their preprocessing (256, 224) is what most files assume.
DEFAULT_WEIGHTS = "IMAGENET1K_V1"


def multiply_accumulates(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Of all convolutions and linear layers, for one (C, H, W) image; ``network`` is on the meta device."""
    total = 0

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.get_parameter("weight")[0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(torch.empty(1, *shape, device="meta"))
    return total


def torchvision_facts(builder: str, weights_id: str) -> dict[str, Any]:
    """Preprocessing and published accuracy of torchvision's weights."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(builder)[weights_id]
    transform, metrics = weights.transforms(), weights.meta["_metrics"]["ImageNet-1K"]
    return {
        "preprocess": {
            "resize": transform.resize_size[0],
            "crop": transform.crop_size * 2,
            "interpolation": transform.interpolation.value,
            "mean": transform.mean,
            "std": transform.std,
        },
        "pretrained": {"id": weights_id, "top1": metrics["acc@1"], "top5": metrics["acc@5"]},
    }


def timm_facts(published: dict[str, Any]) -> dict[str, Any]:
    """Preprocessing of timm's weights.

    The published accuracy is not in the package: it is in results/results-imagenet.csv of its repository, in
    the row with the same weights and input size.
    """
    import timm

    config = timm.get_pretrained_cfg(published["id"])
    assert config is not None, f"timm {timm.__version__} has no weights {published['id']}"
    size = config.input_size[1]
    return {
        "preprocess": {
            "resize": math.floor(size / config.crop_pct),
            "crop": [size, size],
            "interpolation": config.interpolation,
            "mean": config.mean,
            "std": config.std,
        },
        "pretrained": published,
    }


def complete(card: dict[str, Any]) -> ModelCard:
    """``card`` with all that can be computed."""
    if card["source"] == "torchvision":
        weights_id = card.get("pretrained", {}).get("id", DEFAULT_WEIGHTS)
        card = {**card, **torchvision_facts(card["builder"], weights_id)}
    elif card["source"] == "timm":
        card = {**card, **timm_facts(card["pretrained"])}
    unmeasured = msgspec.convert({**card, "parameters": 0, "macs": 0}, ModelCard)
    network = build_outline(unmeasured, len(unmeasured.classes)).to("meta")
    shape = (unmeasured.preprocess.channels, *unmeasured.preprocess.crop)
    return replace(
        unmeasured,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs=multiply_accumulates(network, shape),
    )


def toml(card: ModelCard) -> str:
    """The text of ``card``; fields with their default value are left out."""
    facts = msgspec.to_builtins(card)
    defaults = msgspec.to_builtins(Preprocess(resize=None, crop=(1, 1)))
    facts["preprocess"] = {
        key: value
        for key, value in facts["preprocess"].items()
        if key in ("resize", "crop", "interpolation") or value != defaults[key]
    }
    tables = {key: value for key, value in facts.items() if isinstance(value, dict)}
    lines = [
        f"{key} = {json.dumps(facts[key])}" for key in facts if key not in tables and facts[key] is not None
    ]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> None:
    for path in sorted(MODELS.glob("*.toml")):
        if not names or path.stem in names:
            card = complete(tomllib.loads(path.read_text(encoding="utf-8")))
            path.write_text(toml(card), encoding="utf-8")
            print(f"{card.name}: {card.parameters:,} parameters, {card.macs:,} MACs")


if __name__ == "__main__":
    main(sys.argv[1:])
