"""The images to train on, and those to judge by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgecnn.data import LabelledImages, Selection, open_source
from edgecnn.errors import DataError

__all__ = ["TrainData", "open_train_data"]

#: Of each class, one image in so many is held out where the data has no split of its own.
_HELD_OUT = 5


@dataclass(frozen=True, slots=True)
class TrainData:
    """Two sources without a common image."""

    train: LabelledImages
    val: LabelledImages


def open_train_data(data: str, val: str | None, note: Callable[[str], None]) -> TrainData:
    """Open the training split of ``data``, and ``val`` or else the test split of ``data``.

    Where ``data`` has no splits, every fifth image of each class is held out, always the same ones.

    Raises:
        UsageError: no such form of data.
        DataError: it cannot be read, the two share images, or nothing can be held out.
    """
    train = open_source(data, split="train", announce=note)
    test = open_source(val or data, split="test", announce=note)
    shared = _places(train) & _places(test)
    if not shared:
        return TrainData(train, test)
    if val is not None or len(shared) < len(train):
        raise DataError(
            f"{len(shared)} of the {len(test)} validation images are also trained on, such as {min(shared)}.",
            "Give other images with --val: accuracy on images that were trained on says nothing.",
        )
    note(f"{train.name} has no splits: every {_HELD_OUT}th image of each class is held out for validation.")
    return _split(train)


def _places(source: LabelledImages) -> set[str]:
    """What tells images of different sources apart: their keys, with the folder for those that are in one."""
    folder = "" if source.root is None else f"{source.root.resolve()}/"
    return {f"{folder}{source.key(index)}" for index in range(len(source))}


def _split(source: LabelledImages) -> TrainData:
    held = np.zeros(len(source), np.bool_)
    for label in np.unique(source.labels):
        held[np.flatnonzero(source.labels == label)[_HELD_OUT - 1 :: _HELD_OUT]] = True
    if not held.any():
        raise DataError(
            f"{source.name}: no class has {_HELD_OUT} images, so none can be held out for validation.",
            "Give validation images with --val, or more images.",
        )
    train, val = np.flatnonzero(~held), np.flatnonzero(held)
    return TrainData(
        Selection(source, train, f"{source.name} (train)"),
        Selection(source, val, f"{source.name} (held out)"),
    )
