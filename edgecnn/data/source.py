"""What every source of labelled images offers, and what identifies its content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["LabelledImages", "fingerprint", "image_hashes"]


class LabelledImages(Protocol):
    """Images with one label each, in a fixed order. Reading is safe from several threads at once."""

    @property
    def name(self) -> str:
        """What to call it in messages and reports."""

    @property
    def root(self) -> Path | None:
        """The folder that it lies in; None for what is not made of files."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label; empty when the labels are already indices of the model's classes."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,): for each image an index into ``classes``, or of the model's classes if those are empty."""

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """What names one image among these: its path from ``root``, or "digits[12]"."""

    def image(self, index: int) -> Image.Image:
        """One image, decoded to RGB.

        Raises:
            ImageError: the image cannot be used.
        """

    def content(self, index: int) -> bytes:
        """The bytes that are the image: those of its file, or its raw pixels.

        Raises:
            ImageError: the file cannot be read.
        """


def fingerprint(source: LabelledImages) -> str:
    """SHA-256 over classes, labels and content in order, in hexadecimal: a key for caches.

    Raises:
        ImageError: a file cannot be read.
    """
    digest = hashlib.sha256(repr(source.classes).encode())
    digest.update(source.labels.astype("<i8").tobytes())
    for index in range(len(source)):
        digest.update(hashlib.sha256(source.content(index)).digest())
    return digest.hexdigest()


def image_hashes(source: LabelledImages) -> frozenset[str]:
    """SHA-256 of each image's content, in hexadecimal, to tell whether two sources share images.

    Raises:
        ImageError: a file cannot be read.
    """
    contents = (source.content(index) for index in range(len(source)))
    return frozenset(hashlib.sha256(content).hexdigest() for content in contents)
