"""Where the memory of each variant goes: the library, the model, the first run, the steady state."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.patches import Patch

from edgecnn.reports.limits import MEGABYTE
from edgecnn.reports.plots.figure import Figure, new_axes
from edgecnn.reports.plots.kinds import shortened
from edgecnn.reports.plots.theme import Theme
from edgecnn.reports.result import MemoryBytes
from edgecnn.reports.rows import Row

__all__ = ["draw_memory", "memory_rows"]

#: field of MemoryBytes -> what is added by then.
_PHASES = {
    "runtime": "library loaded",
    "load": "model opened",
    "first_run": "first run",
    "peak": "steady state",
}
_BARS = 40


def memory_rows(rows: Sequence[Row]) -> tuple[tuple[int, Row], ...]:
    """The rows that have a peak, with their indices: the smallest first; one for each variant."""
    seen: dict[object, tuple[int, Row]] = {}
    for index, row in enumerate(rows):
        if row.result.memory_bytes is not None and row.result.memory_bytes.peak is not None:
            seen.setdefault((row.result.variant, row.result.memory_bytes), (index, row))
    return tuple(sorted(seen.values(), key=lambda pair: _peak(pair[1]))[:_BARS])


def draw_memory(rows: Sequence[tuple[int, Row]], theme: Theme) -> Figure:
    """The plot of ``memory_rows(rows)``, of which there is at least one."""
    figure, axes = new_axes(theme, 9.0, 1.4 + 0.27 * len(rows))
    places = list(range(len(rows)))[::-1]
    for place, (index, row) in zip(places, rows, strict=True):
        assert row.result.memory_bytes is not None
        start = 0.0
        for number, until in enumerate(_steps(row.result.memory_bytes)):
            bar = axes.barh(
                place,
                until - start,
                left=start,
                height=0.66,
                color=_colour(number, theme),
                edgecolor=theme.paper,
            )
            bar.patches[0].set_gid(f"row-{index}-{number}")
            start = until
        axes.annotate(
            f"{start:.0f}", (start, place), xytext=(4, 0), textcoords="offset points", va="center",
            fontsize=8.5, color=theme.ink,
        )  # fmt: skip
    axes.set_yticks(places, [shortened(row.name, 60) for _, row in rows], fontsize=8.5)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.08)
    axes.set_xlabel("peak resident memory above an empty process (MB)")
    _legend(figure, theme)
    return figure


def _steps(memory: MemoryBytes) -> list[float]:
    """Megabytes at the end of each phase, never falling: a peak cannot; a phase not measured adds nothing."""
    reached, steps = 0.0, []
    for name in _PHASES:
        value: int | None = getattr(memory, name)
        reached = reached if value is None else max(reached, value / MEGABYTE)
        steps.append(reached)
    return steps


def _colour(number: int, theme: Theme) -> str:
    return (theme.rest, theme.series[0], theme.series[4], theme.series[3])[number]


def _legend(figure: Figure, theme: Theme) -> None:
    handles = [
        Patch(color=_colour(number, theme), label=text) for number, text in enumerate(_PHASES.values())
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=4, frameon=False, labelcolor=theme.ink, fontsize=9
    )


def _peak(row: Row) -> int:
    assert row.result.memory_bytes is not None
    return row.result.memory_bytes.peak or 0
