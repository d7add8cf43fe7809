"""Image folders: one sub-folder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from edgecnn.data.files import IMAGE_SUFFIXES, FileImages
from edgecnn.errors import DataError

__all__ = ["open_folder"]

_REMEDY = "An image folder has one sub-folder per class, with images in it."

#: Names of sub-folders that are splits, best first.
_SPLITS = {"train": ("train", "training"), "test": ("test", "val", "validation", "valid")}
_SPLIT_NAMES = frozenset(name for names in _SPLITS.values() for name in names)


def open_folder(path: Path, *, split: Literal["train", "test"] = "test") -> FileImages:
    """The images of a folder with one sub-folder per class.

    Classes and files are sorted by name; sub-folders of a class folder are searched too, linked ones are not.
    Hidden files and files that do not end like images are left out. A folder whose sub-folders are all named
    like splits (train, val, test) is a data set with splits, of which one is taken.

    Raises:
        DataError: no sub-folders, a class without images, or the asked split is not there.
    """
    folder = _split_folder(path, split)
    classes = _sub_folders(folder)
    if not classes:
        raise DataError(f"{folder} has no sub-folders.", _REMEDY)
    paths: list[str] = []
    counts: list[int] = []
    for name in classes:
        found = sorted(_images(os.path.join(folder, name)))  # noqa: PTH118 - 50,000 Path objects are slow
        if not found:
            raise DataError(f"{folder / name}: this class has no images.", _REMEDY)
        paths += found
        counts.append(len(found))
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    return FileImages(folder.name or str(folder), folder, tuple(classes), labels, tuple(paths))


def _split_folder(path: Path, split: Literal["train", "test"]) -> Path:
    names = _sub_folders(path)
    if not names or not _SPLIT_NAMES.issuperset(names):
        return path
    for name in _SPLITS[split]:
        if name in names:
            return path / name
    raise DataError(
        f"{path} has the splits {', '.join(names)}, and none of {', '.join(_SPLITS[split])}.",
        "Add one, or name the sub-folder to use.",
    )


def _sub_folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(str(path)) if entry.is_dir())


def _images(folder: str) -> Iterator[str]:
    """The paths of the images below ``folder``."""
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _images(entry.path)
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and entry.is_file():  # noqa: PTH122
            yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What lies in ``folder`` and is not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.", "Check its permissions.") from error
