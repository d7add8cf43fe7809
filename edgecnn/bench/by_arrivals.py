"""The built-in driver of the server scenario: one variant after the other, each in one run.

No turns here: a queue that a slice of the run empties would never grow to its length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgecnn.bench.kept_up import ServerRun, kept_up, server_gates, server_warnings
from edgecnn.bench.load import Series
from edgecnn.bench.opened import OpenVariant
from edgecnn.bench.outcome import latency_ms, one_by_one_warning, scenario_of
from edgecnn.bench.plan import BenchPlan
from edgecnn.bench.under_way import UnderWay
from edgecnn.timing.arrivals import poisson_arrivals
from edgecnn.timing.clock import SYSTEM_CLOCK, Clock
from edgecnn.timing.queueing import TimedRun, queue_load
from edgecnn.timing.scenarios import serve

__all__ = ["answer_arrivals", "measure_by_arrivals"]

#: A run is given up after so many times its duration.
_PATIENCE = 2.0


def measure_by_arrivals(plan: BenchPlan, runs: Sequence[UnderWay], observe: Callable[[float], None]) -> None:
    """Let queries arrive at each of ``runs`` for ``plan.duration_s``; those that have failed are left out.

    Args:
        plan: rate and duration; every variant gets the same arrivals.
        runs: open and warm.
        observe: told what share of it is done, 0 to 1.
    """
    for at, run in enumerate(runs):
        observe(at / len(runs))
        run.attempt(lambda opened, run=run: _measure(plan, run, opened))  # type: ignore[misc]
        run.warnings += one_by_one_warning(plan, len(runs))


def answer_arrivals(
    plan: BenchPlan, queries: Sequence[Callable[[], object]], clock: Clock = SYSTEM_CLOCK
) -> tuple[Series, ServerRun]:
    """Answer what arrives within ``plan.duration_s`` in one uninterrupted run.

    Args:
        plan: rate, duration and seed.
        queries: what answers one, for each instance.
        clock: to time by.
    """
    assert plan.target_qps is not None, "a plan of the server scenario has a rate"
    runs = [TimedRun(query, clock) for query in queries]
    arrivals = poisson_arrivals(plan.target_qps, plan.duration_s, plan.seed)
    served = serve(runs, arrivals, _PATIENCE * plan.duration_s, clock)
    latencies = served.latencies_ns
    answered = len(latencies) - served.unanswered
    series = Series(
        latencies_ns=latencies,
        costs=np.empty(0),
        images_per_s=answered / max(served.seconds, plan.duration_s),
        images_ci95=None,
        seconds=max(served.seconds, plan.duration_s),
    )
    return series, ServerRun(
        queries=len(latencies),
        unanswered=served.unanswered,
        # A query's own latency, as LoadGen judges.
        p99_ms=1e-6 * float(np.quantile(latencies, 0.99, method="inverted_cdf")) if len(latencies) else None,
        queue=queue_load(plan.target_qps, runs),
    )


def _measure(plan: BenchPlan, run: UnderWay, opened: OpenVariant) -> None:
    assert run.warmed is not None
    for call in opened.calls:
        call()  # another variant has run since the warm-up, and left the caches cold
    series, server = answer_arrivals(plan, opened.queries)
    gates = server_gates(plan, server)
    kept = kept_up(server) and all(gate.held for gate in gates)
    run.warnings += server_warnings(plan, server)
    run.result = replace(
        run.result,
        scenario=scenario_of(plan, series, opened.batch, kept=kept),
        latency_ms=latency_ms(series, run.warmed),
        throughput_per_s=series.images_per_s,
        gates=gates,
    )
