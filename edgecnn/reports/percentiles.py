"""The percentile of latency that a report goes by."""

from __future__ import annotations

from typing import Literal, get_args

from edgecnn.reports.result import Interval, Result

__all__ = [
    "DEFAULT_PERCENTILE",
    "PERCENTILES",
    "Percentile",
    "latency",
    "latency_interval",
    "percentile_text",
]

Percentile = Literal["p50", "p90", "p95", "p99", "p99_9"]

PERCENTILES: tuple[Percentile, ...] = get_args(Percentile)

#: A budget that half of the queries exceed is none; MLPerf Inference judges a single stream by its 90 %, too.
DEFAULT_PERCENTILE: Percentile = "p90"


def latency(result: Result, percentile: Percentile = DEFAULT_PERCENTILE) -> float | None:
    """That percentile in milliseconds; None where it was not measured."""
    found: float | None = getattr(result.latency_ms, percentile, None)
    return found


def latency_interval(result: Result, percentile: Percentile = DEFAULT_PERCENTILE) -> Interval | None:
    """Its 95 % interval in milliseconds; None where it was not measured."""
    intervals = None if result.latency_ms is None else result.latency_ms.ci95
    found: Interval | None = getattr(intervals, percentile, None)
    return found


def percentile_text(percentile: Percentile) -> str:
    """As people write it: "p99.9"."""
    return percentile.replace("_", ".")
