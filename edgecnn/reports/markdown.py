"""Results as a table of GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgecnn.reports.columns import SUMMARY, Column, cell_text, filled
from edgecnn.reports.one_line import one_line
from edgecnn.reports.result import Result
from edgecnn.reports.rows import Row, rows_of

__all__ = ["markdown_table"]


def markdown_table(results: Sequence[Result], columns: Sequence[Column] = SUMMARY) -> str:
    """The columns that hold something, aligned so that the source reads well; failures are listed below."""
    rows = rows_of(results)
    measured = [row for row in rows if row.result.error is None]
    lines = _table(filled(columns, measured), measured) if measured else []
    failed = [
        f"- {_escaped(row.title)}: {_escaped(row.result.error or '')}" for row in rows if row.result.error
    ]
    if failed:
        lines += [*([""] if lines else []), "Failed:", "", *failed]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    cells = [[_escaped(column.title) for column in columns]]
    cells += [[_escaped(cell_text(column, row)) for column in columns] for row in rows]
    widths = [max(3, *(len(line[index]) for line in cells)) for index in range(len(columns))]
    rule = [
        "-" * (width - 1) + ":" if column.numeric else "-" * width
        for column, width in zip(columns, widths, strict=True)
    ]
    padded = [
        [
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ]
        for line in cells
    ]
    return ["| " + " | ".join(line) + " |" for line in (padded[0], rule, *padded[1:])]


def _escaped(text: str) -> str:
    """With what Markdown or HTML would read as markup made literal; an underscore within a word is none."""
    return re.sub(r"([\\`*|<>\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", one_line(text)).replace("&", "&amp;")
