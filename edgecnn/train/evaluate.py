"""Accuracy during training, with the preprocessing that the deployed network will have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edgecnn.spec import Preprocess
from edgecnn.train.pixels import Pixels, in_order, input_tensor

__all__ = ["Score", "evaluate"]


@dataclass(frozen=True, slots=True)
class Score:
    """How well a module does.

    Attributes:
        loss: mean cross-entropy.
        top1: percentage of images that are right, 0 to 100.
    """

    loss: float
    top1: float


def evaluate(
    module: nn.Module, pixels: Pixels, labels: NDArray[np.int64], preprocess: Preprocess, batch_size: int
) -> Score:
    """Run ``module``, which is left in eval mode, over all images.

    Args:
        module: (N, C, H, W) float32 to (N, classes) logits.
        pixels: cropped to the module's input.
        labels: (n,) int64.
        preprocess: of the module.
        batch_size: images at a time.
    """
    module.eval()
    loss, right = 0.0, 0
    order = in_order(len(pixels), batch_size)
    with torch.inference_mode():
        for indices, batch in zip(order, pixels.batches(order), strict=True):
            logits = module(input_tensor(batch, preprocess))
            target = torch.from_numpy(labels[indices])
            loss += functional.cross_entropy(logits, target, reduction="sum").item()
            right += int((logits.argmax(1) == target).sum())
    return Score(loss / len(pixels), 100 * right / len(pixels))
