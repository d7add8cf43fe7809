"""A choice in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgecnn.reports.limits import Constraint
from edgecnn.reports.one_line import one_line
from edgecnn.reports.pick import Choice, Cost, NearestMiss
from edgecnn.reports.rows import Row

__all__ = ["explain", "explain_miss"]

#: How many variants that cannot be judged are named.
_NAMED = 5


def explain(choice: Choice) -> list[str]:
    """What was chosen and why, one sentence a line."""
    return [*_chosen(choice), *_costs(choice), *_unknown(choice)]


def explain_miss(choice: Choice) -> str:
    """Why nothing was chosen, and how near it was; one paragraph."""
    limits = ", ".join(constraint.option for constraint in choice.constraints)
    if not choice.constraints:
        return f"None of {choice.considered} variants has a measured {choice.objective.name}."
    head = f"None of {choice.considered} variants holds {limits}."
    if choice.nearest is None:
        return f"{head} None has all the figures that this needs."
    return f"{head} {_nearest(choice.nearest)}"


def _chosen(choice: Choice) -> Iterator[str]:
    figure, pick, runner_up = choice.objective, choice.pick, choice.runner_up
    if pick is None:
        return
    value = figure.read(pick)
    assert value is not None
    yield f"Ship {pick.title}: {figure.name} {figure.text(value)}."
    yield f"Its file: {one_line(pick.result.variant.artifact)}"
    yield from _excused(pick, choice.constraints)
    held = ", ".join(constraint.option for constraint in choice.constraints)
    among = f"of {choice.feasible} that hold {held}" if held else f"of {choice.feasible}"
    if choice.feasible == 1 and held:
        yield f"Of {choice.considered} variants it is the only one that holds {held}; there is no runner-up."
        return
    yield f"It has the best {figure.name} {among}; {choice.considered} were considered."
    if runner_up is None:
        yield "There is no runner-up."
        return
    other = figure.read(runner_up)
    assert other is not None
    noise = "; the two cannot be told apart, their 95 % intervals overlap" if choice.within_noise else ""
    yield f"Runner-up: {runner_up.title}: {figure.text(other)}{noise}."


def _excused(pick: Row, constraints: Sequence[Constraint]) -> Iterator[str]:
    """The limits that it holds by chance only."""
    for constraint in constraints:
        value = constraint.figure.read(pick)
        if value is not None and constraint.excess(value) > 0:
            yield (
                f"Its {constraint.figure.name} of {constraint.figure.text(value)} is more than "
                f"{constraint.option}, but within chance on so few images: measure on more (--data)."
            )


def _costs(choice: Choice) -> Iterator[str]:
    for cost in choice.costs:
        if choice.pick is not None:
            yield f"{cost.constraint.option}: {_price(cost, choice)}"
        elif cost.without is not None and cost.needed is not None:
            needed = cost.constraint.figure.text(cost.needed)
            yield (f"{cost.constraint.option}: if it alone were {needed}, {cost.without.title} would fit.")


def _price(cost: Cost, choice: Choice) -> str:
    figure = choice.objective
    if cost.without is None or not cost.gain:
        return "costs nothing; without it the choice is no better."
    best = figure.read(cost.without)
    assert best is not None
    price = f"costs {figure.difference(cost.gain)} of {figure.name}"
    sentence = f"{price}; without it: {cost.without.title}, {figure.text(best)}"
    limited = cost.constraint.figure
    value = limited.read(cost.without)
    if value is None:
        return f"{sentence} ({limited.name} not measured)."
    return f"{sentence} ({limited.name} {limited.text(value)})."


def _nearest(nearest: NearestMiss) -> str:
    misses = " and ".join(
        f"{miss.constraint.figure.name} {miss.constraint.figure.text(miss.value)}, "
        f"{miss.constraint.figure.difference(miss.excess)} beyond {miss.constraint.option}"
        for miss in nearest.misses
    )
    return f"Nearest: {nearest.row.title}: {misses}."


def _unknown(choice: Choice) -> Iterator[str]:
    for unknown in choice.unknown[:_NAMED]:
        yield f"Not considered: {unknown.row.title}: {unknown.reason.rstrip('.')}."
    if len(choice.unknown) > _NAMED:
        yield f"Not considered for like reasons: {len(choice.unknown) - _NAMED} more."
