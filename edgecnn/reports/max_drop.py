"""The rule of --max-drop, the same for all commands that have it: what chance explains is no failure."""

from __future__ import annotations

from edgecnn.reports.result import Accuracy, Gate, Interval
from edgecnn.statistics import paired_drop_interval

__all__ = ["drop_gate", "least_drop", "paired_drop_gate"]


def least_drop(points: float, ci95: Interval) -> float:
    """What a limit is held against: the least that a drop may really be.

    Args:
        points: percentage points below the reference; negative where top-1 went up.
        ci95: their interval.
    """
    # Beside the interval, which leans towards no drop: one that is within the limit holds in any case.
    return min(points, ci95[0])


def drop_gate(points: float, ci95: Interval, limit: float) -> Gate:
    """The gate on a drop of top-1: it holds where the drop, or its 95 % interval, reaches down to the limit.

    Args:
        points: percentage points below the reference; negative where top-1 went up.
        ci95: their interval.
        limit: in percentage points.
    """
    return Gate(name="max_drop", limit=limit, value=points, held=least_drop(points, ci95) <= limit)


def paired_drop_gate(accuracy: Accuracy, limit: float) -> Gate | None:
    """The gate on the drop against the reference of ``accuracy``, image by image; None without a reference.

    Computed from the flips: the difference of two rounded percentages may miss a limit that it equals.

    Args:
        accuracy: of the variant.
        limit: in percentage points.
    """
    if accuracy.flips is None:
        return None
    gained, lost, n = accuracy.flips.gained, accuracy.flips.lost, accuracy.n
    low, high = paired_drop_interval(gained, lost, n)
    return drop_gate(100 * (lost - gained) / n, (100 * low, 100 * high), limit)
