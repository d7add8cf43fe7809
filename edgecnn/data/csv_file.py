"""Labelled images listed in a CSV file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.csv_table import read_rows
from edgecnn.data.files import FileImages
from edgecnn.data.splits import SPLIT_NAMES, Split, split_named
from edgecnn.errors import DataError, EmptyDataError

__all__ = ["open_csv"]

_REMEDY = "Its first line is path,label (also split, if it has splits); paths are relative to the CSV file."


@dataclass(frozen=True, slots=True)
class _Row:
    """One image: the line of the file, its path, its label, and its split or an empty text."""

    line: int
    path: str
    label: str
    split: str


def open_csv(path: Path, *, split: Split = "test") -> FileImages:
    """The images that a CSV file lists.

    Columns ``path`` and ``label``, and ``split`` if there are splits, in any order; others are not read. A
    label is a class name (a WordNet id, for instance). When all labels are whole numbers, they are indices of
    the model's classes.

    Raises:
        EmptyDataError: it lists nothing.
        DataError: a column, a label or an image is missing, named with its line; or no row is of the split.
    """
    rows = [
        _Row(line, str(path.parent / texts["path"]), texts["label"], texts.get("split", "").lower())
        for line, texts in read_rows(path, ("path", "label"), _REMEDY)
    ]
    if not rows:
        raise EmptyDataError(f"{path} lists no images.", _REMEDY)
    rows = _of_split(rows, split, path)
    _require_images(rows, path)
    classes, labels = _labels([row.label for row in rows])
    return FileImages(path.stem, path.parent, classes, labels, tuple(row.path for row in rows))


def _of_split(rows: list[_Row], split: Split, path: Path) -> list[_Row]:
    """The rows of one split; all of them if no row names a split."""
    present = {row.split for row in rows}
    if present == {""}:
        return rows
    name = split_named(split, present)
    if name is None:
        found = ", ".join(repr(text) for text in sorted(present))
        raise DataError(
            f"{path}: no row is of the {split} split; the column split holds {found}.",
            f"Call it {' or '.join(SPLIT_NAMES[split])}.",
        )
    return [row for row in rows if row.split == name]


def _require_images(rows: list[_Row], path: Path) -> None:
    missing = [row for row in rows if not os.path.isfile(row.path)]  # noqa: PTH113 - fast for 50,000
    if missing:
        more = f" ({len(missing)} rows name missing images)" if len(missing) > 1 else ""
        raise DataError(
            f"{path}, line {missing[0].line}: there is no image {missing[0].path}{more}.",
            "Correct the path or remove the row; paths are relative to the CSV file.",
        )


def _labels(texts: list[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The class names, sorted, and an index into them per image; no names when all texts are numbers."""
    if all(text.isascii() and text.isdigit() and len(text) < 10 for text in texts):
        return (), np.array([int(text) for text in texts], np.int64)
    names = sorted(set(texts))
    index = {name: position for position, name in enumerate(names)}
    return tuple(names), np.array([index[text] for text in texts], np.int64)
