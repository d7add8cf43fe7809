"""Whether a run of the server scenario kept up with its queries, and within its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgecnn.bench.plan import BenchPlan
from edgecnn.reports.result import Gate
from edgecnn.timing.percentiles import enough_samples
from edgecnn.timing.queueing import QueueLoad

__all__ = ["ServerRun", "kept_up", "server_gates", "server_warnings"]

#: Relaxation times of the queue, which begins empty, that a run must last. By simulation (M/D/1, loads of 0.7
#: to 0.95) it then tells 80 % of the true 99th percentile in the median, and less than 60 % in one of twenty.
_SETTLINGS = 20

#: A 99th percentile takes a hundred queries; where so many are expected, fewer than that hardly ever arrive.
_QUERIES = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRun:
    """How a variant fared in the server scenario.

    Attributes:
        queries: that arrived.
        unanswered: of them, given up.
        p99_ms: 99th percentile of their latency; the highest where there are too few to tell.
        queue: what they were to the instances.
    """

    queries: int
    unanswered: int
    p99_ms: float | None
    queue: QueueLoad


def kept_up(run: ServerRun) -> bool:
    """Whether every query was answered, and could have been for ever."""
    return run.queue.load < 1 and not run.unanswered


def server_warnings(plan: BenchPlan, run: ServerRun) -> list[str]:
    """What makes its latencies doubtful."""
    if not run.queries:
        return ["No query arrived: measure for longer (--duration), or at a higher --qps."]
    if not kept_up(run):
        return [f"It cannot keep up with {plan.target_qps:g} queries/s: {_overload(run)}"]
    if plan.duration_s < _settled_s(run):
        return [
            f"At {100 * run.queue.load:.0f} % of what it can answer, a queue takes long to reach its length, "
            "and these latencies may be too low: measure for at least "
            f"{_whole(_settled_s(run))} s (--duration), or at a lower --qps."
        ]
    return []


def server_gates(plan: BenchPlan, run: ServerRun) -> tuple[Gate, ...]:
    """Whether the stated bound of latency held; empty where none was stated.

    One gate: that the queries can be kept up with, where they cannot, since no bound holds for long then;
    that the run was long enough to tell, where it was not; else the bound itself.
    """
    bound, qps = plan.latency_bound_ms, plan.target_qps
    if bound is None:
        return ()
    assert qps is not None, "a plan of the server scenario has a rate"
    if run.queue.load >= 1:
        return (Gate(name="qps", limit=qps, value=run.queue.capacity_per_s, held=False),)
    late = run.p99_ms if run.queries and enough_samples(run.queries, 0.99) else None
    if late is None or run.unanswered or (late <= bound and plan.duration_s < _settled_s(run)):
        least = _whole(max(_QUERIES / qps, _settled_s(run)))
        return (Gate(name="duration", limit=least, value=plan.duration_s, held=False),)
    return (Gate(name="latency_bound_ms", limit=bound, value=late, held=late <= bound),)


def _overload(run: ServerRun) -> str:
    given_up = f"{run.unanswered} of {run.queries} were given up: the latencies are lower bounds."
    if run.queue.load < 1:
        return given_up  # so short a run that chance, or a stall, sent more than it had time for
    able = f"it answers {run.queue.capacity_per_s:.4g} a second at most"
    if run.unanswered:
        return f"{able}. {given_up}"
    return f"{able}, and the queue grows for as long as they arrive. The latencies depend on the duration."


def _settled_s(run: ServerRun) -> float:
    """Seconds after which the latencies are those of any longer run."""
    return _SETTLINGS * run.queue.settling_s


def _whole(seconds: float) -> int:
    """Rounded up to two significant digits."""
    step: int = 10 ** max(0, math.floor(math.log10(max(seconds, 1.0))) - 1)
    return math.ceil(seconds / step) * step
