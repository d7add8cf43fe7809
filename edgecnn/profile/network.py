"""From a network to its profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from math import prod
from typing import get_args

from torch import nn

from edgecnn.cards import ModelCard
from edgecnn.errors import UsageError
from edgecnn.profile.layer import Kind, Layer, Profile
from edgecnn.profile.trace import Operation, trace
from edgecnn.profile.window import Pair
from edgecnn.weights import build_outline

__all__ = ["profile_network"]

_FLOAT32_BYTES = 4


def profile_network(
    source: ModelCard | nn.Module, input_size: Pair | None = None, *, channels: int = 3
) -> Profile:
    """Profile a network for one image. Nothing is computed, so that any network takes a moment.

    Args:
        source: a card, or a module in eval mode.
        input_size: (height, width) of the image; the card's own if it is left out.
        channels: of the image; a card knows its own.

    Raises:
        UsageError: the network does not take images of that size, or a module came without a size.
        DependencyMissingError: the library that has the network is not installed.
    """
    if isinstance(source, ModelCard):
        module = build_outline(source, len(source.classes))
        size = input_size or source.preprocess.crop
        return _profile(module, source.name, (source.preprocess.channels, *size), source)
    if input_size is None:
        raise UsageError("A module does not say its input size.", "Pass input_size=(height, width).")
    return _profile(source, type(source).__name__, (channels, *input_size), None)


def _profile(module: nn.Module, name: str, input_shape: tuple[int, ...], card: ModelCard | None) -> Profile:
    try:
        operations = trace(module, input_shape)
    except RuntimeError as error:
        raise _refused(name, input_shape, card, str(error)) from error
    sizes = {name: value.numel() for name, value in module.named_parameters()}
    layers = tuple(_layers(operations, sizes))
    if any(0 in layer.output_shape for layer in layers):
        raise _refused(name, input_shape, card, "nothing would be left of it")
    return Profile.of(name, input_shape, sum(sizes.values()), layers)


def _refused(name: str, shape: tuple[int, ...], card: ModelCard | None, reason: str) -> UsageError:
    remedy = "Choose a larger size."
    if card is not None:
        smallest, usual = ("x".join(map(str, size)) for size in (card.smallest, card.preprocess.crop))
        remedy = f"{name} is made for {usual}, and known to take {smallest}."
    first_line = (reason.strip().splitlines() or ["it fails"])[0].rstrip(".")
    return UsageError(f"{name} does not take an image of {shape[1]}x{shape[2]}: {first_line}.", remedy)


def _layers(operations: list[Operation], sizes: Mapping[str, int]) -> Iterator[Layer]:
    """One layer for each call of a module without modules inside, and for each other function of a kind."""
    counted: set[str] = set()
    numbered = enumerate(operations)
    for _, group in groupby(numbered, key=lambda item: (item[1].call.number, item[1].call.leaf or item[0])):
        steps = [operation for _, operation in group]
        kind = _kind(steps)
        if kind is not None:
            fresh = {name: sizes[name] for step in steps for name in step.parameters if name not in counted}
            counted.update(fresh)
            yield _layer(steps, kind, fresh)


def _kind(steps: list[Operation]) -> Kind | None:
    """Of the step that matters most: a layer that pools and then scales is a pooling."""
    kinds = {step.kind for step in steps}
    found = next((kind for kind in get_args(Kind) if kind in kinds), None)
    if found is None and steps[0].call.leaf:
        if "Norm" in steps[0].call.type:
            return "norm"
        return "scale" if any(step.parameters for step in steps) else None
    return found


def _layer(steps: list[Operation], kind: Kind, fresh: Mapping[str, int]) -> Layer:
    first, last = steps[0], steps[-1]
    main = next((step for step in steps if step.kind == kind), first)
    biases = sum(size for name, size in fresh.items() if name.endswith("bias"))
    return Layer(
        name=first.call.name if first.call.leaf else f"{first.call.name}.{first.name}".lstrip("."),
        kind=kind,
        input_shape=first.input_shape,
        output_shape=last.output_shape,
        window=main.window,
        activation_bytes=prod(last.output_shape) * _FLOAT32_BYTES,
        weights=sum(fresh.values()) - biases,
        biases=biases,
        macs=sum(step.macs for step in steps),
        receptive_field=last.field,
    )
