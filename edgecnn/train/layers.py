"""Which layers learn, and how a partly frozen network is put into training mode."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgecnn.train.settings import Layers

__all__ = ["freeze", "shorten_memory", "training_mode"]


def freeze(module: nn.Module, layers: Layers, head: Collection[str]) -> None:
    """Let gradients reach only what is to be trained.

    Args:
        module: the whole network.
        layers: "head" is the parameters named in ``head``; "last" adds the last third of the layers that
            have parameters, in the order in which the network defines them; "all" is all.
        head: names of parameters.
    """
    trained = set(head) | (_last_third(module) if layers == "last" else set())
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(layers == "all" or name in trained)


def training_mode(module: nn.Module) -> None:
    """``module.train()``, but for frozen batch normalisation, which keeps its statistics too."""
    module.train()
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and layer.affine and not layer.weight.requires_grad:
            layer.eval()


def shorten_memory(module: nn.Module, steps: int) -> None:
    """Let batch normalisation's running statistics describe the end of a run of so many ``steps``.

    They average over about 1 / momentum steps. MobileNetV3 (0.01) and MNASNet (0.0003) are made for runs of
    hundreds of thousands; in a short one their statistics would still be those of the start, and so would
    the accuracy. The average is made to span a fiftieth of the run at most, but no network's gets shorter
    than PyTorch's usual ten steps by it. Evaluation does not use the momentum.
    """
    enough = min(0.1, 50 / steps)
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and layer.momentum is not None:
            layer.momentum = max(layer.momentum, enough)


def _last_third(module: nn.Module) -> set[str]:
    layers = [
        [f"{name}.{key}".lstrip(".") for key, _ in layer.named_parameters(recurse=False)]
        for name, layer in module.named_modules()
    ]
    layers = [names for names in layers if names]
    return {name for names in layers[-(-2 * len(layers) // 3) :] for name in names}
