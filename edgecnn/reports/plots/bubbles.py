"""Accuracy against latency: a bubble per variant, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from edgecnn.reports.limits import MEGABYTE
from edgecnn.reports.percentiles import latency
from edgecnn.reports.plots.figure import Axes, Figure, new_axes, tick_logarithm
from edgecnn.reports.plots.kinds import MARKERS, Kinds, shortened
from edgecnn.reports.plots.theme import Theme
from edgecnn.reports.rows import Row, is_plain

__all__ = ["Point", "bubble_points", "draw_bubbles"]

#: Area of the largest bubble, in square points.
_LARGEST = 420.0
_SMALLEST = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One bubble.

    Attributes:
        index: of its row in the document.
        row: what it stands for.
        latency_ms: 90th percentile.
        top1: percent.
        area: what its area stands for, in the unit of the legend; None where that is not known.
    """

    index: int
    row: Row
    latency_ms: float
    top1: float
    area: float | None


@dataclass(frozen=True, slots=True)
class _Area:
    """What the area of the bubbles stands for."""

    title: str
    unit: str
    read: Callable[[Row], float | None]


def _memory(row: Row) -> float | None:
    peak = None if row.result.memory_bytes is None else row.result.memory_bytes.peak
    return None if peak is None else peak / MEGABYTE


def _parameters(row: Row) -> float | None:
    return None if row.result.size is None else row.result.size.parameters / 1e6


_AREAS = (_Area("peak memory", "MB", _memory), _Area("parameters", "million", _parameters))


def bubble_points(rows: Sequence[Row]) -> tuple[tuple[Point, ...], str]:
    """The bubbles, and what their area stands for; "" where nothing is known of all of them.

    Queries that run one at a time, or all where there are none of them, as for the front.
    """
    known = [(index, row) for index, row in enumerate(rows) if _position(row) is not None]
    plain = [(index, row) for index, row in known if is_plain(row.result)] or known
    area = next((one for one in _AREAS if all(one.read(row) is not None for _, row in plain)), None)
    points = tuple(_point(index, row, area) for index, row in plain)
    return points, "" if area is None or not points else f"{area.title} ({area.unit})"


def _position(row: Row) -> tuple[float, float] | None:
    time = latency(row.result)
    accuracy = row.result.accuracy
    return None if time is None or accuracy is None or time <= 0 else (time, accuracy.top1)


def _point(index: int, row: Row, area: _Area | None) -> Point:
    position = _position(row)
    assert position is not None
    size = None if area is None else area.read(row)
    return Point(index=index, row=row, latency_ms=position[0], top1=position[1], area=size)


def draw_bubbles(points: Sequence[Point], area: str, kinds: Kinds, theme: Theme) -> Figure:
    """The plot of ``bubble_points(rows)``; each bubble is a group named "row-INDEX" in an SVG.

    Args:
        points: at least one.
        area: what the area stands for.
        kinds: of all rows.
        theme: the colours.
    """
    figure, axes = new_axes(theme, 9.0, 5.6)
    _draw_front(axes, points, theme)
    for point in sorted(points, key=lambda one: -(one.area or 0.0)):
        _draw_point(axes, point, _largest(points), kinds.colour(point.row, theme), theme)
    _scale(axes, points)
    axes.set_xlabel("latency of one query, 90th percentile (ms; to the left is faster)")
    axes.set_ylabel("top-1 (%)")
    _legend(figure, points, area, kinds, theme)
    _label_front(figure, axes, [point for point in points if point.row.on_front], theme)
    return figure


def _largest(points: Sequence[Point]) -> float:
    return max((point.area or 0.0 for point in points), default=0.0)


def _marker_area(value: float | None, largest: float) -> float:
    """Proportional to the value, but never too small to be seen."""
    return 60.0 if value is None or largest <= 0 else max(_SMALLEST, _LARGEST * value / largest)


def _draw_front(axes: Axes, points: Sequence[Point], theme: Theme) -> None:
    front = sorted((point.latency_ms, point.top1) for point in points if point.row.on_front)
    axes.step(
        [x for x, _ in front],
        [y for _, y in front],
        where="post",
        color=theme.front,
        linewidth=1.2,
        linestyle=(0, (4, 3)),
        zorder=1.5,
    )


def _draw_point(axes: Axes, point: Point, largest: float, colour: str, theme: Theme) -> None:
    drawn = axes.scatter(
        point.latency_ms,
        point.top1,
        s=_marker_area(point.area, largest),
        marker=MARKERS[point.row.result.variant.precision],
        color=colour,
        alpha=0.9 if point.row.on_front else 0.45,
        edgecolors=theme.ink if point.row.on_front else theme.paper,
        linewidths=1.1 if point.row.on_front else 0.6,
        zorder=3 if point.row.on_front else 2,
    )
    drawn.set_gid(f"row-{point.index}")


