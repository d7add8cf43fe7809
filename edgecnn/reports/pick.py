"""One variant to ship: the best of those that hold every limit, and what the limits cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.reports.limits import Constraint, Figure, Limits, Objective, constraints_of, objective_figure
from edgecnn.reports.one_line import one_line
from edgecnn.reports.percentiles import latency, latency_interval
from edgecnn.reports.result import Interval, Result
from edgecnn.reports.rows import Row, rows_of

__all__ = ["Choice", "Cost", "Miss", "NearestMiss", "Unknown", "choose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one limit costs.

    Attributes:
        constraint: the limit.
        without: the best variant if this limit alone were lifted; None if there still is none.
        gain: by how much its objective is better than the pick's, in the objective's unit, never negative;
            None where there is no pick.
        needed: the limit that would have let it in; None where its figure was not measured.
    """

    constraint: Constraint
    without: Row | None
    gain: float | None
    needed: float | None


@dataclass(frozen=True, slots=True)
class Miss:
    """One limit that a variant does not hold.

    Attributes:
        constraint: the limit.
        value: as measured.
        excess: by how much it is beyond the limit, in the same unit.
    """

    constraint: Constraint
    value: float
    excess: float


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """The variant that comes closest to holding every limit."""

    row: Row
    misses: tuple[Miss, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variant that cannot be judged: it failed, or a figure that is needed was not measured."""

    row: Row
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        objective: the figure that the pick makes best.
        constraints: the limits that were stated.
        pick: the best variant that holds them all; None when nothing does.
        runner_up: the next best.
        within_noise: whether pick and runner-up have overlapping 95 % intervals of the objective; None where
            they have none.
        costs: of each limit.
        nearest: when nothing holds them all.
        unknown: what could not be judged.
        feasible: how many variants hold them all.
        considered: how many there were.
    """

    objective: Figure
    constraints: tuple[Constraint, ...]
    pick: Row | None
    runner_up: Row | None
    within_noise: bool | None
    costs: tuple[Cost, ...]
    nearest: NearestMiss | None
    unknown: tuple[Unknown, ...]
    feasible: int
    considered: int


def choose(results: Sequence[Result], limits: Limits, objective: Objective = "latency") -> Choice:
    """The best of ``results`` under ``limits``.

    A figure that a limit or the objective needs and that was not measured counts as not held. Equals in the
    objective are told apart by accuracy, then latency.
    """
    rows = rows_of(results)
    constraints = constraints_of(limits)
    figure = objective_figure(objective, limits.percentile)
    candidates = [row for row in rows if row.result.error is None and figure.read(row) is not None]
    ranked = sorted(candidates, key=lambda row: _rank(row, figure, limits))
    feasible = [row for row in ranked if all(constraint.holds(row) for constraint in constraints)]
    pick = feasible[0] if feasible else None
    runner_up = feasible[1] if len(feasible) > 1 else None
    return Choice(
        objective=figure,
        constraints=constraints,
        pick=pick,
        runner_up=runner_up,
        within_noise=_overlap(feasible, objective, limits),
        costs=tuple(_cost(constraint, constraints, ranked, pick, figure) for constraint in constraints),
        nearest=None if feasible else _nearest(ranked, constraints),
        unknown=_unknown(rows, constraints, figure),
        feasible=len(feasible),
        considered=len(rows),
    )


def _rank(row: Row, figure: Figure, limits: Limits) -> tuple[float, float, float, str]:
    """Sorts the best first."""
    value = figure.read(row)
    assert value is not None
    accuracy = row.result.accuracy
    time = latency(row.result, limits.percentile)
    return (
        value if figure.better == "lower" else -value,
        math.inf if accuracy is None else -accuracy.top1,
        math.inf if time is None else time,
        row.title,
    )


def _cost(
    lifted: Constraint,
    constraints: Sequence[Constraint],
    ranked: Sequence[Row],
    pick: Row | None,
    figure: Figure,
) -> Cost:
    others = [constraint for constraint in constraints if constraint is not lifted]
    without = [row for row in ranked if all(constraint.holds(row) for constraint in others)]
    if pick is None:
        # Nothing is gained by the best one if a smaller step suffices: the one that needs the least.
        measured = [row for row in without if lifted.needed(row) is not None]
        without = sorted(measured, key=lambda row: lifted.excess(lifted.needed(row) or 0.0))
    best = without[0] if without else None
    return Cost(
        constraint=lifted,
        without=best,
        gain=None if best is None or pick is None else _gain(figure, pick, best),
        needed=None if best is None else lifted.needed(best),
    )


def _gain(figure: Figure, pick: Row, best: Row) -> float:
    own, other = figure.read(pick), figure.read(best)
    assert own is not None
    assert other is not None
    return own - other if figure.better == "lower" else other - own


def _nearest(ranked: Sequence[Row], constraints: Sequence[Constraint]) -> NearestMiss | None:
    """Of what is measured in full: the fewest limits missed, then the smallest worst excess."""
    misses = [
        NearestMiss(row, _misses(row, constraints))
        for row in ranked
        if all(constraint.figure.read(row) is not None for constraint in constraints)
    ]
    return min(misses, key=lambda one: (len(one.misses), max(map(_share, one.misses))), default=None)


def _share(miss: Miss) -> float:
    """The excess relative to the limit; of limits below 1, relative to 1, since they may be 0."""
    return miss.excess / max(miss.constraint.limit, 1.0)


def _misses(row: Row, constraints: Sequence[Constraint]) -> tuple[Miss, ...]:
    values = [(constraint, constraint.figure.read(row)) for constraint in constraints]
    return tuple(
        Miss(constraint, value, constraint.excess(value))
        for constraint, value in values
        if value is not None and not constraint.holds(row)
    )


def _unknown(rows: Sequence[Row], constraints: Sequence[Constraint], figure: Figure) -> tuple[Unknown, ...]:
    needed = dict.fromkeys([figure.name, *(constraint.figure.name for constraint in constraints)])
    readers = {one.name: one.read for one in (figure, *(constraint.figure for constraint in constraints))}
    unknown = []
    for row in rows:
        missing = [name for name in needed if readers[name](row) is None]
        if row.result.error is not None:
            unknown.append(Unknown(row, f"failed: {one_line(row.result.error)}"))
        elif missing:
            unknown.append(Unknown(row, f"not measured: {', '.join(missing)}"))
    return tuple(unknown)


def _overlap(ranked: Sequence[Row], objective: Objective, limits: Limits) -> bool | None:
    """Whether the intervals of the first two overlap."""
    intervals = [_interval(row.result, objective, limits) for row in ranked[:2]]
    if len(intervals) < 2 or intervals[0] is None or intervals[1] is None:
        return None
    first, second = intervals[0], intervals[1]
    return first[0] <= second[1] and second[0] <= first[1]


def _interval(result: Result, objective: Objective, limits: Limits) -> Interval | None:
    if objective == "latency":
        return latency_interval(result, limits.percentile)
    if objective == "throughput":
        return result.throughput_ci95
    if objective == "accuracy":
        return None if result.accuracy is None else result.accuracy.top1_ci95
    return None
