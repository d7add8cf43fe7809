"""Decoded and cropped images, batch by batch: from memory where they fit, decoded anew where not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecnn.data import LabelledImages, ordered_map
from edgecnn.preprocess import crop, normalise
from edgecnn.spec import Preprocess

__all__ = ["MEMORY_BUDGET_BYTES", "Pixels", "in_order", "input_tensor", "open_pixels", "size_bytes"]

#: Images that take no more than this in all are decoded once and kept.
MEMORY_BUDGET_BYTES = 512 * 2**20

Indices = NDArray[np.int64]


class Pixels(Protocol):
    """The images of one source, all of one size."""

    def __len__(self) -> int: ...

    def batches(self, order: Sequence[Indices]) -> Iterator[NDArray[np.uint8]]:
        """(B, H, W, C) uint8 for each array of B indices.

        Raises:
            ImageError: an image cannot be used.
        """


def open_pixels(source: LabelledImages, preprocess: Preprocess, *, keep: bool) -> Pixels:
    """The images of ``source``, resized and cropped; kept in memory if ``keep``.

    Raises:
        ImageError: an image cannot be used (for those that are not kept: when it is reached).
    """
    decoded = _Decoded(source, preprocess, workers=os.cpu_count() or 1)
    return _Kept(_read_all(decoded, preprocess)) if keep else decoded


def size_bytes(images: int, preprocess: Preprocess) -> int:
    """Memory of so many images, resized and cropped."""
    return images * preprocess.crop[0] * preprocess.crop[1] * preprocess.channels


def in_order(images: int, batch_size: int) -> list[Indices]:
    """The indices of all images, cut into batches."""
    return np.array_split(np.arange(images), range(batch_size, images, batch_size))


def input_tensor(pixels: NDArray[np.uint8], preprocess: Preprocess) -> Tensor:
    """The network's input: (B, H, W, C) uint8 to (B, C, H, W) float32 in channels-last memory."""
    memory = np.moveaxis(np.empty(pixels.shape, np.float32), -1, -3)
    return torch.from_numpy(normalise(pixels, preprocess, out=memory))


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """All images in one (N, H, W, C) array."""

    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self, order: Sequence[Indices]) -> Iterator[NDArray[np.uint8]]:
        return (self.pixels[indices] for indices in order)


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    """Images that threads decode while the batch before them is trained on."""

    source: LabelledImages
    preprocess: Preprocess
    workers: int

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, order: Sequence[Indices]) -> Iterator[NDArray[np.uint8]]:
        flat = (int(index) for indices in order for index in indices)
        window = 2 * max((len(indices) for indices in order), default=1) + self.workers
        images = ordered_map(self._read, flat, workers=self.workers, window=window)
        for indices in order:
            yield np.stack(list(islice(images, len(indices))))

    def _read(self, index: int) -> NDArray[np.uint8]:
        return crop(self.source.image(index), self.preprocess, name=self.source.key(index))


def _read_all(decoded: _Decoded, preprocess: Preprocess) -> NDArray[np.uint8]:
    pixels = np.empty((len(decoded), *preprocess.crop, preprocess.channels), np.uint8)
    order = in_order(len(decoded), 256)
    for indices, batch in zip(order, decoded.batches(order), strict=True):
        pixels[indices] = batch
    return pixels
