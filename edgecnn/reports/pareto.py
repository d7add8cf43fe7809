"""Which candidates nothing else beats: the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

__all__ = ["Better", "dominates", "pareto_front"]

#: Which way an objective is better.
Better = Literal["lower", "higher"]


def pareto_front(points: Sequence[Sequence[float | None]], better: Sequence[Better]) -> tuple[int, ...]:
    """Indices of the points that no other point dominates, ascending.

    A point that lacks a value (None or NaN) is not on the front, for nobody can tell, and dominates none.
    Equal points are on it together.

    Args:
        points: one row per candidate, one value per objective.
        better: the direction of each objective.

    Raises:
        ValueError: a row has another length than ``better``.
    """
    rows = {
        index: _costs(values, better)
        for index, values in enumerate(points)
        if all(value is not None and not math.isnan(value) for value in values)
    }
    # A point can only be dominated by one that precedes it in lexical order, and then by one on the front.
    front: list[int] = []
    for index in sorted(rows, key=lambda one: rows[one]):
        if not any(dominates(rows[other], rows[index]) for other in front):
            front.append(index)
    return tuple(sorted(front))


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether ``one`` is nowhere worse than ``other`` and somewhere better; lower is better in all."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _costs(values: Sequence[float | None], better: Sequence[Better]) -> tuple[float, ...]:
    """The values turned so that lower is better."""
    pairs = zip(values, better, strict=True)
    return tuple(value if way == "lower" else -value for value, way in pairs if value is not None)
