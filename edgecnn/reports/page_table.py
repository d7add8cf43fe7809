"""The table of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.reports.columns import SUMMARY, Cell, Column, cell_text, filled
from edgecnn.reports.one_line import one_line
from edgecnn.reports.result import Interval
from edgecnn.reports.rows import Row

__all__ = ["Table", "TableCell", "TableRow", "shared_settings", "table_of"]

#: Columns that are said once where all variants share them.
_SETTINGS = ("batch", "threads")


@dataclass(frozen=True, slots=True)
class TableCell:
    """One cell.

    Attributes:
        text: what is seen.
        sort: what it is sorted by: a number or a text; "" for nothing, which is last either way.
        note: more of it, such as an interval; "" for nothing.
    """

    text: str
    sort: str
    note: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line: the index of the row in the document, and its cells."""

    index: int
    on_front: bool
    cells: tuple[TableCell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and lines."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]


def table_of(rows: Sequence[Row]) -> Table:
    """What was measured, in the columns that say something; not the settings that all share."""
    measured = [(index, row) for index, row in enumerate(rows) if row.result.error is None]
    columns = tuple(
        column
        for column in filled(SUMMARY, [row for _, row in measured])
        if column.key not in _SETTINGS or len({column.read(row) for _, row in measured}) > 1
    )
    lines = [
        TableRow(index, row.on_front, tuple(_cell(column, row) for column in columns))
        for index, row in measured
    ]
    return Table(columns, tuple(lines))


def shared_settings(rows: Sequence[Row]) -> tuple[str, ...]:
    """The settings that all variants share, such as "batch 1" and "2 threads"."""
    found = []
    for name in _SETTINGS:
        values = {getattr(row.result.variant, name) for row in rows if row.result.error is None}
        if len(values) == 1 and (value := values.pop()) is not None:
            found.append(f"batch {value}" if name == "batch" else f"{value} thread{'s' * (value != 1)}")
    return tuple(found)


def _cell(column: Column, row: Row) -> TableCell:
    return TableCell(cell_text(column, row, "\N{EN DASH}"), _sort(column.read(row)), _note(column, row))


def _sort(value: Cell) -> str:
    if value is None or value == "":
        return ""
    return repr(float(value)) if isinstance(value, bool | int | float) else one_line(value)


def _note(column: Column, row: Row) -> str:
    """The 95 % interval of a figure that has one."""
    result = row.result
    intervals = result.latency_ms.ci95 if result.latency_ms is not None else None
    known: dict[str, Interval | None] = {
        "top1_percent": result.accuracy.top1_ci95 if result.accuracy else None,
        "latency_p50_ms": intervals.p50 if intervals else None,
        "latency_p90_ms": intervals.p90 if intervals else None,
        "latency_p99_ms": intervals.p99 if intervals else None,
        "throughput_per_s": result.throughput_ci95,
        "speedup": result.ratio.ci95 if result.ratio else None,
    }
    interval = known.get(column.key)
    return "" if interval is None else f"95 % interval {interval[0]:.4g} to {interval[1]:.4g}"
