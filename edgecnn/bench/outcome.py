"""From what was measured to the result that is reported."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgecnn.bench.load import Series
from edgecnn.bench.plan import BenchPlan
from edgecnn.reports.result import LatencyMs, PercentilesCi95, Ratio, Scenario, StagesMs, Variant
from edgecnn.timing.loadgen_figures import LoadgenFigures
from edgecnn.timing.percentiles import LatencySummary, enough_samples, summarise
from edgecnn.timing.ratio import RoundRatio, compare_rounds
from edgecnn.timing.scenarios import long_enough
from edgecnn.timing.warmup import WarmUp

__all__ = [
    "copy_warning",
    "latency_ms",
    "loadgen_latency_ms",
    "loadgen_scenario",
    "one_by_one_warning",
    "ratio_to",
    "scenario_of",
    "told_latency",
    "warm_up_warning",
]


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


def scenario_of(plan: BenchPlan, series: Series, batch: int, *, kept: bool = True) -> Scenario:
    """How the load was made, and whether for long enough.

    Args:
        plan: what was asked for.
        series: what was measured.
        batch: images of one call.
        kept: of the server scenario: whether the queries were kept up with, and within their bound.
    """
    queries = len(series.latencies_ns) * (batch if plan.scenario == "offline" else 1)
    enough = long_enough(plan.scenario, series.seconds, queries)
    as_ruled = _bounded(plan) and (plan.scenario in {"multi", "offline"} or batch == 1)
    return Scenario(
        name=plan.scenario,
        driver=plan.driver,
        duration_s=series.seconds,
        target_qps=plan.target_qps,
        latency_bound_ms=plan.latency_bound_ms,
        instances=plan.instances,
        valid=enough and as_ruled and kept,
    )


def loadgen_scenario(
    plan: BenchPlan, figures: LoadgenFigures, seconds: float, logs: str, *, kept: bool = True
) -> Scenario:
    """Likewise, by LoadGen's own judgement besides."""
    return Scenario(
        name=plan.scenario,
        driver=plan.driver,
        duration_s=seconds,
        target_qps=plan.target_qps,
        latency_bound_ms=plan.latency_bound_ms,
        instances=plan.instances,
        valid=figures.compliant and _bounded(plan) and kept,
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


def one_by_one_warning(plan: BenchPlan, variants: int) -> list[str]:
    """What to say of several variants that were measured one after the other."""
    if variants < 2:
        return []
    if plan.scenario == "server":
        return ["The server scenario measures one variant after the other: there is no ratio between them."]
    return [
        "LoadGen measures one variant after the other: for a ratio use --driver built-in, which takes turns."
    ]


def _bounded(plan: BenchPlan) -> bool:
    """Whether the 99th percentile of the server scenario has the bound that the rules judge it by."""
    return plan.scenario != "server" or plan.latency_bound_ms is not None


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
