"""From a model card and what the user said of weights to a network that is ready to export."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from edgecnn.artifact import file_sha256
from edgecnn.cards import ModelCard
from edgecnn.checkpoint import Checkpoint
from edgecnn.errors import WeightsError
from edgecnn.spec import Preprocess, WeightsId
from edgecnn.weights.build import build_empty, build_module
from edgecnn.weights.fit import classes_in, require_fit, translated
from edgecnn.weights.pretrained import fetch_pretrained
from edgecnn.weights.state_dict import WeightsFile, read_weights

__all__ = ["Network", "load_network"]

Classes = tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A module with its weights, and what belongs to them.

    Attributes:
        card: of the network.
        module: on the CPU, float32, in eval mode: (N, C, H, W) to (N, classes) logits.
        classes: class names in the order of the output's last dimension.
        weights: where the numbers come from.
        preprocess: from a decoded image to the module's input.
    """

    card: ModelCard
    module: nn.Module
    classes: Classes
    weights: WeightsId
    preprocess: Preprocess


def load_network(
    card: ModelCard,
    weights: str,
    *,
    seed: int = 0,
    classes: Classes | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Network:
    """Build the network of ``card`` and give it ``weights``. Never falls back to other weights.

    Class names are those of the checkpoint; else ``classes``; else the card's, if their number is that of the
    weights; else "0", "1", and so on. The preprocessing is that of the checkpoint, else the card's.

    Args:
        card: of the network.
        weights: "pretrained" for the publisher's, "random", or the path of a state dict or of a checkpoint of
            ``edgecnn train`` (a file that is named "random" is "./random").
        seed: of random weights; the same seed gives the same numbers, and torch's own generators stay as
            they were.
        classes: names of the classes, in index order.
        announce: told what is downloaded from where, before it is.

    Raises:
        WeightsError: the weights cannot be had, are not safe to load, do not fit the network, or are for
            another number of classes than ``classes`` names.
        DependencyMissingError: a library is not installed.
    """
    if weights == "random":
        return _with_random(card, seed, classes or card.classes)
    if weights == "pretrained":
        found = fetch_pretrained(card, announce)
        identity = WeightsId(kind="pretrained", name=found.id, sha256=found.sha256)
        return _with_file(card, found.path, identity, classes)
    return _with_file(card, Path(weights), WeightsId(kind="file", name=weights), classes)


def _with_random(card: ModelCard, seed: int, classes: Classes) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = build_module(card, len(classes))
    return Network(card, module, classes, WeightsId(kind="random", name=f"seed={seed}"), card.preprocess)


def _with_file(card: ModelCard, path: Path, identity: WeightsId, given: Classes | None) -> Network:
    file = read_weights(path)
    names = _class_names(card, file, given, str(path))
    tensors = translated(file.tensors, card, len(names))
    require_fit(tensors, card, len(names), origin=str(path))
    module = build_empty(card, len(names))
    _load(module, tensors)
    preprocess = file.checkpoint.preprocess if file.checkpoint else card.preprocess
    return Network(card, module, names, replace(identity, sha256=file_sha256(path)), preprocess)


def _class_names(card: ModelCard, file: WeightsFile, given: Classes | None, origin: str) -> Classes:
    """The names for the number of classes that the file's tensors are for."""
    carried = _carried_classes(card, file.checkpoint, given, origin)
    names = carried or given
    count = classes_in(file.tensors, card)
    if count is None:
        # No head in the file: whatever the names, the comparison that follows says so.
        return names or card.classes
    if names is None:
        return card.classes if len(card.classes) == count else tuple(str(index) for index in range(count))
    if len(names) != count:
        whose = "it names" if carried else "names were given for"
        raise WeightsError(
            f"{origin} has weights for {count} classes, and {whose} {len(names)}.",
            "Give as many class names as the weights have classes, in index order.",
        )
    return names


def _carried_classes(
    card: ModelCard, checkpoint: Checkpoint | None, given: Classes | None, origin: str
) -> Classes | None:
    """The checkpoint's class names, if there is one and it is of this network."""
    if checkpoint is None:
        return None
    if checkpoint.network != card.name:
        raise WeightsError(
            f"{origin} is a checkpoint of {checkpoint.network}, and the network asked for is {card.name}.",
            f"Use {checkpoint.network}, or give weights of {card.name}.",
        )
    if given is not None and given != checkpoint.classes:
        raise WeightsError(
            f"{origin} carries its own {len(checkpoint.classes)} class names, and other names were given.",
            "Leave them out: a checkpoint knows its classes.",
        )
    return checkpoint.classes


def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy ``tensors``, which fit, into ``module``, as float32."""
    current = OrderedDict(tensors)
    # Their names and shapes are today's; a file's own version marks would ask for a conversion.
    current._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(current)
