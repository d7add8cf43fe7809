"""Model cards: one TOML file per network in ``models/``, and the label sets beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from edgecnn.errors import ArtifactError, UnknownNameError
from edgecnn.spec import Preprocess

__all__ = ["ModelCard", "PretrainedWeights", "all_cards", "card_names", "find_card", "label_set"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedWeights:
    """Published weights, and the accuracy that their publisher states.

    Attributes:
        id: torchvision's member name ("IMAGENET1K_V1") or timm's full name ("inception_v4.tf_in1k").
        top1: published top-1 accuracy on ImageNet-1k's validation set, 0 to 100.
        top5: likewise for top-5.
    """

    id: str
    top1: float
    top5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a network is, where its code and weights come from, and how its input is made.

    Attributes:
        name: what the user types.
        title: what people call it.
        family: such as "MobileNet".
        year: of the paper.
        paper: authors, title, venue.
        source: which library builds it.
        builder: torchvision's or timm's function or model name, or "module:function" for source "edgecnn".
        parameters: how many, with the default number of classes, at inference (no auxiliary heads).
        macs: multiply-accumulates of convolutions and linear layers for one image at ``preprocess.crop``.
        labels: the label set in ``models/labels`` that the default classes come from.
        preprocess: the input of the default weights.
        smallest: (height, width) of the smallest input that the network takes, for quick checks.
        pretrained: published weights, if any.
    """

    name: str
    title: str
    family: str
    year: int
    paper: str
    source: Literal["torchvision", "timm", "edgecnn"]
    builder: str
    parameters: int
    macs: int
    labels: str
    preprocess: Preprocess
    smallest: tuple[int, int]
    pretrained: PretrainedWeights | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The default class names, in index order."""
        return label_set(self.labels)


def _directory() -> Path:
    """``models/``: inside the installed package, or at the top of a source tree."""
    packaged = Path(__file__).parent / "models"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "models"


@cache
def card_names() -> tuple[str, ...]:
    """The names of all networks, sorted."""
    return tuple(sorted(path.stem for path in _directory().glob("*.toml")))


@cache
def find_card(name: str) -> ModelCard:
    """The card of the network ``name``.

    Raises:
        UnknownNameError: no such network; the error carries the nearest names.
        ArtifactError: the card is not valid.
    """
    if name not in card_names():
        raise UnknownNameError("network", name, card_names(), listing="'edgecnn list' shows all networks.")
    path = _directory() / f"{name}.toml"
    try:
        return msgspec.toml.decode(path.read_bytes(), type=ModelCard)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path}: not a valid model card: {error}.", "Correct that field.") from error


def all_cards() -> Iterator[ModelCard]:
    """Every card, by name."""
    return (find_card(name) for name in card_names())


@cache
def label_set(name: str) -> tuple[str, ...]:
    """The class names of the label set ``name``, one a line in ``models/labels/<name>.txt``.

    Raises:
        UnknownNameError: no such label set.
    """
    path = _directory() / "labels" / f"{name}.txt"
    if not path.is_file():
        raise UnknownNameError("label set", name, [file.stem for file in path.parent.glob("*.txt")])
    return tuple(path.read_text(encoding="utf-8").splitlines())
