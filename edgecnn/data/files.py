"""Labelled images that are files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.preprocess.decode import decode, read_image_file

__all__ = ["IMAGE_SUFFIXES", "FileImages"]

#: Endings, in lower case, of files that are taken for images.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)


@dataclass(frozen=True, slots=True, eq=False)
class FileImages:
    """Image files and their labels; see :class:`edgecnn.data.source.LabelledImages`.

    Attributes:
        paths: of the image files, as strings: a million of them cost little.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def key(self, index: int) -> str:
        """The path of one image from ``root``: the same wherever the data lies, and however it was named."""
        return PurePath(os.path.relpath(self.paths[index], self.root)).as_posix()

    def image(self, index: int) -> Image.Image:
        """One image, decoded to RGB."""
        return decode(Path(self.paths[index]))

    def content(self, index: int) -> bytes:
        """The bytes of one file."""
        return read_image_file(Path(self.paths[index]))
