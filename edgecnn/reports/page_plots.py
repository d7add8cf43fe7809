"""The plots of the page, inline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.reports.columns import SUMMARY, cell_text
from edgecnn.reports.one_line import one_line
from edgecnn.reports.plots.bubbles import bubble_points, draw_bubbles
from edgecnn.reports.plots.cdf import cdf_rows, draw_cdf
from edgecnn.reports.plots.figure import Figure, drawing
from edgecnn.reports.plots.kinds import kinds_of
from edgecnn.reports.plots.memory import draw_memory, memory_rows
from edgecnn.reports.plots.svg import inline_svg
from edgecnn.reports.plots.theme import PAGE
from edgecnn.reports.rows import Row

__all__ = ["PagePlot", "page_plots"]

_TIP = ("top1_percent", "latency_p50_ms", "latency_p90_ms", "memory_peak_mb", "throughput_per_s")


@dataclass(frozen=True, slots=True)
class PagePlot:
    """One plot.

    Attributes:
        name: of letters, unique in the page.
        title: its heading.
        caption: how to read it.
        svg: the picture as markup, whose text is escaped.
    """

    name: str
    title: str
    caption: str
    svg: str


def page_plots(rows: Sequence[Row]) -> tuple[PagePlot, ...]:
    """Those that the rows have figures for."""
    tips = {f"row-{index}": _tip(row) for index, row in enumerate(rows)}
    with drawing():
        return tuple(
            PagePlot(name, title, caption, inline_svg(figure, name, title, tips))
            for name, title, caption, figure in _figures(rows)
        )


def _figures(rows: Sequence[Row]) -> list[tuple[str, str, str, Figure]]:
    figures = []
    points, area = bubble_points(rows)
    if points:
        sized = f" The area of a bubble is its {area.partition(' (')[0]}." if area else ""
        caption = (
            "Up and to the left is better. The variants on the front have names and an outline: "
            f"nothing is as fast and as accurate.{sized}"
        )
        figure = draw_bubbles(points, area, kinds_of(rows), PAGE)
        figures.append(("bubbles", "Accuracy against latency", caption, figure))
    if curves := cdf_rows(rows):
        caption = (
            "The share of queries that were answered within a time: a steep line is a steady variant. "
            "Those on the front, then the fastest."
        )
        figures.append(("cdf", "How latencies are distributed", caption, draw_cdf(curves, PAGE)))
    if bars := memory_rows(rows):
        caption = (
            "Peak memory of a fresh process above an empty one: once the library was loaded, "
            "once the model was open, after the first run, and in the steady state."
        )
        figures.append(("memory", "Memory by phase", caption, draw_memory(bars, PAGE)))
    return figures


def _tip(row: Row) -> str:
    shown = [column for column in SUMMARY if column.key in _TIP and column.read(row) is not None]
    return "; ".join(
        [one_line(row.title), *(f"{column.title}: {cell_text(column, row)}" for column in shown)]
    )
