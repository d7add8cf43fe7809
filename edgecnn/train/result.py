"""What a training run reports, while it runs and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["EpochRecord", "TrainObserver", "TrainResult", "best_epoch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the epoch's steps, of augmented images and smoothed labels, before each step.
        val_loss: mean cross-entropy of the validation images, without smoothing, after the epoch.
        val_top1: percentage of the validation images that are right, 0 to 100.
        lr: of the epoch's last step.
        images_per_s: trained per second, input pipeline included, validation not.
        seconds: for all of the epoch, validation included.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_top1: float
    lr: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A finished run.

    Attributes:
        network: the card's name.
        classes: how many.
        epochs: how many ran, those before a resume included.
        best_epoch: the one that ``checkpoint`` holds.
        best_top1: its validation accuracy, 0 to 100. It was chosen on these very images, and so it is a
            little too good for a model of this quality.
        best_top1_ci95: the Wilson interval of ``best_top1``.
        n_train: training images.
        n_val: validation images.
        seconds: the epochs' own, those before a resume included.
        checkpoint: the best weights.
        curve: the picture of the learning curve.
        history: one record an epoch.
    """

    network: str
    classes: int
    epochs: int
    best_epoch: int
    best_top1: float
    best_top1_ci95: tuple[float, float]
    n_train: int
    n_val: int
    seconds: float
    checkpoint: Path
    curve: Path
    history: tuple[EpochRecord, ...]


class TrainObserver(Protocol):
    """Who is told how training goes."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def images_done(self, count: int) -> None:
        """So many more of ``epochs x n_train`` images are done, or were before a resume."""

    def epoch_done(self, record: EpochRecord, *, best: bool) -> None:
        """An epoch ended and its files are written; ``best`` says whether it is the best so far."""


def best_epoch(history: tuple[EpochRecord, ...]) -> EpochRecord:
    """The epoch of the highest top-1; among equals the one of the lowest loss, then the first."""
    return max(history, key=lambda record: (record.val_top1, -record.val_loss, -record.epoch))
