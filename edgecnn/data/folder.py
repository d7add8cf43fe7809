"""Image folders: one sub-folder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from edgecnn.data.files import IMAGE_SUFFIXES, FileImages
from edgecnn.data.splits import SPLIT_NAMES, Split, split_named
from edgecnn.errors import DataError, EmptyDataError

__all__ = ["open_folder"]

_REMEDY = "An image folder has one sub-folder per class, with images in it."


def open_folder(path: Path, *, split: Split = "test") -> FileImages:
    """The images of a folder with one sub-folder per class.

    Classes and files are sorted by name. Sub-folders of a class folder are searched too, unless they are
    links; hidden files and files that do not end like images are left out. A folder whose sub-folders are all
    named like splits (train, val, test) is a data set in parts, of which one is taken.

    Raises:
        EmptyDataError: no sub-folders, or no images in them.
        DataError: a class without images, or the asked split is not there.
    """
    folder = _split_folder(path, split)
    classes = _sub_folders(folder)
    if not classes:
        raise EmptyDataError(f"{folder} has no sub-folders.", _REMEDY)
    found = {name: sorted(_images(str(folder / name))) for name in classes}
    if not any(found.values()):
        raise EmptyDataError(f"{folder}: there are no images in its sub-folders.", _REMEDY)
    for name, paths in found.items():
        if not paths:
            raise DataError(f"{folder / name}: this class has no images.", _REMEDY)
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(paths) for paths in found.values()])
    return FileImages(folder.resolve().name, folder, tuple(classes), labels, tuple(chain(*found.values())))


def _split_folder(path: Path, split: Split) -> Path:
    present = _sub_folders(path)
    if not present or not set(present) <= {name for names in SPLIT_NAMES.values() for name in names}:
        return path
    name = split_named(split, present)
    if name is None:
        raise DataError(
            f"{path} has the splits {', '.join(present)}, and none of {', '.join(SPLIT_NAMES[split])}.",
            "Add one, or give the sub-folder to use.",
        )
    return path / name


def _sub_folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(str(path)) if entry.is_dir())


def _images(folder: str) -> Iterator[str]:
    """The paths of the images below ``folder``, as strings: 50,000 Path objects are slow."""
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _images(entry.path)
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
            yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What lies in ``folder`` and is not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.", "Check its permissions.") from error
