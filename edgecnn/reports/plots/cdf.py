"""How the latencies of each variant are distributed."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.reports.plots.figure import Figure, new_axes, tick_logarithm
from edgecnn.reports.plots.kinds import shortened
from edgecnn.reports.plots.theme import Theme
from edgecnn.reports.rows import Row, is_plain

__all__ = ["cdf_rows", "draw_cdf"]

#: As many curves as can be told apart.
_CURVES = 8

_STYLES = {"fp32": "-", "fp16": (0, (6, 2)), "bf16": (0, (5, 2, 1, 2)), "int8": (0, (2, 1.5)), "mixed": "--"}


def cdf_rows(rows: Sequence[Row]) -> tuple[tuple[int, Row], ...]:
    """The rows that are drawn, with their indices: those on the front first, then the fastest."""
    known = [
        (index, row)
        for index, row in enumerate(rows)
        if row.result.latency_ms and row.result.latency_ms.quantiles and is_plain(row.result)
    ]
    order = sorted(known, key=lambda pair: (not pair[1].on_front, _median(pair[1])))
    return tuple(sorted(order[:_CURVES], key=lambda pair: _median(pair[1])))


def draw_cdf(rows: Sequence[tuple[int, Row]], theme: Theme) -> Figure:
    """The plot of ``cdf_rows(rows)``, of which there is at least one."""
    figure, axes = new_axes(theme, 9.0, 4.6)
    for number, (index, row) in enumerate(rows):
        assert row.result.latency_ms is not None
        quantiles = row.result.latency_ms.quantiles or ()
        steps = max(len(quantiles) - 1, 1)
        (line,) = axes.plot(
            [max(value, 1e-6) for value in quantiles],
            [100 * step / steps for step in range(len(quantiles))],
            color=theme.kind(number),
            linestyle=_STYLES[row.result.variant.precision],
            linewidth=1.8,
            label=shortened(row.name, 60),
        )
        line.set_gid(f"row-{index}")
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    tick_logarithm(axes, high / low)
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 25, 50, 75, 90, 100])
    axes.set_xlabel("latency of one query (ms)")
    axes.set_ylabel("queries that took no longer (%)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=theme.ink, fontsize=8.5)
    return figure


def _median(row: Row) -> float:
    assert row.result.latency_ms is not None
    return row.result.latency_ms.p50
