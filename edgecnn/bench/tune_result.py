"""What a tuning found, as results of the one schema and as a serving configuration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgecnn.artifact import Artifact
from edgecnn.bench.outcome import told_latency
from edgecnn.bench.tune import Measured, TuneSettings, Tuning
from edgecnn.engines import EngineInfo
from edgecnn.engines.choice import EngineChoice
from edgecnn.environment import Environment
from edgecnn.reports.result import Gate, Result, Scenario, Variant
from edgecnn.reports.variant import variant_of
from edgecnn.serving_config import Host, ModelSettings, ServingConfig
from edgecnn.timing.order_statistics import median_interval
from edgecnn.timing.ratio import SAME

__all__ = ["doubt", "serving_config", "tune_results", "verdict"]


def tune_results(
    tuning: Tuning,
    artifact: Artifact,
    choice: EngineChoice,
    infos: dict[int, EngineInfo],
    settings: TuneSettings,
) -> tuple[Result, ...]:
    """A result for each configuration, in the order of ``tuning``: the best first, if one keeps to the limit.

    Args:
        tuning: what was found.
        artifact: what ran.
        choice: in which engine.
        infos: what the engine says of itself, by the number of threads asked for.
        settings: what was looked for.
    """
    # This hashes the file: once is enough.
    one = variant_of(artifact, next(iter(infos.values())), batch=1, choice=choice)
    results = [
        _result(each, replace(one, threads=infos[each.configuration.threads].threads), settings)
        for each in tuning.measured
    ]
    if tuning.best is not None and (reason := doubt(tuning)):
        results[0] = replace(results[0], warnings=(reason,))
    return tuple(results)


def serving_config(
    tuning: Tuning,
    best: Measured,
    artifact: Artifact,
    choice: EngineChoice,
    settings: TuneSettings,
    environment: Environment,
    spec: str | None = None,
) -> ServingConfig:
    """How to serve ``artifact`` with the best configuration of ``tuning``.

    Requests gather only while all instances are busy, so that no delay is added. The largest batch is that of
    the best for throughput. For latency it is the one of the most images per second with the same threads
    within the limit, since whoever waits anyway is answered soonest so.

    Args:
        tuning: what was found.
        best: of it.
        artifact: what ran.
        choice: in which engine.
        settings: what was looked for.
        environment: where.
        spec: of a file that carries none: a network's name, or a JSON file that is found from anywhere.
    """
    curve = tuning.cost_curve()
    configuration = best.configuration
    return ServingConfig(
        model=(
            ModelSettings(
                path=str(artifact.path.resolve()),
                name=artifact.spec.network,
                spec=spec,
                sha256=artifact.sha256(),
                engine=choice.with_threads(None).text if configuration.threads else choice.text,
                instances=configuration.instances,
                threads=configuration.threads or None,
                max_batch=_max_batch(best, curve, settings),
                call_ms={each.configuration.batch: round(each.latency_ms.median, 4) for each in curve},
                images_per_s={each.configuration.batch: round(_typical_rate(each), 2) for each in curve},
            ),
        ),
        host=Host(
            cpu=environment.cpu,
            cores=environment.cores,
            gpu=environment.gpu,
            os=environment.os,
            measured=environment.started,
            versions=environment.versions,
            objective=settings.objective,
            max_latency_ms=settings.max_latency_ms,
        ),
    )


def verdict(tuning: Tuning) -> str:
    """What the best has over the runner-up; "" when they cannot be told apart, or there is only one."""
    ratio = tuning.ratio
    if ratio is None or ratio.verdict == "unclear":
        return ""
    low, high = ratio.ci95
    figures = f"{ratio.ratio:.3f} times as good (95 % interval {low:.3f} to {high:.3f})"
    if ratio.verdict == "distinct":
        return f"The best is {figures} as the runner-up."
    return (
        f"The best and the runner-up, the less simple of them, are equal within {SAME:.0%}: it is {figures}."
    )


def doubt(tuning: Tuning) -> str:
    """What to warn of when the best cannot be told from the runner-up; "" when it can."""
    ratio = tuning.ratio
    if tuning.runner_up is None or (ratio is not None and ratio.verdict != "unclear"):
        return ""
    spread = "" if ratio is None else f" ({ratio.ci95[0]:.2f} to {ratio.ci95[1]:.2f} times as good)"
    return (
        "The machine was too noisy, or the run too short, to tell the best from the runner-up"
        f"{spread}; the simpler one is taken. Measure for longer (--duration), or on a machine that does "
        "nothing else."
    )


def _max_batch(best: Measured, curve: tuple[Measured, ...], settings: TuneSettings) -> int:
    if settings.objective == "throughput":
        return best.configuration.batch
    limit = settings.max_latency_ms
    allowed = [each for each in curve if limit is None or each.p95_ms <= limit]
    return max(allowed, key=_typical_rate, default=best).configuration.batch


def _typical_rate(each: Measured) -> float:
    return float(np.median(each.images_per_s))


def _result(each: Measured, variant: Variant, settings: TuneSettings) -> Result:
    limit = settings.max_latency_ms
    gates = (
        ()
        if limit is None
        else (Gate(name="max_latency_ms", limit=limit, value=each.p95_ms, held=each.p95_ms <= limit),)
    )
    return Result(
        variant=replace(variant, batch=each.configuration.batch),
        scenario=_scenario(each),
        latency_ms=told_latency(each.latency_ms),
        throughput_per_s=_typical_rate(each),
        throughput_ci95=median_interval(each.images_per_s),
        gates=gates,
    )


def _scenario(each: Measured) -> Scenario:
    alone = each.configuration.instances == each.configuration.batch == 1
    return Scenario(
        name="single" if alone else "offline",
        driver="built-in",
        duration_s=sum(float(part.latencies_ns.sum()) for part in each.slices)
        * 1e-9
        / each.configuration.instances,
        instances=each.configuration.instances,
    )
