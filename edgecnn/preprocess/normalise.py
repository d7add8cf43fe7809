"""From 8-bit pixels to the float tensor that a network takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecnn.spec import Preprocess

__all__ = ["normalise"]


def normalise(
    pixels: NDArray[np.uint8], preprocess: Preprocess, *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``(pixel / divisor - mean) / std`` in float32, channels first.

    As torchvision's ``ToTensor`` and ``Normalize``, bit for bit: the same three operations in the same order,
    each rounded to float32.

    Args:
        pixels: (..., H, W, C) uint8.
        preprocess: divisor, mean and std.
        out: (..., C, H, W) float32 to write to, instead of a new array.

    Returns:
        (..., C, H, W) float32; ``out`` where that was given.
    """
    planes = np.moveaxis(pixels, -1, -3)
    result = np.empty(planes.shape, np.float32) if out is None else out
    mean = np.array(preprocess.mean, np.float32)[:, np.newaxis, np.newaxis]
    std = np.array(preprocess.std, np.float32)[:, np.newaxis, np.newaxis]
    # One image at a time: it stays in the cache over the four passes.
    for index in np.ndindex(planes.shape[:-3]):
        image = result[index]
        np.copyto(image, np.ascontiguousarray(planes[index]))  # bytes are cheaper to move than floats
        image /= np.float32(preprocess.divisor)
        image -= mean
        image /= std
    return result
