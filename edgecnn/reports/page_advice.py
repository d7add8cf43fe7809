"""The page's answer to "which one to ship"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.reports.limits import MEGABYTE, Limits, Objective
from edgecnn.reports.percentiles import latency
from edgecnn.reports.pick import choose
from edgecnn.reports.result import Result
from edgecnn.reports.rows import Row, is_plain

__all__ = ["DROP", "Card", "Step", "cards_of", "steps_of"]

#: Percentage points of top-1 that quantising may usually cost.
DROP = 1.0


@dataclass(frozen=True, slots=True)
class Card:
    """One answer.

    Attributes:
        reasons: what it is best at.
        name: of the variant.
        figures: (what, value) of it.
    """

    reasons: tuple[str, ...]
    name: str
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the Pareto front: who needs this accuracy cannot have it faster."""

    top1: str
    name: str
    figures: tuple[tuple[str, str], ...]


def cards_of(rows: Sequence[Row]) -> tuple[Card, ...]:
    """The best variants by the usual wishes; one card each, with all it is best at."""
    plain = [row.result for row in rows if is_plain(row.result)] or [row.result for row in rows]
    tops = [result.accuracy.top1 for result in plain if result.accuracy is not None]
    wishes: list[tuple[str, Limits, Objective]] = [
        (f"fastest within {DROP:g} point of its own fp32, chance aside", Limits(max_drop=DROP), "latency"),
        ("most accurate", Limits(), "accuracy"),
        ("smallest file", Limits(), "size"),
    ]
    if tops:
        near = Limits(min_top1=max(tops) - DROP)
        wishes.insert(0, (f"fastest within {DROP:g} point of the most accurate", near, "latency"))
    else:
        wishes = [("fastest (no accuracy was measured)", Limits(), "latency"), *wishes[2:]]
    return _cards(rows, plain, wishes)


def _cards(
    rows: Sequence[Row], results: Sequence[Result], wishes: Sequence[tuple[str, Limits, Objective]]
) -> tuple[Card, ...]:
    known = {row.title: row for row in rows}
    reasons: dict[str, list[str]] = {}
    for reason, limits, objective in wishes:
        choice = choose(results, limits, objective)
        if choice.pick is not None:
            reasons.setdefault(choice.pick.title, []).append(reason)
    return tuple(
        Card(tuple(said), known[title].name, _figures(known[title])) for title, said in reasons.items()
    )


def steps_of(rows: Sequence[Row]) -> tuple[Step, ...]:
    """The Pareto front, fastest first; empty where no accuracy or no latency was measured."""
    front = [row for row in rows if row.on_front and row.result.accuracy is not None]
    return tuple(
        Step(f"{row.result.accuracy.top1:.1f} %", row.name, _figures(row)[1:])
        for row in sorted(front, key=lambda row: latency(row.result) or 0.0)
        if row.result.accuracy is not None
    )


def _figures(row: Row) -> tuple[tuple[str, str], ...]:
    result = row.result
    figures = [("top-1", "not measured" if result.accuracy is None else f"{result.accuracy.top1:.1f} %")]
    time = latency(result)
    figures.append(("latency p90", "not measured" if time is None else f"{time:.3g} ms"))
    peak = None if result.memory_bytes is None else result.memory_bytes.peak
    figures.append(("memory", "not measured" if peak is None else f"{peak / MEGABYTE:.0f} MB"))
    return tuple(figures)