def _scale(axes: Axes, points: Sequence[Point]) -> None:
    """A logarithm of time; some room on each side."""
    times, tops = [point.latency_ms for point in points], [point.top1 for point in points]
    axes.set_xscale("log")
    ratio = max(max(times) / min(times), 2.0)
    axes.set_xlim(min(times) / ratio**0.08, max(times) * ratio**0.08)
    height = max(max(tops) - min(tops), 4.0)  # points; less is mostly noise, which no axis should blow up
    axes.set_ylim(min(tops) - 0.12 * height, max(tops) + 0.14 * height)
    tick_logarithm(axes, ratio)


def _legend(figure: Figure, points: Sequence[Point], area: str, kinds: Kinds, theme: Theme) -> None:
    """One legend at the right: networks by colour, precisions by shape, the front, and what an area means."""
    handles = [
        _entry(name, "o", colour) for name, colour in kinds.legend([point.row for point in points], theme)
    ]
    present = {point.row.result.variant.precision for point in points}
    handles += [_entry(name, marker, theme.faint) for name, marker in MARKERS.items() if name in present]
    handles.append(
        Line2D([], [], color=theme.front, linestyle=(0, (4, 3)), linewidth=1.2, label="Pareto front")
    )
    if area:
        title, _, unit = area.rpartition(" (")
        largest = _largest(points)
        for value in (_rounded(largest / 4), _rounded(largest)):
            text = f"{title} {value:g} {unit.rstrip(')')}"
            handles.append(_entry(text, "o", "none", theme.faint, math.sqrt(_marker_area(value, largest))))
    figure.legend(
        handles=handles,
        loc="outside right upper",
        frameon=False,
        labelcolor=theme.ink,
        fontsize=9,
        labelspacing=0.9,
        handletextpad=0.9,
    )


def _entry(name: str, marker: str, colour: str, edge: str | None = None, size: float = 8.0) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=marker,
        markerfacecolor=colour,
        markeredgecolor=edge or colour,
        markersize=size,
        label=name,
    )


def _rounded(value: float) -> float:
    """Down to 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return power * max(step for step in (1.0, 2.0, 5.0) if step * power <= value)


def _label_front(figure: Figure, axes: Axes, front: Sequence[Point], theme: Theme) -> None:
    """Names at the left of the bubbles on the front, where nothing else can be, none over another."""
    labels = [
        axes.annotate(
            shortened(_name(point.row)),
            (point.latency_ms, point.top1),
            xytext=(-14, 9),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8.5,
            color=theme.ink,
            # The line leaves at the right end, so that it crosses no label below.
            arrowprops={
                "arrowstyle": "-",
                "color": theme.faint,
                "linewidth": 0.7,
                "shrinkB": 4,
                "relpos": (1.0, 0.5),
            },
            zorder=4,
        )
        for point in sorted(front, key=lambda one: one.top1)
    ]
    for annotation in labels:
        annotation.set_in_layout(
            False
        )  # the layout would shrink the axes for them, where the limits give way
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    _make_room_left(axes, labels)
    for _ in range(3):  # more room above spreads the points, which needs less of it
        figure.draw_without_rendering()
        _push_up(figure, labels)
        _make_room_above(axes, labels)


def _make_room_left(axes: Axes, labels: Sequence[Annotation]) -> None:
    """Lower the left limit until every label begins within the axes."""
    low, high = (math.log(limit) for limit in axes.get_xlim())
    width = axes.get_window_extent().width
    for annotation in labels:
        box = annotation.get_window_extent()
        place = math.log(annotation.xy[0])
        # Where the point must lie, as a share of the width; a label that is too long takes two thirds of it.
        share = min((axes.transData.transform(annotation.xy)[0] - box.x0 + 4) / width, 0.67)
        low = min(low, (place - share * high) / (1 - share))
    axes.set_xlim(math.exp(low), math.exp(high))
    tick_logarithm(axes, math.exp(high - low))


def _make_room_above(axes: Axes, labels: Sequence[Annotation]) -> None:
    """Raise the upper limit by as much as the highest label stands out."""
    frame = axes.get_window_extent()
    highest = max((annotation.get_window_extent().y1 for annotation in labels), default=frame.y1)
    if highest > frame.y1:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + (high - low) * (highest - frame.y1 + 6) / frame.height)


def _push_up(figure: Figure, labels: Sequence[Annotation]) -> None:
    """Move each label up from its first place until it is clear of those below it."""
    dots_per_point = figure.dpi / 72
    placed: list[tuple[float, float, float]] = []
    for annotation in labels:
        annotation.set_position((-14, 9))
        box = annotation.get_window_extent()
        height = box.height + 2 * dots_per_point
        bottom = box.y0
        for left, right, top in sorted(placed, key=lambda one: one[2]):
            if left < box.x1 and box.x0 < right and bottom < top < bottom + 2 * height:
                bottom = top
        annotation.set_position((-14, 9 + (bottom - box.y0) / dots_per_point))
        placed.append((box.x0, box.x1, bottom + height))


def _name(row: Row) -> str:
    variant = row.result.variant
    extra = [f"batch {variant.batch}"] if variant.batch not in (None, 1) else []
    extra += [variant.options] if variant.options else []
    return ", ".join([f"{variant.network} {variant.precision} {variant.engine}", *extra])
