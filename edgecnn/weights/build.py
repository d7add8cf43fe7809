"""From a model card to a PyTorch module without weights of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from edgecnn.cards import ModelCard
from edgecnn.errors import DependencyMissingError
from edgecnn.lookup import resolve

__all__ = ["AUXILIARY", "build_empty", "build_module", "build_outline"]

#: torchvision's networks with auxiliary heads -> how the keys of those heads begin.
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


def build_module(card: ModelCard, classes: int) -> nn.Module:
    """The network of ``card`` for ``classes`` classes, in eval mode, as its library initialises it.

    The numbers come from torch's global generator. Batch normalisation starts with mean 0 and variance 1, as
    the libraries leave it. Auxiliary heads, which serve training only, are not built. GoogLeNet and
    Inception-v3 have ``transform_input`` on whatever their weights: torchvision's own weights need it, and a
    network keeps its arithmetic from fine-tuning to export without a flag beside the weights.

    Raises:
        DependencyMissingError: the library that has the network is not installed.
    """
    return _BUILDERS[card.source](card, classes).eval()


def build_outline(card: ModelCard, classes: int) -> nn.Module:
    """The same module with shapes but no values: nothing is drawn, its parameters are on the meta device.

    A large network takes milliseconds instead of seconds, and no memory.
    """
    with _WithoutValues():
        return build_module(card, classes)


def build_empty(card: ModelCard, classes: int) -> nn.Module:
    """The same module on the CPU, with memory for its state but no meaning in it: load all of it."""
    outline = build_outline(card, classes)
    stateless = {name for name, _ in outline.named_buffers()} - outline.state_dict().keys()
    # A buffer that no state dict holds would stay undefined.
    return build_module(card, classes) if stateless else outline.to_empty(device="cpu")


class _WithoutValues(TorchFunctionMode):
    """While active, new tensors have no values and initialisers do nothing.

    Unlike ``torch.device("meta")`` it leaves alone what architectures compute with while they are built, such
    as RegNet's widths.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever func returns
        """Redirect factories to the meta device and skip ``torch.nn.init``."""
        options = dict(kwargs or {})
        if func in _FACTORIES:
            options["device"] = "meta"
        elif getattr(func, "__module__", None) == "torch.nn.init":
            return options["tensor"] if "tensor" in options else args[0]
        return func(*args, **options)


_FACTORIES = frozenset({torch.empty, torch.ones, torch.zeros})


def _from_torchvision(card: ModelCard, classes: int) -> nn.Module:
    try:
        from torchvision.models import get_model
    except ModuleNotFoundError as error:
        raise DependencyMissingError("torchvision", f"The network {card.name}", "export") from error
    options: dict[str, Any] = {}
    if card.builder in AUXILIARY:
        # torchvision's truncated-normal start takes minutes for these two; its layers have their own.
        options = {"aux_logits": False, "init_weights": False, "transform_input": True}
    module: nn.Module = get_model(card.builder, weights=None, num_classes=classes, **options)
    return module


def _from_timm(card: ModelCard, classes: int) -> nn.Module:
    try:
        from timm import create_model
    except ModuleNotFoundError as error:
        raise DependencyMissingError("timm", f"The network {card.name}", "timm") from error
    module: nn.Module = create_model(card.builder, pretrained=False, num_classes=classes)
    return module


def _from_edgecnn(card: ModelCard, classes: int) -> nn.Module:
    builder = cast(Callable[..., nn.Module], resolve(card.builder))
    return builder(classes=classes)


_BUILDERS: dict[str, Callable[[ModelCard, int], nn.Module]] = {
    "torchvision": _from_torchvision,
    "timm": _from_timm,
    "edgecnn": _from_edgecnn,
}
