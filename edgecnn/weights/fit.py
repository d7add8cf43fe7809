"""Whether named tensors are the state of a network, and how many classes they are for."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import cache

import torch
from torch import Tensor

from edgecnn.cards import ModelCard
from edgecnn.errors import WeightsError
from edgecnn.weights.build import AUXILIARY, build_outline

__all__ = ["classes_in", "head_keys", "require_fit", "translated"]

#: How many names of each sort a message lists.
_LISTED = 10

#: torchvision's published DenseNet files are older than its rule that module names hold no dot.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


@cache
def _shapes(card: ModelCard, classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in the network's state dict."""
    return {name: tuple(value.shape) for name, value in build_outline(card, classes).state_dict().items()}


@cache
def _class_axes(card: ModelCard) -> dict[str, int]:
    """The tensors whose shape follows the number of classes -> the axis that does.

    Found by comparing two builds, so that it holds for any head: linear, or the convolution of SqueezeNet.
    """
    few, many = _shapes(card, 5), _shapes(card, 7)
    return {
        name: next(axis for axis, size in enumerate(shape) if size != many[name][axis])
        for name, shape in few.items()
        if shape != many[name]
    }


def head_keys(card: ModelCard) -> tuple[str, ...]:
    """The names in the network's state dict that belong to the classifying layer, in order.

    These are the tensors whose shape follows the number of classes.
    """
    return tuple(_class_axes(card))


def classes_in(tensors: Mapping[str, Tensor], card: ModelCard) -> int | None:
    """How many classes ``tensors`` are for; None when no tensor of the network's head is among them."""
    for name, axis in _class_axes(card).items():
        if name in tensors and tensors[name].ndim > axis and tensors[name].shape[axis] > 0:
            return tensors[name].shape[axis]
    return None


def translated(tensors: Mapping[str, Tensor], card: ModelCard, classes: int) -> OrderedDict[str, Tensor]:
    """``tensors`` under the names that the network has now, without auxiliary heads.

    Counts of batches, which only a running average without momentum uses, are added where the file is older
    than they are.
    """
    renamed = OrderedDict(
        (_OLD_DENSENET.sub(r"\1\2", name), tensor)
        for name, tensor in tensors.items()
        if not name.startswith(AUXILIARY.get(card.builder, ()))
    )
    for name in _shapes(card, classes):
        if name.endswith(".num_batches_tracked"):
            renamed.setdefault(name, torch.zeros((), dtype=torch.int64))
    return renamed


def require_fit(tensors: Mapping[str, Tensor], card: ModelCard, classes: int, *, origin: str) -> None:
    """Check that ``tensors`` are exactly the state of the network, and finite.

    Raises:
        WeightsError: names are missing or unknown, shapes differ, or values are not finite; the first ten of
            each are listed.
    """
    shapes = _shapes(card, classes)
    shared = [name for name in shapes if name in tensors]
    complaints = [
        *_complaint("missing", [name for name in shapes if name not in tensors], str),
        *_complaint("unexpected", [name for name in tensors if name not in shapes], str),
        *_complaint(
            "of another shape",
            [name for name in shared if tensors[name].shape != shapes[name]],
            lambda name: f"{name} {list(tensors[name].shape)} instead of {list(shapes[name])}",
        ),
    ]
    if complaints:
        raise WeightsError(
            f"{origin} does not fit {card.name} with {classes} classes:\n" + "\n".join(complaints),
            "Nothing was loaded. Give the weights of this network, or the network of these weights "
            "('edgecnn list' shows all).",
        )
    _require_finite(tensors, shared, origin)


def _complaint(what: str, names: Collection[str], describe: Callable[[str], str]) -> list[str]:
    if not names:
        return []
    listed = [describe(name) for name in list(names)[:_LISTED]]
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return [f"  {len(names)} {what}: " + ", ".join([*listed, *more])]


def _require_finite(tensors: Mapping[str, Tensor], names: Collection[str], origin: str) -> None:
    broken = [name for name in names if not bool(torch.isfinite(tensors[name]).all())]
    if broken:
        raise WeightsError(
            f"{origin} holds values that are not finite:\n" + "\n".join(_complaint("such", broken, str)),
            "The training diverged or the file is damaged; take an earlier checkpoint.",
        )
