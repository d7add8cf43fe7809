"""The rows of a profile, and their sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecnn.profile.receptive import ReceptiveField
from edgecnn.profile.window import Window

__all__ = ["MAIN_KINDS", "STORED_KINDS", "Kind", "Layer", "Profile"]

Kind = Literal[
    "conv", "linear", "pool", "flatten", "norm", "activation", "dropout", "add", "multiply", "concat", "scale"
]

#: What people call the layers of a network.
MAIN_KINDS: tuple[Kind, ...] = ("conv", "pool", "linear", "flatten")

#: Layers whose output needs memory of its own. A flatten is another view of the same memory; the others can
#: work in place or within the layer before.
STORED_KINDS: tuple[Kind, ...] = ("conv", "pool", "linear")


@dataclass(frozen=True)
class Layer:
    """One layer, for one image.

    Attributes:
        name: the module's name as in the state dict; for a function that a module calls, the module's
            name and the function's.
        kind: what it does.
        input_shape: without the batch: (C, H, W) or (features,).
        output_shape: likewise.
        window: of a convolution or pooling.
        activation_bytes: of its output in float32.
        weights: trained numbers without the biases.
        biases: trained numbers that are added.
        macs: multiply-accumulates of convolutions and linear layers, without the additions of biases.
        receptive_field: of an element of its output; None is the whole image.
    """

    name: str
    kind: Kind
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    window: Window | None
    activation_bytes: int
    weights: int
    biases: int
    macs: int
    receptive_field: ReceptiveField | None


@dataclass(frozen=True)
class Profile:
    """A network's layers in the order of execution, and their sums, for one image.

    Attributes:
        network: its name.
        input_shape: (C, H, W).
        parameters: all trained numbers, biases included.
        macs: of all layers.
        activation_bytes: sum over the convolutions, poolings and linear layers.
        peak_activation_bytes: of the largest of them.
        receptive_field: of the last layer of which an element sees a part of the image.
        layers: all of them, with normalisations, activations and additions.
    """

    network: str
    input_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    peak_activation_bytes: int
    receptive_field: ReceptiveField | None
    layers: tuple[Layer, ...]

    @classmethod
    def of(
        cls, network: str, input_shape: tuple[int, ...], parameters: int, layers: tuple[Layer, ...]
    ) -> Profile:
        """The profile that ``layers`` sum up to."""
        stored = [layer.activation_bytes for layer in layers if layer.kind in STORED_KINDS]
        fields = [layer.receptive_field for layer in layers]
        return cls(
            network=network,
            input_shape=input_shape,
            parameters=parameters,
            macs=sum(layer.macs for layer in layers),
            activation_bytes=sum(stored),
            peak_activation_bytes=max(stored, default=0),
            receptive_field=next((field for field in reversed(fields) if field is not None), None),
            layers=layers,
        )
