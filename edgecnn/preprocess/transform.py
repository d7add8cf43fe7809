"""Resize and centre crop, and one model input from a decoded image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.errors import ImageError, UsageError
from edgecnn.preprocess.decode import MAX_PIXELS
from edgecnn.preprocess.geometry import crop_box, resized_size
from edgecnn.preprocess.normalise import normalise
from edgecnn.spec import ModelSpec, Preprocess

__all__ = ["crop", "prepare"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def crop(image: Image.Image, preprocess: Preprocess, *, name: str | None = None) -> NDArray[np.uint8]:
    """The pixels that a network looks at: the model's colours, resized, the centre cut out.

    As torchvision's ``Resize`` and ``CenterCrop`` on Pillow images, bit for bit. Grey is made as Pillow's
    ``convert("L")`` does (ITU-R 601-2 luma), before the resize.

    Args:
        image: decoded.
        preprocess: colours, sizes and filter.
        name: what to call the image in an error.

    Returns:
        (H, W, C) uint8, contiguous and writable, in the size of ``preprocess.crop``.

    Raises:
        ImageError: so long and thin that it would be resized to more than :data:`MAX_PIXELS` pixels.
        UsageError: a filter without antialiasing that is neither nearest nor bilinear.
    """
    mode = "L" if preprocess.color == "L" else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    height, width = resized_size(image.height, image.width, preprocess)
    if height * width > MAX_PIXELS:
        raise ImageError(
            name or "image",
            f"{image.width} x {image.height} pixels are so long and thin that the resized image would "
            f"have {width} x {height}",
        )
    resized = _resized(image, (width, height), preprocess)
    result = np.array(resized.crop(crop_box(height, width, preprocess.crop)))
    if mode == "L":
        return result[..., np.newaxis]
    return np.ascontiguousarray(result[..., ::-1]) if preprocess.color == "BGR" else result


def prepare(
    image: Image.Image,
    spec: ModelSpec,
    *,
    name: str | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """One model input, without the batch dimension.

    Args:
        image: decoded.
        spec: of the model.
        name: what to call the image in an error.
        out: an array of the result's shape and dtype to write to: a row of a batch, for instance.

    Returns:
        (H, W, C) uint8 where the model normalises its input itself, else (C, H, W) normalised, of the model's
        input dtype; ``out`` where that was given.

    Raises:
        ImageError, UsageError: as :func:`crop`.
    """
    pixels = crop(image, spec.preprocess, name=name)
    if spec.preprocess.in_graph:
        result: NDArray[Any] = pixels
    elif out is not None and out.dtype == np.float32:
        return normalise(pixels, spec.preprocess, out=out)
    else:
        result = normalise(pixels, spec.preprocess).astype(spec.input.dtype, copy=False)
    if out is None:
        return result
    out[...] = result
    return out


def _resized(image: Image.Image, size: tuple[int, int], preprocess: Preprocess) -> Image.Image:
    """The whole image at ``size`` (width, height), though a crop will follow.

    ``Image.resize(box=...)`` of the crop alone takes 60 % of the time, but Pillow rounds its box to single
    precision, which moves the filter: other pixels come out. So do they when the two passes of a resize are
    made one by one, for Pillow 13 chooses their order by the sizes.
    """
    if image.size == size:
        return image
    if preprocess.antialias or preprocess.interpolation == "nearest":
        return image.resize(size, _FILTERS[preprocess.interpolation])
    if preprocess.interpolation != "bilinear":
        raise UsageError(
            f"Resizing by {preprocess.interpolation} without antialiasing is not implemented.",
            "Use antialias = true, as torchvision does on images, or interpolation = 'bilinear'.",
        )
    whole = (0, 0, *image.size)
    return image.transform(size, Image.Transform.EXTENT, whole, Image.Resampling.BILINEAR)
