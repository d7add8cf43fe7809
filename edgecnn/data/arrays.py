"""Labelled images that are arrays in memory, and the .npz files that hold them."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from PIL import Image

from edgecnn.data.splits import Split
from edgecnn.errors import DataError, EmptyDataError

__all__ = ["ArrayImages", "open_npz"]

_REMEDY = (
    "It needs x_test (N, H, W, 3) uint8, y_test (N,) integers, for training also x_train and y_train, "
    "and, to map labels by name, classes: one text per label."
)
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayImages:
    """Images in one array; see :class:`edgecnn.data.source.LabelledImages`.

    Attributes:
        pixels: (N, H, W, 3) uint8 RGB, or (N, H, W) uint8 grey.
    """

    name: str
    root: Path | None
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)

    def key(self, index: int) -> str:
        """The name of the source and the index."""
        return f"{self.name}[{index}]"

    def image(self, index: int) -> Image.Image:
        """One image, as RGB."""
        image = Image.fromarray(self.pixels[index])
        return image if image.mode == "RGB" else image.convert("RGB")

    def content(self, index: int) -> bytes:
        """The raw pixels of one image."""
        pixels: NDArray[np.uint8] = self.pixels[index]
        return pixels.tobytes()


def open_npz(path: Path, *, split: Split = "test") -> ArrayImages:
    """Read one split of an .npz: x_test, y_test or x_train, y_train, and classes.

    Without ``classes``, labels are indices of the model's classes.

    Raises:
        EmptyDataError: there is no image in the split.
        DataError: not an .npz, or an array is missing, of the wrong type or shape, or holds wrong labels.
    """
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, NpzFile):
                raise DataError(f"{path} is a single array, not an .npz of several.", _REMEDY)
            pixels = _array(arrays, f"x_{split}", path)
            labels = _array(arrays, f"y_{split}", path)
            classes = _array(arrays, "classes", path) if "classes" in arrays.files else None
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}.", _REMEDY) from error
    _check_pixels(pixels, f"{path}: x_{split}")
    names = () if classes is None else _class_names(classes, f"{path}: classes")
    return ArrayImages(
        name=f"{path.stem}/{split}",
        root=path.parent,
        classes=names,
        labels=_checked_labels(labels, len(pixels), names, f"{path}: y_{split}"),
        pixels=pixels.astype(np.uint8, copy=False),
    )


def _array(arrays: NpzFile, key: str, path: Path) -> NDArray[np.generic]:
    if key not in arrays.files:
        held = ", ".join(arrays.files) or "nothing"
        raise DataError(f"{path} has no array {key}; it holds {held}.", _REMEDY)
    try:
        array: NDArray[np.generic] = arrays[key]
    except _UNREADABLE as error:
        raise DataError(f"{path}: the array {key} cannot be read: {error}.", _REMEDY) from error
    return array


def _check_pixels(pixels: NDArray[np.generic], what: str) -> None:
    if pixels.dtype != np.uint8:
        raise DataError(f"{what} is {pixels.dtype}, not uint8.", "Store pixels from 0 to 255 as uint8.")
    if pixels.ndim != 4 or pixels.shape[3] != 3:
        hint = " It looks channels-first: transpose it." if pixels.ndim == 4 and pixels.shape[1] == 3 else ""
        raise DataError(f"{what} has shape {pixels.shape}, not (N, H, W, 3).{hint}", _REMEDY)
    if 0 in pixels.shape:
        raise EmptyDataError(f"{what} has shape {pixels.shape}: there is no image in it.", _REMEDY)


def _class_names(classes: NDArray[np.generic], what: str) -> tuple[str, ...]:
    if classes.ndim != 1 or classes.dtype.kind != "U":
        raise DataError(f"{what} is {classes.dtype} of shape {classes.shape}, not a row of texts.", _REMEDY)
    names = tuple(str(name) for name in classes)
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{what} has {name!r} more than once.", "Give every class a name of its own.")
    return names


def _checked_labels(
    labels: NDArray[np.generic], images: int, classes: tuple[str, ...], what: str
) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu":
        raise DataError(f"{what} is {labels.dtype}, not integers.", "Store class indices as integers.")
    if labels.shape != (images,):
        raise DataError(f"{what} has shape {labels.shape}, and there are {images} images.", _REMEDY)
    result = labels.astype(np.int64)
    limit = len(classes) or np.iinfo(np.int64).max
    wrong = np.flatnonzero((result < 0) | (result >= limit))
    if len(wrong):
        allowed = f"not one of 0 to {limit - 1}" if classes else "and labels count from 0"
        raise DataError(f"{what}[{wrong[0]}] is {result[wrong[0]]}, {allowed}.", "Labels index classes.")
    return result
