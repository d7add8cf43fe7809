"""What learns: the module with its optimizer, schedule and average, one epoch at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgecnn.errors import TrainingError
from edgecnn.spec import Preprocess
from edgecnn.train.augment import mixing, pixel_augment
from edgecnn.train.layers import freeze, shorten_memory, training_mode
from edgecnn.train.optimise import make_average, make_optimizer, make_schedule
from edgecnn.train.pixels import Pixels, input_tensor
from edgecnn.train.settings import TrainSettings
from edgecnn.weights import Network, head_keys

__all__ = ["EpochOutcome", "Examples", "Learner"]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Images on their canvas, and the index of each one's class, (n,) int64."""

    pixels: Pixels
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EpochOutcome:
    """The mean loss, the learning rate of the last step, and the images trained per second."""

    loss: float
    lr: float
    images_per_s: float


class Learner:
    """A network that is being trained on the CPU."""

    def __init__(
        self, network: Network, settings: TrainSettings, preprocess: Preprocess, *, images: int
    ) -> None:
        """Prepare to train ``network``, whose module is changed in place, on so many ``images`` an epoch."""
        self.module = network.module.to(memory_format=torch.channels_last)
        freeze(self.module, settings.layers, head_keys(network.card))
        self._settings = settings
        self._preprocess = preprocess
        self._augment = pixel_augment(settings.augment, preprocess, flip=bool(settings.flip))
        self._mix = mixing(settings.augment, len(network.classes))
        self._optimizer = make_optimizer(self.module, settings)
        steps_per_epoch = len(_cut(torch.arange(images), settings.batch_size))
        shorten_memory(self.module, settings.epochs * steps_per_epoch)
        self._schedule = make_schedule(self._optimizer, settings, steps_per_epoch)
        self._average = None if settings.ema is None else make_average(self.module, settings.ema)

    @property
    def deployed(self) -> nn.Module:
        """What is validated and kept: the average, or the module itself where there is none."""
        return self.module if self._average is None else self._average.module

    def train_epoch(self, epoch: int, examples: Examples, done: Callable[[int], None]) -> EpochOutcome:
        """One pass over ``examples`` in an order that only the seed and ``epoch`` decide.

        All randomness of the epoch (order, augmentation, dropout) follows from these two, so that a
        resumed run needs no state of generators.

        Args:
            epoch: counted from 1.
            examples: to train on.
            done: is told how many more images were trained on.

        Raises:
            TrainingError: the loss is not finite.
            ImageError: an image cannot be used.
        """
        torch.manual_seed(_epoch_seed(self._settings.seed, epoch))
        training_mode(self.module)
        started, total, count = time.perf_counter(), 0.0, 0
        for step, (images, targets) in enumerate(self._batches(examples)):
            loss = self._step(images, targets)
            if not math.isfinite(loss):
                raise self._diverged(loss, epoch, step)
            total, count = total + loss * len(images), count + len(images)
            done(len(images))
        return EpochOutcome(total / count, self._lr, count / (time.perf_counter() - started))

    def state(self) -> dict[str, Any]:
        """All that changes while training, as tensors and plain values."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to where :meth:`state` was called."""
        self.module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _batches(self, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
        order = _cut(torch.randperm(len(examples.labels)), self._settings.batch_size)
        for indices, pixels in zip(order, examples.pixels.batches(order), strict=True):
            images = input_tensor(self._augment(pixels), self._preprocess)
            targets = torch.from_numpy(examples.labels[indices])
            yield (images, targets) if self._mix is None else self._mix(images, targets)

    def _step(self, images: Tensor, targets: Tensor) -> float:
        self._optimizer.zero_grad()
        smoothing = self._settings.label_smoothing
        loss = functional.cross_entropy(self.module(images), targets, label_smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        self._lr = self._optimizer.param_groups[0]["lr"]
        self._optimizer.step()
        self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self.module)
        return loss.item()

    def _diverged(self, loss: float, epoch: int, step: int) -> TrainingError:
        return TrainingError(
            f"The loss became {loss} in step {step + 1} of epoch {epoch}, at a learning rate of "
            f"{self._lr:.2g}.",
            f"Lower the learning rate, for instance --lr {self._settings.peak_lr / 10:.2g}, or rise to it "
            f"more slowly with --warmup-epochs {self._settings.warmup_epochs + 2:g}.",
        )


def _epoch_seed(seed: int, epoch: int) -> int:
    """32 bits, which is all that torch's generator on the CPU takes of a seed, mixed from the two."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


def _cut(order: Tensor, batch_size: int) -> list[NDArray[np.int64]]:
    """``order`` in batches. A last one of a single image is left out: batch normalisation needs two."""
    batches: list[NDArray[np.int64]] = [batch.numpy() for batch in torch.split(order, batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches
