"""What a variant must hold to be shipped, and by what it is preferred."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgecnn.reports.pareto import Better
from edgecnn.reports.percentiles import DEFAULT_PERCENTILE, Percentile, latency, percentile_text
from edgecnn.reports.rows import Row

__all__ = ["MEGABYTE", "Constraint", "Figure", "Limits", "Objective", "constraints_of", "objective_figure"]

#: Bytes of a megabyte, here as on a disk's label.
MEGABYTE = 1_000_000

Objective = Literal["latency", "throughput", "accuracy", "size"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a result.

    Attributes:
        name: in words, such as "latency (p90)".
        unit: such as "ms"; "" where the name says it.
        better: which way.
        read: the number; None where it was not measured.
        judged: what a limit is held against, where that is not the number itself.
    """

    name: str
    unit: str
    better: Better
    read: Callable[[Row], float | None]
    judged: Callable[[Row], float | None] | None = None

    def text(self, value: float) -> str:
        """With its unit."""
        return f"{value:.4g} {self.unit}"

    def difference(self, value: float) -> str:
        """A difference of two of them, with its unit; of percentages those are points."""
        return f"{value:.3g} {'points' if self.unit == '%' else self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the user asked for; None is no limit.

    Attributes:
        max_latency_ms: of one query, at ``percentile``.
        max_memory_mb: peak resident memory of the host in the steady state, above an empty process.
        max_drop: percentage points of top-1 below the fp32 form of the same network, beyond chance.
        min_top1: percent.
        max_size_mb: of the artifact on disk.
        percentile: the latency that both the limit and the objective go by.
    """

    max_latency_ms: float | None = None
    max_memory_mb: float | None = None
    max_drop: float | None = None
    min_top1: float | None = None
    max_size_mb: float | None = None
    percentile: Percentile = DEFAULT_PERCENTILE


@dataclass(frozen=True, slots=True)
class Constraint:
    """One limit on one figure.

    Attributes:
        name: the option without its dashes, such as "max_drop".
        limit: in the figure's unit.
        figure: what it limits.
    """

    name: str
    limit: float
    figure: Figure

    @property
    def option(self) -> str:
        """As it is typed: "--max-drop 1"."""
        return f"--{self.name.replace('_', '-')} {self.limit:g}"

    def holds(self, row: Row) -> bool:
        """Whether the figure was measured and is within the limit."""
        value = self.needed(row)
        return value is not None and self.excess(value) <= 0

    def needed(self, row: Row) -> float | None:
        """The strictest limit that ``row`` holds; None where the figure was not measured."""
        return (self.figure.judged or self.figure.read)(row)

    def excess(self, value: float) -> float:
        """By how much ``value`` is beyond the limit, in the figure's unit; zero or less where it holds."""
        return value - self.limit if self.figure.better == "lower" else self.limit - value


def objective_figure(objective: Objective, percentile: Percentile) -> Figure:
    """The figure that ``objective`` makes best."""
    return {
        "latency": _latency(percentile),
        "throughput": Figure("throughput", "images/s", "higher", lambda row: row.result.throughput_per_s),
        "accuracy": _TOP1,
        "size": _SIZE,
    }[objective]


def constraints_of(limits: Limits) -> tuple[Constraint, ...]:
    """The limits that were stated, in the order of the options."""
    figures = {
        "max_latency_ms": _latency(limits.percentile),
        "max_memory_mb": _MEMORY,
        "max_drop": _DROP,
        "min_top1": _TOP1,
        "max_size_mb": _SIZE,
    }
    return tuple(
        Constraint(name, limit, figure)
        for name, figure in figures.items()
        if (limit := getattr(limits, name)) is not None
    )


def _latency(percentile: Percentile) -> Figure:
    name = f"latency ({percentile_text(percentile)})"
    return Figure(name, "ms", "lower", lambda row: latency(row.result, percentile))


def _megabytes(row: Row, name: str) -> float | None:
    size: int | None = getattr(row.result.memory_bytes, name, None)
    return None if size is None else size / MEGABYTE


_TOP1 = Figure(
    "top-1", "%", "higher", lambda row: None if row.result.accuracy is None else row.result.accuracy.top1
)
_DROP = Figure("top-1 drop against fp32", "points", "lower", lambda row: row.drop, lambda row: row.least_drop)
_SIZE = Figure("file size", "MB", "lower", lambda row: _megabytes(row, "file"))
_MEMORY = Figure("peak memory", "MB", "lower", lambda row: _megabytes(row, "peak"))
