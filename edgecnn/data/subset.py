"""A part of a source, as a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.data.source import LabelledImages
from edgecnn.errors import UsageError

__all__ = ["Selection", "select", "subset"]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The images of ``source`` at ``indices``, in that order; see :class:`LabelledImages`.

    Attributes:
        source: where the images are.
        indices: (n,) int64, into ``source``.
        name: what to call the part.
    """

    source: LabelledImages
    indices: NDArray[np.int64]
    name: str

    @property
    def root(self) -> Path | None:
        """The whole source's folder."""
        return self.source.root

    @property
    def classes(self) -> tuple[str, ...]:
        """The whole source's classes, also those of which the part has no image."""
        return self.source.classes

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,): one label per chosen image."""
        return self.source.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def key(self, index: int) -> str:
        """What names one image in the whole source."""
        return self.source.key(int(self.indices[index]))

    def image(self, index: int) -> Image.Image:
        """One image, decoded to RGB."""
        return self.source.image(int(self.indices[index]))

    def content(self, index: int) -> bytes:
        """The bytes that are the image."""
        return self.source.content(int(self.indices[index]))


def select(source: LabelledImages, indices: Sequence[int] | NDArray[np.int64], name: str) -> Selection:
    """The images of ``source`` at ``indices``."""
    return Selection(source, np.asarray(indices, dtype=np.int64), name)


def subset(source: LabelledImages, limit: int | None, seed: int | None = None) -> LabelledImages:
    """At most ``limit`` images; the source itself if it has no more than that, or for a limit of None.

    Without a seed they are evenly spaced: image ``floor(i * n / limit)`` for each i, so that a source sorted
    by class still contributes all its classes. With a seed they are a random sample, in the source's order,
    the same for the same seed.

    Raises:
        UsageError: ``limit`` is less than 1.
    """
    if limit is None or limit >= len(source):
        return source
    if limit < 1:
        raise UsageError(f"A limit of {limit} leaves no image.", "Give a positive number of images.")
    if seed is None:
        indices = np.arange(limit, dtype=np.int64) * len(source) // limit
    else:
        indices = np.sort(np.random.default_rng(seed).choice(len(source), limit, replace=False))
    return Selection(source, indices, f"{source.name} ({limit} of {len(source)})")
