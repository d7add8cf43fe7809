"""The table from WordNet ids to class indices: a CSV file with the columns index, wnid and name."""

from __future__ import annotations

from pathlib import Path

from edgecnn.data.csv_table import read_rows
from edgecnn.errors import DataError

__all__ = ["read_classes_csv"]

_REMEDY = "Its first line is index,wnid,name; then one line per class, index counting from 0."


def read_classes_csv(path: Path, classes: int, *, complete: bool = False) -> dict[str, int]:
    """The class index by WordNet id, or by whatever else stands in the column ``wnid``.

    Args:
        path: the CSV file.
        classes: how many classes the model has.
        complete: whether the file must give exactly the model's classes.

    Raises:
        DataError: unreadable, a wrong header, an index that is no number or outside the model's, an index or
            an id that occurs twice, or not complete.
    """
    table: dict[str, int] = {}
    lines: dict[int | str, int] = {}
    for line, texts in read_rows(path, ("index", "wnid"), _REMEDY):
        index = _index(texts["index"], classes, f"{path}, line {line}")
        for value in (index, texts["wnid"]):
            if value in lines:
                raise DataError(f"{path}, line {line}: {value!r} is in line {lines[value]} too.", _REMEDY)
            lines[value] = line
        table[texts["wnid"]] = index
    if complete and len(table) != classes:
        raise DataError(
            f"{path} gives {len(table)} classes, and the model has {classes}.",
            "Pass the model's own table with --classes CSV.",
        )
    return table


def _index(text: str, classes: int, where: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{where}: the index {text!r} is not a whole number.", _REMEDY)
    if len(text) > 9 or int(text) >= classes:
        raise DataError(
            f"{where}: the index {text} is outside the model's classes, 0 to {classes - 1}.",
            "Pass the model's own table with --classes CSV.",
        )
    return int(text)
