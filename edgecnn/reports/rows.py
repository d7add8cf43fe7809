"""What the reports show of each result: its name, its drop, and whether it is on the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgecnn.reports.accuracy_change import AccuracyChange
from edgecnn.reports.drop import top1_drop
from edgecnn.reports.label import label, model_names
from edgecnn.reports.max_drop import least_drop
from edgecnn.reports.pareto import pareto_front
from edgecnn.reports.percentiles import latency
from edgecnn.reports.result import Result

__all__ = ["Row", "front_of", "is_plain", "rows_of", "title_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One result in the light of the others.

    Attributes:
        title: names the variant, and its scenario where that is not the plain one; no other file has it.
        name: the same without the batch and the threads, where all results share them.
        model: the part of the title that names the model.
        result: as measured.
        change: of top-1 from the fp32 form of the network; None where nobody can tell.
        on_front: whether no other result is as fast and as accurate.
    """

    title: str
    name: str
    model: str
    result: Result
    change: AccuracyChange | None
    on_front: bool

    @property
    def drop(self) -> float | None:
        """Percentage points of top-1 below the fp32 form of the network."""
        return None if self.change is None else self.change.drop

    @property
    def least_drop(self) -> float | None:
        """What a limit on the drop is held against.

        Chance is allowed for where images were compared one by one. The interval of a drop between two runs
        is too wide for that: much of it is the choice of the images, which both share.
        """
        if self.change is None or not self.change.paired:
            return self.drop
        return least_drop(self.change.drop, self.change.ci95)


def rows_of(results: Sequence[Result]) -> tuple[Row, ...]:
    """One row for each result, in their order."""
    front = set(front_of(results))
    models = model_names([result.variant for result in results])
    plain = _plain(results)
    return tuple(
        Row(
            title=title_of(result, models[index]),
            name=title_of(plain[index], models[index]),
            model=models[index],
            result=result,
            change=top1_drop(result, results),
            on_front=index in front,
        )
        for index, result in enumerate(results)
    )


def front_of(results: Sequence[Result]) -> tuple[int, ...]:
    """Indices of the Pareto front of latency (90th percentile) and top-1, among results of one scenario.

    Latencies of different scenarios answer different questions. The plain ones count;
    where there is none, all.
    """
    plain = [index for index, result in enumerate(results) if is_plain(result)]
    chosen = plain if any(results[index].latency_ms for index in plain) else list(range(len(results)))
    points = [_point(results[index]) for index in chosen]
    return tuple(chosen[index] for index in pareto_front(points, ("lower", "higher")))


def is_plain(result: Result) -> bool:
    """Whether one query runs at a time, which is what a latency is understood as."""
    return result.scenario is None or result.scenario.name == "single"


def title_of(result: Result, model: str | None = None) -> str:
    """The variant's label, with the scenario where one query at a time is not what was measured."""
    name = label(result.variant, model)
    if is_plain(result) or result.scenario is None:
        return name
    load = "" if result.scenario.target_qps is None else f" at {result.scenario.target_qps:g}/s"
    return f"{name}, {result.scenario.name}{load}"


def _plain(results: Sequence[Result]) -> list[Result]:
    """Without the batch and the threads, where they are the same in all that could be measured."""
    measured = [result.variant for result in results if result.error is None]
    one_batch = len({variant.batch for variant in measured}) == 1
    same_threads = len({variant.threads for variant in measured}) == 1
    return [
        replace(
            result,
            variant=replace(
                result.variant,
                batch=None if one_batch else result.variant.batch,
                threads=None if same_threads else result.variant.threads,
            ),
        )
        for result in results
    ]


def _point(result: Result) -> tuple[float | None, float | None]:
    return latency(result), None if result.accuracy is None else result.accuracy.top1
