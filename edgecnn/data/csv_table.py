"""Reads a CSV file with a header, as every CSV of this project is read: UTF-8, byte-order mark or not."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecnn.errors import DataError

__all__ = ["read_rows"]


def read_rows(path: Path, columns: Sequence[str], remedy: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of ``path``: the number of the line that each ends on, and its texts by column, stripped.

    Args:
        path: a CSV file, comma-separated, with the names of its columns in the first line.
        columns: those that must be there and not be empty.
        remedy: says what the file must look like.

    Raises:
        DataError: it cannot be read, or lacks a column, or a row lacks a text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            _require_columns(reader.fieldnames or (), columns, path, remedy)
            for row in reader:
                texts = {name: text.strip() for name, text in row.items() if name}
                for column in columns:
                    if not texts[column]:
                        raise DataError(f"{path}, line {reader.line_num}: no {column}.", remedy)
                yield reader.line_num, texts
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.", remedy) from error


def _require_columns(header: Sequence[str], columns: Sequence[str], path: Path, remedy: str) -> None:
    for column in columns:
        if column not in header:
            found = ", ".join(header) or "nothing"
            raise DataError(f"{path} has no column {column!r}; its first line holds {found}.", remedy)
