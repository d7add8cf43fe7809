"""A tiny real artifact whose answers are known, and image folders that it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.artifact import save_artifact
from tests.reader_model import CLASSES, reader_model, reader_spec


@pytest.fixture
def reader(tmp_path: Path) -> Callable[..., Path]:
    """Writes an artifact that answers what an image states, plus ``shift``."""

    def write(name: str = "reader.onnx", shift: int = 0, batch: int | str = "batch") -> Path:
        return save_artifact(reader_model(shift, batch), reader_spec(batch=batch), tmp_path / name).path

    return write


def write_image(path: Path, stated: int) -> Path:
    """A PNG of 4 x 4 pixels that states a class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0, 0, 0] = stated
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image that states a class."""

    def write(stated: int, name: str = "image.png") -> Path:
        return write_image(tmp_path / name, stated)

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image folder: image i is in the folder of class labels[i] and states stated[i]."""

    def write(labels: Sequence[int], stated: Sequence[int] | None = None, broken: int = 0) -> Path:
        root = tmp_path / "images"
        for index, (label, says) in enumerate(zip(labels, stated or labels, strict=True)):
            write_image(root / CLASSES[label] / f"{index:03}.png", says)
        for index in range(broken):
            path = root / CLASSES[labels[0]] / f"broken{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return root

    return write
