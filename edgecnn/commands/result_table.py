"""Rows of results at the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.commands.console import Column, Terminal
from edgecnn.reports.columns import SUMMARY, cell_text, filled
from edgecnn.reports.one_line import one_line
from edgecnn.reports.rows import Row

__all__ = ["print_rows"]


def print_rows(terminal: Terminal, rows: Sequence[Row]) -> None:
    """Print the columns that say something of ``rows``; those that failed follow with their reason."""
    measured = [row for row in rows if row.result.error is None]
    if measured:
        columns = filled(SUMMARY, measured)
        titles = [Column(column.title, number=column.numeric) for column in columns]
        terminal.table(titles, [[cell_text(column, row) for column in columns] for row in measured])
    for row in rows:
        if row.result.error is not None:
            terminal.line(f"Failed: {row.title}: {one_line(row.result.error)}")
