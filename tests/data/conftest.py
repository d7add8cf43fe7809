"""Small image folders, and sources that are only names and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.arrays import ArrayImages

ImageWriter = Callable[[str], Path]
SourceMaker = Callable[..., ArrayImages]


@pytest.fixture
def write_image(tmp_path: Path) -> ImageWriter:
    """Writes a small image, its colour made from its path, below the test's folder."""

    def write(relative: str) -> Path:
        path = tmp_path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = sum(relative.encode()) % 256
        Image.new("RGB", (4, 3), (shade, 255 - shade, 7)).save(path)
        return path

    return write


@pytest.fixture
def make_source() -> SourceMaker:
    """Makes a source of 2 x 2 images, the first pixel of each being its index."""

    def make(
        classes: Sequence[str], labels: Sequence[int], *, name: str = "made", root: Path | None = None
    ) -> ArrayImages:
        pixels = np.zeros((len(labels), 2, 2, 3), np.uint8)
        pixels[:, 0, 0, 0] = np.arange(len(labels)) % 256
        return ArrayImages(name, root, tuple(classes), np.array(labels, np.int64), pixels)

    return make
