"""Tiny data that a network learns within seconds, and an observer that remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from edgecnn.data.arrays import ArrayImages
from edgecnn.train.result import EpochRecord
from edgecnn.train.sources import TrainData

NAMES = ("top", "bottom", "middle")


@dataclass
class Recorder:
    """An observer that keeps what it is told, and interrupts on demand.

    Attributes:
        interrupt_in: the epoch in which Ctrl-C is pressed.
    """

    interrupt_in: int | None = None
    notes: list[str] = field(default_factory=list)
    records: list[EpochRecord] = field(default_factory=list)
    best: list[int] = field(default_factory=list)
    images: int = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def images_done(self, count: int) -> None:
        self.images += count
        if count and self.interrupt_in == len(self.records) + 1:
            raise KeyboardInterrupt

    def epoch_done(self, record: EpochRecord, *, best: bool) -> None:
        self.records.append(record)
        if best:
            self.best.append(record.epoch)


def make_bars(
    per_class: int,
    *,
    classes: tuple[str, ...] = NAMES,
    seed: int = 0,
    side: int = 32,
    name: str = "bars/train",
) -> ArrayImages:
    """Noise with a yellow bar whose height in the image is the class."""
    random = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(classes)), per_class)
    pixels = random.integers(0, 80, (len(labels), side, side, 3), dtype=np.uint8)
    third = side // 3
    for image, label in zip(pixels, labels, strict=True):
        rank = (0, 2, 1)[label]
        image[rank * third : (rank + 1) * third, :, :2] += np.uint8(150)
    return ArrayImages(name, None, classes, labels.astype(np.int64), pixels)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads gain nothing on images this small, and cost a lot on a machine that others use."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bars() -> Callable[..., ArrayImages]:
    return make_bars


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def observer() -> Recorder:
    return Recorder()


@pytest.fixture
def data() -> TrainData:
    return TrainData(make_bars(8), make_bars(4, seed=1, name="bars/test"))
