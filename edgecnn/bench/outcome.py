"""From what was measured to the result that is reported."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgecnn.bench.load import Series
from edgecnn.bench.plan import BenchPlan
from edgecnn.reports.result import Gate, LatencyMs, PercentilesCi95, Ratio, Scenario, StagesMs, Variant
from edgecnn.timing.loadgen_figures import LoadgenFigures
from edgecnn.timing.percentiles import LatencySummary, enough_samples, summarise
from edgecnn.timing.ratio import RoundRatio, compare_rounds
from edgecnn.timing.scenarios import long_enough
from edgecnn.timing.warmup import WarmUp

__all__ = [
    "copy_warning",
    "late_ms",
    "latency_gates",
    "latency_ms",
    "loadgen_latency_ms",
    "loadgen_scenario",
    "ratio_to",
    "scenario_of",
    "server_warnings",
    "told_latency",
    "warm_up_warning",
]

#: Share of a slice: a queue that takes longer than this to empty after the last arrival was growing. Below
#: what an instance can do it stays short: at nine tenths of it, four queries wait on average (M/D/1).
_LATE_SHARE = 0.1


def latency_ms(series: Series, warmed: WarmUp) -> LatencyMs | None:
    """Percentiles of a variant's queries; None where there was none."""
    if not len(series.latencies_ns):
        return None
    return told_latency(summarise(1e-6 * series.latencies_ns.astype(np.float64)), warmed.calls)


def told_latency(found: LatencySummary, warmup: int | None = None) -> LatencyMs:
    """``found``, in milliseconds, as it is reported.

    Args:
        found: of the queries that count.
        warmup: queries before them; None where they are not known.
    """
    values = {share: each.value for share, each in found.percentiles.items()}
    return LatencyMs(
        p50=found.median,
        p90=values[0.9],
        p95=values[0.95],
        p99=values[0.99],
        p99_9=values[0.999],
        ci95=_intervals(found),
        jitter=found.jitter,
        quantiles=found.quantiles,
        samples=found.count,
        warmup=warmup,
    )


def loadgen_latency_ms(figures: LoadgenFigures, warmed: WarmUp) -> LatencyMs | None:
    """LoadGen's percentiles; None of the offline scenario, which has none."""
    told: Mapping[float, float] = figures.percentiles_ms
    if not told:
        return None

    def backed(share: float) -> float | None:
        """LoadGen names the highest sample where there are too few."""
        return told[share] if enough_samples(figures.queries, share) else None

    return LatencyMs(
        p50=told[0.5],
        p90=backed(0.9),
        p95=backed(0.95),
        p99=backed(0.99),
        p99_9=backed(0.999),
        samples=figures.queries,
        warmup=warmed.calls,
    )


def scenario_of(plan: BenchPlan, series: Series, batch: int) -> Scenario:
    """How the load was made, and whether for long enough."""
    queries = len(series.latencies_ns) * (batch if plan.scenario == "offline" else 1)
    enough = long_enough(plan.scenario, series.seconds, queries)
    bounded = plan.scenario != "server" or plan.latency_bound_ms is not None
    gates = latency_gates(plan, late_ms(series))
    as_ruled = bounded and (plan.scenario in {"multi", "offline"} or batch == 1)
    return Scenario(
        name=plan.scenario,
        driver=plan.driver,
        duration_s=series.seconds,
        target_qps=plan.target_qps,
        latency_bound_ms=plan.latency_bound_ms,
        instances=plan.instances,
        valid=enough and as_ruled and not server_warnings(plan, series) and all(gate.held for gate in gates),
    )


def loadgen_scenario(plan: BenchPlan, figures: LoadgenFigures, seconds: float, logs: str) -> Scenario:
    """Likewise, by LoadGen's own judgement."""
    return Scenario(
        name=plan.scenario,
        driver=plan.driver,
        duration_s=seconds,
        target_qps=plan.target_qps,
        latency_bound_ms=plan.latency_bound_ms,
        instances=plan.instances,
        valid=figures.compliant,
        logs=logs,
    )


def ratio_to(baseline: Series, name: str, series: Series) -> tuple[Ratio | None, str | None]:
    """The ratio to the baseline called ``name``, and what to say where it cannot tell the two apart."""
    rounds = min(len(baseline.costs), len(series.costs))
    costs = baseline.costs[:rounds], series.costs[:rounds]
    known = np.isfinite(costs[0]) & np.isfinite(costs[1])
    found = compare_rounds(costs[0][known], costs[1][known])
    if found is None:
        return None, f"Too few rounds to compare it with {name}: measure for longer (--duration)."
    return _ratio(found, name), _unclear(found, name)


def warm_up_warning(warmed: WarmUp) -> str | None:
    """What to say where latency was not seen to settle."""
    if warmed.settled:
        return None
    return (
        f"Latency had not settled after {warmed.calls} calls in {warmed.seconds:.1f} s of warm-up: "
        "the figures may hold some of it."
    )


def copy_warning(variant: Variant, stages: StagesMs) -> str | None:
    """What to say where the copies to a device could not be told from the run."""
    if variant.engine_info is None or variant.engine_info.device == "cpu" or stages.copy is not None:
        return None
    return f"The stage 'run' holds the copies to and from {variant.engine_info.device}."


def server_warnings(plan: BenchPlan, series: Series) -> list[str]:
    """What the server scenario did not keep; empty for the others."""
    if plan.scenario != "server":
        return []
    count = len(series.latencies_ns)
    if not count:
        return ["No query arrived: measure for longer (--duration), or at a higher --qps."]
    reason = _overload(series)
    return [f"It cannot keep up with {plan.target_qps:g} queries/s: {reason}"] if reason else []


def latency_gates(plan: BenchPlan, late: float | None) -> tuple[Gate, ...]:
    """Whether the bound of latency held; empty where none was stated, or no query arrived.

    Args:
        plan: which bound.
        late: 99th percentile of latency, in milliseconds.
    """
    bound = plan.latency_bound_ms
    if bound is None or late is None:
        return ()
    return (Gate(name="latency_bound_ms", limit=bound, value=late, held=late <= bound),)


def late_ms(series: Series) -> float | None:
    """The 99th percentile of latency in milliseconds, as the server scenario is judged by: a query's own."""
    if not len(series.latencies_ns):
        return None
    return float(np.quantile(series.latencies_ns, 0.99, method="inverted_cdf")) * 1e-6


def _overload(series: Series) -> str:
    """What shows that more queries arrive than are answered; "" where nothing does."""
    if series.unanswered:
        count = len(series.latencies_ns)
        return f"{series.unanswered} of {count} were given up. The latencies are lower bounds."
    if series.late_share > _LATE_SHARE:
        return (
            f"it answered {series.images_per_s:.0f} a second, and the queue grew for as long as they "
            "arrived. The latencies depend on the duration."
        )
    return ""


def _intervals(found: LatencySummary) -> PercentilesCi95:
    ends = {share: each.ci95 for share, each in found.percentiles.items()}
    return PercentilesCi95(p50=ends[0.5], p90=ends[0.9], p95=ends[0.95], p99=ends[0.99], p99_9=ends[0.999])


def _ratio(found: RoundRatio, name: str) -> Ratio:
    return Ratio(baseline=name, speedup=found.ratio, ci95=found.ci95, distinct=found.verdict == "distinct")


def _unclear(found: RoundRatio, name: str) -> str | None:
    if found.verdict != "unclear":
        return None
    low, high = found.ci95
    return (
        f"The machine was too noisy to tell it from {name}: {low:.2f} to {high:.2f} times as fast. "
        "Measure for longer (--duration), or on a machine that does nothing else."
    )
