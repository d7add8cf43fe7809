"""The table from WordNet ids to class indices: a CSV file with the columns index, wnid and name."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from edgecnn.errors import DataError

__all__ = ["read_classes_csv"]

_REMEDY = "Its first line is 'index,wnid,name'; then one line per class, index counting from 0."


def read_classes_csv(path: Path, classes: int, *, complete: bool = False) -> dict[str, int]:
    """The class index by WordNet id (by whatever stands in the column ``wnid``).

    Args:
        path: the CSV file.
        classes: how many classes the model has.
        complete: whether the file must give exactly the model's classes.

    Raises:
        DataError: unreadable, a wrong header, an index that is no number or outside the model's, an index or
            an id that occurs twice, or not complete.
    """
    table: dict[str, int] = {}
    lines: dict[int, int] = {}
    for line, text, wnid in _rows(path):
        index = _index(text, classes, f"{path}, line {line}")
        if index in lines:
            raise DataError(f"{path}, line {line}: index {index} occurs in line {lines[index]} too.", _REMEDY)
        if wnid in table:
            raise DataError(
                f"{path}, line {line}: {wnid!r} occurs in line {lines[table[wnid]]} too.", _REMEDY
            )
        lines[index], table[wnid] = line, index
    if complete and len(table) != classes:
        raise DataError(
            f"{path} gives {len(table)} classes, and the model has {classes}.",
            "Pass the model's own table with --classes CSV.",
        )
    return table


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, index and wnid of each row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            for column in ("index", "wnid"):
                if column not in header:
                    found = ", ".join(header) or "nothing"
                    raise DataError(
                        f"{path} has no column {column!r}; its first line holds {found}.", _REMEDY
                    )
            for row in reader:
                yield reader.line_num, (row["index"] or "").strip(), (row["wnid"] or "").strip()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.", _REMEDY) from error


def _index(text: str, classes: int, where: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{where}: the index {text!r} is not a whole number.", _REMEDY)
    if int(text) >= classes:
        raise DataError(
            f"{where}: index {text} is outside the model's classes, 0 to {classes - 1}.",
            "Pass the model's own table with --classes CSV.",
        )
    return int(text)
