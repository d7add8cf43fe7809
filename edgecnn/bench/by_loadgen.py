"""MLCommons LoadGen as the driver: one variant after the other, each with its logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from edgecnn.bench.opened import OpenVariant
from edgecnn.bench.outcome import latency_gates, loadgen_latency_ms, loadgen_scenario
from edgecnn.bench.plan import BenchPlan
from edgecnn.bench.under_way import UnderWay
from edgecnn.timing.loadgen import LoadgenSettings, run_loadgen

__all__ = ["measure_by_loadgen"]

#: What the server scenario's 99th percentile may be when no bound is given: that of ResNet-50 in
#: MLPerf Inference. LoadGen judges by one; without one its judgement means nothing and is not told.
_BOUND_MS = 15.0


def measure_by_loadgen(plan: BenchPlan, runs: Sequence[UnderWay], observe: Callable[[float], None]) -> None:
    """Let LoadGen drive each of ``runs`` for ``plan.duration_s``; those that have failed are left out.

    Args:
        plan: scenario, duration and the folder for logs.
        runs: open and warm.
        observe: told what share of it is done, 0 to 1.
    """
    for at, run in enumerate(runs):
        observe(at / len(runs))
        name = f"{at + 1:02}-{_file_name(run)}"
        run.attempt(lambda opened, run=run, name=name: _drive(plan, run, opened, name))  # type: ignore[misc]
        if len(runs) > 1:
            run.warnings.append(
                "LoadGen measures one variant after the other: for a ratio use --driver built-in, "
                "which takes turns."
            )


def _drive(plan: BenchPlan, run: UnderWay, opened: OpenVariant, name: str) -> None:
    assert plan.logs is not None
    assert run.warmed is not None
    logs = plan.logs / name
    settings = LoadgenSettings(
        scenario=plan.scenario,
        seconds=plan.duration_s,
        logs=logs,
        expected_per_s=1e9 * opened.batch / run.call_ns * len(opened.calls),
        target_qps=plan.target_qps,
        latency_bound_ms=plan.latency_bound_ms or _BOUND_MS,
        batch=opened.batch,
    )
    figures = run_loadgen(settings, opened.calls if plan.scenario == "offline" else opened.queries)
    images = figures.queries * (1 if plan.scenario == "offline" else opened.images_per_query)
    run.result = replace(
        run.result,
        scenario=loadgen_scenario(plan, figures, images / figures.samples_per_s, str(logs)),
        latency_ms=loadgen_latency_ms(figures, run.warmed),
        throughput_per_s=figures.samples_per_s,
        gates=latency_gates(plan, figures.percentiles_ms.get(0.99)),
    )
    if figures.reason and (plan.scenario != "server" or plan.latency_bound_ms is not None):
        run.warnings.append(f"LoadGen: {figures.reason}")


def _file_name(run: UnderWay) -> str:
    """The variant as a folder's name."""
    variant = run.result.variant
    parts = (variant.network, variant.precision, variant.engine, f"b{variant.batch}", f"t{variant.threads}")
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))
