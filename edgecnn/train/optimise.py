"""The optimizer, the course of its learning rate, and the running average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgecnn.train.settings import TrainSettings

__all__ = ["make_average", "make_optimizer", "make_schedule"]

Tensors = tuple[Tensor, ...] | list[Tensor]

_WARMUP_START = 0.01


def make_optimizer(module: nn.Module, settings: TrainSettings) -> Optimizer:
    """An optimizer of the parameters that are to be trained; tensors of one dimension do not decay.

    Those are biases and the scales of normalisation layers, which decay only hinders (He et al., Bag of
    Tricks for Image Classification with CNNs, 2019, section 3.1).
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "adamw":
        return AdamW(groups, settings.peak_lr, betas=(settings.momentum, 0.999), fused=True)
    nesterov = settings.momentum > 0
    return SGD(groups, settings.peak_lr, momentum=settings.momentum, nesterov=nesterov, fused=True)


def make_schedule(optimizer: Optimizer, settings: TrainSettings, steps_per_epoch: int) -> LRScheduler:
    """Linear from a hundredth of the peak to the peak, then half a cosine to 0.

    To be stepped after every batch.
    """
    steps = settings.epochs * steps_per_epoch
    warmup = min(round(settings.warmup_epochs * steps_per_epoch), steps - 1)
    cosine = CosineAnnealingLR(optimizer, steps - warmup)
    if warmup == 0:
        return cosine
    rise = LinearLR(optimizer, _WARMUP_START, total_iters=warmup)
    return SequentialLR(optimizer, [rise, cosine], [warmup])


def make_average(module: nn.Module, decay: float) -> AveragedModel:
    """An exponential average of parameters and buffers.

    The decay of step n is at most (1 + n) / (10 + n), so that in a short run the random start is forgotten
    (the rule of TensorFlow's ExponentialMovingAverage for ``num_updates``).
    """

    def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        n = int(count)
        update = get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
        update(averaged, current, count)

    with torch.no_grad():
        return AveragedModel(module, multi_avg_fn=average, use_buffers=True)
