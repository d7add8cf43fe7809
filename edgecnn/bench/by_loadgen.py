"""MLCommons LoadGen as the driver: one variant after the other, each with its logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from edgecnn.atomic import require_writable, writing
from edgecnn.bench.kept_up import ServerRun, kept_up, server_gates, server_warnings
from edgecnn.bench.opened import OpenVariant
from edgecnn.bench.outcome import loadgen_latency_ms, loadgen_scenario, one_by_one_warning
from edgecnn.bench.plan import BenchPlan
from edgecnn.bench.under_way import UnderWay
from edgecnn.errors import ResultError
from edgecnn.reports.result import Gate
from edgecnn.timing.loadgen import LoadgenSettings, run_loadgen
from edgecnn.timing.loadgen_figures import LoadgenFigures
from edgecnn.timing.queueing import TimedRun, queue_load

__all__ = ["measure_by_loadgen", "require_logs"]

#: What the server scenario's 99th percentile may be when no bound is given: that of ResNet-50 in
#: MLPerf Inference. LoadGen judges by one; without one its judgement means nothing and is not told.
_BOUND_MS = 15.0


def require_logs(plan: BenchPlan) -> None:
    """Find out before the warm-up whether LoadGen's logs can be written; makes their folder.

    Raises:
        ResultError: they cannot.
    """
    assert plan.logs is not None, "a plan of LoadGen's has a folder for logs"
    with writing(plan.logs, ResultError, "Name another folder for LoadGen's logs (--logs)."):
        require_writable(plan.logs / "mlperf_log_summary.txt")


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
        run.warnings += one_by_one_warning(plan, len(runs))


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
    figures, gates, kept = _judged(plan, run, opened, settings)
    images = figures.queries * (1 if plan.scenario == "offline" else opened.images_per_query)
    run.result = replace(
        run.result,
        scenario=loadgen_scenario(plan, figures, images / figures.samples_per_s, str(logs), kept=kept),
        latency_ms=loadgen_latency_ms(figures, run.warmed),
        throughput_per_s=figures.samples_per_s,
        gates=gates,
    )
    if figures.reason and (plan.scenario != "server" or plan.latency_bound_ms is not None):
        run.warnings.append(f"LoadGen: {figures.reason}")


def _judged(
    plan: BenchPlan, run: UnderWay, opened: OpenVariant, settings: LoadgenSettings
) -> tuple[LoadgenFigures, tuple[Gate, ...], bool]:
    """LoadGen's figures; of the server scenario its gates, and whether all was kept.

    LoadGen takes no notice of a queue that grows, as long as its bound holds.
    """
    if plan.target_qps is None:
        calls = opened.calls if plan.scenario == "offline" else opened.queries
        return run_loadgen(settings, calls), (), True
    timed = [TimedRun(query) for query in opened.queries]
    figures = run_loadgen(settings, timed)
    server = ServerRun(
        queries=figures.queries,
        unanswered=0,  # LoadGen waits for every answer
        p99_ms=figures.percentiles_ms.get(0.99),
        queue=queue_load(plan.target_qps, timed),
    )
    run.warnings += server_warnings(plan, server)
    gates = server_gates(plan, server)
    return figures, gates, kept_up(server) and all(gate.held for gate in gates)


def _file_name(run: UnderWay) -> str:
    """The variant as a folder's name."""
    variant = run.result.variant
    parts = (variant.network, variant.precision, variant.engine, f"b{variant.batch}", f"t{variant.threads}")
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))
