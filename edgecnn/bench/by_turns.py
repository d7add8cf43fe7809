"""The built-in driver of all scenarios but the server's: all variants in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgecnn.bench.load import Load, load_of, slice_seconds
from edgecnn.bench.outcome import latency_ms, scenario_of
from edgecnn.bench.plan import BenchPlan
from edgecnn.bench.stages import with_run
from edgecnn.bench.under_way import UnderWay
from edgecnn.timing.rounds import RoundSettings, interleave

__all__ = ["measure_by_turns"]


def measure_by_turns(plan: BenchPlan, runs: Sequence[UnderWay], observe: Callable[[float], None]) -> None:
    """Measure ``runs`` for ``plan.duration_s`` each, a slice of every one in each round.

    Args:
        plan: scenario and duration.
        runs: open and warm; those that have failed are left out, and one that fails now drops out.
        observe: told what share of it is done, 0 to 1.
    """
    working = [run for run in runs if run.opened is not None]
    if not working:
        return
    lead_in, length = slice_seconds(plan, [run.opened for run in working if run.opened is not None])
    several = len(working) > 1
    loads: list[Load] = []
    for run in working:
        assert run.opened is not None
        loads.append(load_of(plan, run.opened, run.call_ns, (lead_in, length), several=several))
    total = plan.duration_s * len(working) * (1 + lead_in / length)
    slices = [_guarded(run, load) for run, load in zip(working, loads, strict=True)]
    interleave(
        slices,
        RoundSettings(seconds=total, seed=plan.seed),
        observe=observe,
        wanted=lambda: any(run.opened is not None for run in working),
    )
    for run, load in zip(working, loads, strict=True):
        if run.opened is not None:
            _add_up(plan, run, load)


def _guarded(run: UnderWay, load: Load) -> Callable[[], None]:
    """A slice of ``run``, or nothing once it has failed."""
    return lambda: run.attempt(lambda _: load())


def _add_up(plan: BenchPlan, run: UnderWay, load: Load) -> None:
    assert run.opened is not None
    assert run.warmed is not None
    run.series = load.series()
    if plan.scenario in {"single", "multi"} and run.result.stages_ms is not None:
        # One caller: a query is nothing but runs, and these samples are more and better than the warm-up's.
        image_ms = 1e-6 * float(np.median(run.series.latencies_ns)) / run.opened.images_per_query
        run.result = replace(run.result, stages_ms=with_run(run.result.stages_ms, image_ms))
    run.result = replace(
        run.result,
        scenario=scenario_of(plan, run.series, run.opened.batch),
        latency_ms=latency_ms(run.series, run.warmed),
        throughput_per_s=run.series.images_per_s,
        throughput_ci95=run.series.images_ci95,
    )
