"""The images of the parity check: the user's own, or the three photographs that come with edgecnn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import cycle, islice

import numpy as np
from PIL import Image, ImageOps

from edgecnn.engines.base import Batch
from edgecnn.preprocess import decode, prepare
from edgecnn.spec import ModelSpec

__all__ = ["builtin_images", "parity_batch"]

NAMES = ("flower.jpg", "pagoda.jpg", "portrait.jpg")


def builtin_images() -> list[Image.Image]:
    """Eight views of three photographs: whole, mirrored, and two close-ups."""
    folder = files("edgecnn.export") / "images"
    whole = [decode((folder / name).read_bytes(), name=name) for name in NAMES]
    mirrored = [ImageOps.mirror(image) for image in whole]
    close = [image.crop((40, 20, image.width - 40, image.height - 60)) for image in whole[:2]]
    return whole + mirrored + close


def parity_batch(images: Sequence[Image.Image], spec: ModelSpec, count: int) -> Batch:
    """``count`` prepared inputs in one batch, repeating ``images`` where there are fewer."""
    return np.stack([prepare(image, spec) for image in islice(cycle(images), count)])
