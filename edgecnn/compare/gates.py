"""Whether what quantising cost is within what the user allows."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.artifact import Artifact
from edgecnn.reports.result import Accuracy, Gate, Interval
from edgecnn.statistics import paired_drop_interval

__all__ = ["drop_gate"]


@dataclass(frozen=True, slots=True)
class _Drop:
    """Percentage points of top-1 below the float model, and their 95 % interval."""

    points: float
    ci95: Interval


def drop_gate(artifact: Artifact, accuracy: Accuracy | None, limit: float) -> Gate | None:
    """The gate on the drop of a quantised ``artifact``; None where nobody measured it.

    A drop that its interval cannot tell from the limit holds, as it does in ``edgecnn quantize``.

    Args:
        artifact: knows its drop on the images that calibration held out.
        accuracy: on the images to validate by, against the float model, which counts more; None without.
        limit: in percentage points.
    """
    drop = _measured(accuracy) or _recorded(artifact)
    if drop is None:
        return None
    held = min(drop.points, drop.ci95[0]) <= limit
    return Gate(name="max_drop", limit=limit, value=drop.points, held=held)


def _measured(accuracy: Accuracy | None) -> _Drop | None:
    if accuracy is None or accuracy.flips is None:
        return None
    gained, lost, n = accuracy.flips.gained, accuracy.flips.lost, accuracy.n
    low, high = paired_drop_interval(gained, lost, n)
    return _Drop(100 * (lost - gained) / n, (100 * low, 100 * high))


def _recorded(artifact: Artifact) -> _Drop | None:
    done = artifact.spec.quantization
    found = None if done is None else done.accuracy
    return None if found is None else _Drop(found.drop, found.drop_ci95)
