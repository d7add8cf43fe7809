"""The requests of a load test over time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn.atomic import writing
from edgecnn.errors import ResultError
from edgecnn.reports.plots.figure import Axes, Figure, drawing, laid_out, new_axes, save_figure
from edgecnn.reports.plots.theme import LIGHT, Theme

__all__ = ["LoadSeries", "draw_load", "write_load_plot"]

#: Dots of one kind; more would only make the file large.
_DOTS = 20_000

#: Columns of the line of percentiles.
_COLUMNS = 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadSeries:
    """Requests in the order in which they were due.

    Attributes:
        title: what load it was.
        due_s: (n,) float64, when each was due.
        latency_ms: (n,) float64, until its answer or its failure.
        kinds: what became of it -> (n,) bool, which ones; "accepted" first.
    """

    title: str
    due_s: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    kinds: dict[str, NDArray[np.bool_]]


def draw_load(series: LoadSeries, theme: Theme) -> Figure:
    """A dot a request, and the median and the 99th percentile of the first kind over time."""
    figure, axes = new_axes(theme, 9.0, 4.6)
    for number, (kind, chosen) in enumerate(series.kinds.items()):
        if not chosen.any():
            continue
        # Every k-th in the order of time: no kind of latency is favoured.
        at = np.flatnonzero(chosen)[:: 1 + int(chosen.sum()) // _DOTS]
        axes.plot(
            series.due_s[at],
            np.maximum(series.latency_ms[at], 1e-3),
            linestyle="none",
            marker=".",
            markersize=3,
            alpha=0.5,
            color=theme.kind(number),
            label=f"{kind} ({int(chosen.sum()):,})",
            rasterized=True,
        )
    _percentiles(axes, series, theme)
    axes.set_yscale("log")
    axes.set_title(series.title, color=theme.ink, fontsize=10, loc="left")
    axes.set_xlabel("due after (s)")
    axes.set_ylabel("latency from then (ms)")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, labelcolor=theme.ink, fontsize=8.5)
    return figure


def write_load_plot(series: LoadSeries, path: Path, theme: Theme = LIGHT) -> None:
    """Write it as the suffix of ``path`` says: .png or .svg.

    Raises:
        ResultError: the file cannot be written.
    """
    with drawing(), writing(path, ResultError, "Choose another place with --plot."):
        save_figure(laid_out(draw_load(series, theme)), path)


def _percentiles(axes: Axes, series: LoadSeries, theme: Theme) -> None:
    chosen = next(iter(series.kinds.values()))
    if not chosen.any():
        return
    due, latency = series.due_s[chosen], series.latency_ms[chosen]
    edges = np.linspace(float(due[0]), float(due[-1]) + 1e-9, _COLUMNS + 1)
    columns = [latency[slice(*np.searchsorted(due, pair))] for pair in pairwise(edges.tolist())]
    middles = (edges[:-1] + edges[1:]) / 2
    for share, style in ((0.5, "-"), (0.99, ":")):
        values = [np.quantile(column, share) if len(column) else np.nan for column in columns]
        axes.plot(middles, values, style, color=theme.ink, linewidth=1.2, label=f"p{100 * share:.0f}")
