"""Results as CSV: every column, full precision, units in the header."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from edgecnn.reports.columns import COLUMNS, Cell
from edgecnn.reports.result import Result
from edgecnn.reports.rows import rows_of

__all__ = ["csv_text"]


def csv_text(results: Sequence[Result]) -> str:
    """A header and one line per result (RFC 4180); an empty cell is what was not measured."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.key for column in COLUMNS])
    for row in rows_of(results):
        writer.writerow([_cell(column.read(row)) for column in COLUMNS])
    return text.getvalue()


def _cell(value: Cell) -> Cell:
    return str(value).lower() if isinstance(value, bool) else value
