"""``edgecnn pick``: the one variant to ship under stated limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click

from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.parameters import FiniteRange
from edgecnn.commands.result_table import print_rows
from edgecnn.errors import GateError, UsageError
from edgecnn.reports.join import join
from edgecnn.reports.limits import Limits, Objective
from edgecnn.reports.percentiles import PERCENTILES, Percentile, percentile_text
from edgecnn.reports.pick import Choice, choose
from edgecnn.reports.pick_json import choice_document
from edgecnn.reports.pick_text import explain, explain_miss
from edgecnn.reports.result_file import read_results

__all__ = ["DEFAULT_RESULTS", "pick"]

#: What ``edgecnn compare`` writes when nothing else is said.
DEFAULT_RESULTS = Path("comparison/results.json")

_POSITIVE = FiniteRange(min=0, min_open=True)
_PERCENTILES = {percentile_text(percentile): percentile for percentile in PERCENTILES}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What the user asked for; the fields are the options."""

    results: tuple[Path, ...]
    max_latency_ms: float | None
    percentile: str
    max_memory_mb: float | None
    max_drop: float | None
    min_top1: float | None
    max_size_mb: float | None
    objective: Objective

    @property
    def limits(self) -> Limits:
        percentile: Percentile = _PERCENTILES[self.percentile]
        return Limits(
            max_latency_ms=self.max_latency_ms,
            max_memory_mb=self.max_memory_mb,
            max_drop=self.max_drop,
            min_top1=self.min_top1,
            max_size_mb=self.max_size_mb,
            percentile=percentile,
        )


@click.command()
@click.argument("results", metavar="[RESULTS]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--max-latency-ms", type=_POSITIVE, metavar="MS", help="Of one query, at --percentile.")
@click.option(
    "--percentile",
    type=click.Choice(list(_PERCENTILES)),
    default="p90",
    show_default=True,
    help="Which latency the limit and the objective go by.",
)
@click.option(
    "--max-memory-mb",
    type=_POSITIVE,
    metavar="MB",
    help="Peak resident memory in the steady state, above an empty process.",
)
@click.option(
    "--max-drop",
    type=FiniteRange(min=0),
    metavar="POINTS",
    help="Percentage points of top-1 below the fp32 form of the same network, beyond chance.",
)
@click.option("--min-top1", type=FiniteRange(0, 100), metavar="PERCENT", help="Top-1 accuracy.")
@click.option("--max-size-mb", type=_POSITIVE, metavar="MB", help="Of the model file.")
@click.option(
    "--objective",
    type=click.Choice(get_args(Objective)),
    default="latency",
    show_default=True,
    help="What to make best among those within the limits.",
)
@terminal_options
def pick(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """The best variant that holds every limit, the runner-up, and what each limit costs.

    RESULTS are files of compare, bench or validate; what several of them measured of a variant is joined. If
    none is named, it is comparison/results.json. A variant of which a needed figure was not measured is
    not considered. Exits with 3 when nothing fits, and names what comes nearest.
    """
    request = _Request(**options)
    paths = request.results or (_default(),)
    document = join([read_results(path) for path in paths])
    choice = choose(document.results, request.limits, request.objective)
    if terminal.json:
        terminal.document(choice_document(choice))
    else:
        _print(terminal, choice)
    if choice.pick is None:
        raise GateError(explain_miss(choice), _remedy(choice))


def _default() -> Path:
    """The file that ``compare`` leaves.

    Raises:
        UsageError: it is not there.
    """
    if not DEFAULT_RESULTS.exists():
        raise UsageError(
            f"No results are named, and there is no {DEFAULT_RESULTS}.",
            "Name result files, or make one: edgecnn compare NET... --data DATA",
        )
    return DEFAULT_RESULTS


def _print(terminal: Terminal, choice: Choice) -> None:
    for line in explain(choice):
        terminal.line(line)
    shown = [choice.pick, choice.runner_up, choice.nearest.row if choice.nearest else None]
    shown += [cost.without for cost in choice.costs]
    rows = {id(row): row for row in shown if row is not None}
    if rows:
        print_rows(terminal, list(rows.values()))


def _remedy(choice: Choice) -> str:
    if choice.nearest is None or not choice.constraints:
        return "Measure what is missing: edgecnn bench, or edgecnn validate for an accuracy."
    options = [f"--{cost.constraint.name.replace('_', '-')}" for cost in choice.costs if cost.without]
    if not options:
        return "Relax several limits, or add smaller networks and lower precisions to the comparison."
    return f"Relax {_either(options)} alone, or add other networks and precisions to the comparison."


def _either(options: Sequence[str]) -> str:
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"
