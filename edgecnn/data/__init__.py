"""Labelled images: where they come from, and which of the model's classes each belongs to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from edgecnn.data.labels import map_labels
from edgecnn.data.ordered_map import ordered_map
from edgecnn.data.source import LabelledImages, fingerprint, image_hashes
from edgecnn.data.splits import Split
from edgecnn.data.subset import Selection, select, subset
from edgecnn.errors import UsageError
from edgecnn.lookup import resolve

__all__ = [
    "SOURCE_FORMS",
    "Announce",
    "LabelledImages",
    "Selection",
    "Split",
    "fingerprint",
    "image_hashes",
    "map_labels",
    "open_source",
    "ordered_map",
    "select",
    "subset",
]

Announce = Callable[[str], None]

#: What a user may give as data, for help texts and messages.
SOURCE_FORMS = (
    "an image folder with one sub-folder per class (or with train and val sub-folders of those), "
    "a .csv with the columns path,label, an .npz with x_test, y_test and classes (and x_train, y_train), "
    "or one of: digits, cifar10[:DIR], cifar100[:DIR]"
)

_DIGITS = "edgecnn.data.digits:open_digits"
_DOWNLOADS = {"cifar10": "edgecnn.data.cifar:open_cifar10", "cifar100": "edgecnn.data.cifar:open_cifar100"}
_FOLDER = "edgecnn.data.folder:open_folder"
_BY_SUFFIX = {".csv": "edgecnn.data.csv_file:open_csv", ".npz": "edgecnn.data.arrays:open_npz"}


def _to_standard_error(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def open_source(
    text: str, *, split: Split = "test", announce: Announce = _to_standard_error
) -> LabelledImages:
    """Open what the user called ``text``; see :data:`SOURCE_FORMS`. A folder named like a data set: ./digits.

    Args:
        text: a path or a name.
        split: which part; a source that has no parts gives everything for both.
        announce: is told, before a download, what comes from where.

    Raises:
        UsageError: no such form, or nothing is there.
        EmptyDataError: it is there and holds no labelled image.
        DataError: it is there and cannot be read.
        DependencyMissingError: an optional package is needed.
    """
    if text == "digits":
        return _opener(_DIGITS)(split=split)
    name, _, directory = text.partition(":")
    if name in _DOWNLOADS:
        place = Path(directory).expanduser() if directory else None
        return _opener(_DOWNLOADS[name])(place, split=split, announce=announce)
    path = Path(text).expanduser()
    return _opener(_form_of(path))(path, split=split)


def _opener(reference: str) -> Callable[..., LabelledImages]:
    return cast(Callable[..., LabelledImages], resolve(reference))


def _form_of(path: Path) -> str:
    if path.is_dir():
        return _FOLDER
    if not path.exists():
        raise UsageError(f"{path}: there is no such data.", f"Give {SOURCE_FORMS}.")
    if path.suffix.lower() not in _BY_SUFFIX:
        raise UsageError(f"{path} is no source of labelled images.", f"Give {SOURCE_FORMS}.")
    return _BY_SUFFIX[path.suffix.lower()]
