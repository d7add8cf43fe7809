"""Preprocessing's arithmetic as a part of the network, for models that take pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.spec import Preprocess

__all__ = ["InGraphPreprocess", "with_preprocess"]


class InGraphPreprocess(nn.Module):
    """(N, H, W, C) uint8 pixels to (N, C, H, W) float32, as ``(pixel / divisor - mean) / std``.

    Equal to the last bit to :func:`edgecnn.preprocess.normalise`: the same float32 operations in the same
    order. The channels come in the order of ``preprocess.color``. Nothing is added to the state dict.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.divisor = preprocess.divisor
        self.register_buffer("mean", _per_channel(preprocess.mean), persistent=False)
        self.register_buffer("std", _per_channel(preprocess.std), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise ``pixels``; cast first, since TensorRT's parser transposes no bytes.

        Made contiguous, since the exporter spells out some operators on other strides by arithmetic on the
        batch size, which OpenVINO 2026.4 gets wrong beside int8 convolutions.
        """
        scaled = pixels.to(torch.float32).permute(0, 3, 1, 2).contiguous() / self.divisor
        return (scaled - self.mean) / self.std


class _Preprocessed(nn.Module):
    """A network behind its preprocessing."""

    def __init__(self, preprocess: InGraphPreprocess, network: nn.Module) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network(self.preprocess(pixels))
        return scores


def with_preprocess(module: nn.Module, preprocess: Preprocess) -> nn.Module:
    """``module`` as the artifact's input wants it.

    Args:
        module: takes (N, C, H, W) float32.
        preprocess: where ``in_graph`` says so, the result takes (N, H, W, C) uint8; else it is ``module``.

    Returns:
        A module in the same mode (training or evaluation), which shares its parameters with ``module``.
    """
    if not preprocess.in_graph:
        return module
    return _Preprocessed(InGraphPreprocess(preprocess), module).train(module.training)


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
