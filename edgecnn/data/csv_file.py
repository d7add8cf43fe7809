"""Labelled images listed in a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.files import FileImages
from edgecnn.errors import DataError

__all__ = ["open_csv"]

_REMEDY = (
    "The first line is 'path,label' (more columns may follow, such as split); paths are relative to the file."
)

_SPLITS = {"train": ("train", "training"), "test": ("test", "val", "validation", "valid")}


@dataclass(frozen=True, slots=True)
class _Row:
    """One image: the line of the file that ends its row, its path as a string, and its label."""

    line: int
    path: str
    label: str


def open_csv(path: Path, *, split: Literal["train", "test"] = "test") -> FileImages:
    """The images that a CSV file lists.

    Columns ``path`` and ``label``, in any order, and ``split`` if there are splits; others are not read. A
    label is a class name (a WordNet id, for instance); when all labels are integers, they are indices of the
    model's classes.

    Raises:
        DataError: a column, a label or an image is missing, named with its line; or no row is of the split.
    """
    rows = list(_rows(path, split))
    if not rows:
        raise DataError(f"{path} lists no images of the {split} split.", _REMEDY)
    _require_images(rows, path)
    classes, labels = _labels([row.label for row in rows])
    return FileImages(path.stem, path.parent, classes, labels, tuple(row.path for row in rows))


def _rows(path: Path, split: str) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            missing = [column for column in ("path", "label") if column not in header]
            if missing:
                found = ", ".join(header) or "nothing"
                raise DataError(
                    f"{path} has no column {missing[0]!r}; its first line holds {found}.", _REMEDY
                )
            for row in reader:
                if row.get("split") is None or row["split"] in _SPLITS[split]:
                    yield _row(row, reader.line_num, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.", _REMEDY) from error


def _row(row: dict[str, str], line: int, path: Path) -> _Row:
    for column in ("path", "label"):
        if not (row[column] or "").strip():
            raise DataError(f"{path}, line {line}: no {column}.", _REMEDY)
    return _Row(line, os.path.join(path.parent, row["path"].strip()), row["label"].strip())  # noqa: PTH118


def _require_images(rows: list[_Row], path: Path) -> None:
    missing = [row for row in rows if not os.path.isfile(row.path)]  # noqa: PTH113
    if missing:
        others = f" (and {len(missing) - 1} more rows name missing images)" if len(missing) > 1 else ""
        raise DataError(
            f"{path}, line {missing[0].line}: there is no image {missing[0].path}{others}.",
            "Correct the path or remove the row; paths are relative to the CSV file.",
        )


def _labels(texts: list[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The class names, sorted, and an index into them per image; no names when all texts are integers."""
    if all(text.isascii() and text.isdigit() for text in texts):
        return (), np.array([int(text) for text in texts], np.int64)
    names, labels = np.unique(np.array(texts), return_inverse=True)
    return tuple(str(name) for name in names), labels.astype(np.int64)
