"""A choice as a document for machines."""

from __future__ import annotations

from typing import Any

from edgecnn.reports.pick import Choice, Cost
from edgecnn.reports.rows import Row

__all__ = ["choice_document"]


def choice_document(choice: Choice) -> dict[str, Any]:
    """Plain values; "pick" and "runner_up" hold the results themselves, in the schema of results."""
    return {
        "schema": "edgecnn.pick/1",
        "objective": {"name": choice.objective.name, "unit": choice.objective.unit},
        "limits": {constraint.name: constraint.limit for constraint in choice.constraints},
        "considered": choice.considered,
        "feasible": choice.feasible,
        "pick": _row(choice.pick),
        "runner_up": _row(choice.runner_up),
        "within_noise": choice.within_noise,
        "costs": [_cost(cost) for cost in choice.costs],
        "nearest": None
        if choice.nearest is None
        else {
            "variant": choice.nearest.row.title,
            "misses": [
                {
                    "limit": miss.constraint.name,
                    "unit": miss.constraint.figure.unit,
                    "allowed": miss.constraint.limit,
                    "value": miss.value,
                    "excess": miss.excess,
                }
                for miss in choice.nearest.misses
            ],
        },
        "unknown": [{"variant": one.row.title, "reason": one.reason} for one in choice.unknown],
    }


def _row(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"title": row.title, "drop_points": row.drop, "on_front": row.on_front, "result": row.result}


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "limit": cost.constraint.name,
        "without": None if cost.without is None else cost.without.title,
        "gain": cost.gain,
        "needed": cost.needed,
    }
