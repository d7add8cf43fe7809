"""Rows of results at the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.commands.console import Column, Terminal
from edgecnn.reports.columns import SUMMARY, cell_text, filled
from edgecnn.reports.columns import Column as ReportColumn
from edgecnn.reports.one_line import one_line
from edgecnn.reports.page_table import shared_settings
from edgecnn.reports.rows import Row

__all__ = ["print_rows"]

#: What a terminal has no room for; the files have it.
_LEFT_OUT = frozenset({"latency_p99_ms", "agreement_percent"})

#: With one query after the other it says what the latency says.
_OF_ONE_BY_ONE = "throughput_per_s"


def print_rows(terminal: Terminal, rows: Sequence[Row]) -> None:
    """Print the columns that say something of ``rows``; those that failed follow with their reason."""
    measured = [row for row in rows if row.result.error is None]
    if measured:
        columns = _columns(measured)
        titles = [Column(column.title, number=column.numeric) for column in columns]
        terminal.table(titles, [[cell_text(column, row) for column in columns] for row in measured])
        if settings := shared_settings(measured):
            terminal.line(f"All with {', '.join(settings)}.")
    for row in rows:
        if row.result.error is not None:
            terminal.line(f"Failed: {row.title}: {one_line(row.result.error)}")


def _columns(rows: Sequence[Row]) -> list[ReportColumn]:
    left_out = set(_LEFT_OUT)
    if all(row.result.scenario is None or row.result.scenario.name == "single" for row in rows):
        left_out.add(_OF_ONE_BY_ONE)
    left_out |= {name for name in ("batch", "threads") if len({_setting(row, name) for row in rows}) == 1}
    names = {
        (row.result.variant.artifact, row.result.variant.precision, row.result.variant.engine) for row in rows
    }
    if len(names) == len(rows):  # told apart without them
        left_out.add("options")
    return [column for column in filled(SUMMARY, rows) if column.key not in left_out]


def _setting(row: Row, name: str) -> object:
    return getattr(row.result.variant, name)
