"""One benchmark: every variant of a plan opened, warmed up, and measured in turns with the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from edgecnn.bench.by_arrivals import measure_by_arrivals
from edgecnn.bench.by_turns import measure_by_turns
from edgecnn.bench.extras import energy_per_image, gpu_condition, memory_of, model_size
from edgecnn.bench.opened import OpenVariant, open_variant, unopened
from edgecnn.bench.outcome import copy_warning, ratio_to, warm_up_warning
from edgecnn.bench.plan import BenchPlan
from edgecnn.bench.stages import measure_stages
from edgecnn.bench.under_way import Observe, UnderWay
from edgecnn.engines.suitability import unsuitable
from edgecnn.errors import EdgecnnError
from edgecnn.reports.label import label
from edgecnn.reports.result import MemoryBytes, ModelSize, Result
from edgecnn.timing.warmup import WarmUpLimits, warm_up

__all__ = ["run_bench"]

#: Shares of the whole, roughly, when it has opened, warmed up, measured; memory is the rest.
_OPENED, _WARM, _MEASURED = 0.08, 0.2, 0.8


def run_bench(plan: BenchPlan, observe: Observe = lambda _text, _share: None) -> list[Result]:
    """Measure all variants of ``plan``.

    All engines are open at once, so that they can be measured in turns: the models must fit into memory
    together. They are closed before memory is measured. A variant that does not open, or fails, has its
    reason in ``error``; the others go on. LoadGen and the server scenario measure one variant after the
    other, and there is no ratio.

    Args:
        plan: what to measure.
        observe: told of the progress.

    Returns:
        A result for each of ``plan.variants``, in their order.

    Raises:
        DependencyMissingError: LoadGen is asked for and not installed.
        ResultError: its logs cannot be written.
    """
    if plan.driver == "loadgen":
        import edgecnn.bench.by_loadgen as driver  # what is missing is better told now than after the warm-up

        driver.require_logs(plan)
    with ExitStack() as stack:
        runs = _open(plan, stack, observe)
        _warm_up(plan, runs, observe)
        _measure(plan, runs, observe)
        if plan.energy:
            _measure_energy(runs, observe)
        _look_at_gpus(runs)
    if plan.takes_turns:
        _compare(plan, runs)
    _describe(plan, runs, observe)
    observe("Done", 1.0)
    return [replace(run.result, warnings=tuple(run.warnings)) for run in runs]


def _open(plan: BenchPlan, stack: ExitStack, observe: Observe) -> list[UnderWay]:
    runs = []
    for at, planned in enumerate(plan.variants):
        observe(f"Opening {planned}", _OPENED * at / len(plan.variants))
        try:
            opened = open_variant(plan, planned, stack)
        except EdgecnnError as error:
            runs.append(UnderWay(Result(variant=unopened(planned), error=str(error))))
            continue
        reason = unsuitable(planned.artifact.spec, planned.choice.name)
        runs.append(
            UnderWay(Result(variant=opened.variant), opened, warnings=[] if reason is None else [reason])
        )
    return runs


def _warm_up(plan: BenchPlan, runs: Sequence[UnderWay], observe: Observe) -> None:
    limits = WarmUpLimits(least_s=min(0.3, plan.duration_s), most_s=max(2.0, 2 * plan.duration_s))

    def step(opened: OpenVariant) -> None:
        run.warmed, *_ = [warm_up(call, limits) for call in opened.calls]
        stages = measure_stages(opened, run.warmed.call_ns)
        run.result = replace(run.result, stages_ms=stages)
        warnings = warm_up_warning(run.warmed), copy_warning(opened.variant, stages)
        run.warnings += [warning for warning in warnings if warning is not None]

    for at, run in enumerate(runs):
        observe(f"Warming up {label(run.result.variant)}", _OPENED + (_WARM - _OPENED) * at / len(runs))
        run.attempt(step)


def _measure(plan: BenchPlan, runs: Sequence[UnderWay], observe: Observe) -> None:
    text = f"Measuring {len(runs)} variants" if len(runs) > 1 else "Measuring"

    def share(done: float) -> None:
        observe(text, _WARM + (_MEASURED - _WARM) * done)

    share(0.0)
    if plan.driver == "loadgen":
        from edgecnn.bench.by_loadgen import measure_by_loadgen

        measure_by_loadgen(plan, runs, share)
    elif plan.scenario == "server":
        measure_by_arrivals(plan, runs, share)
    else:
        measure_by_turns(plan, runs, share)


def _measure_energy(runs: Sequence[UnderWay], observe: Observe) -> None:
    def step(opened: OpenVariant) -> None:
        joules, note = energy_per_image(opened, run.call_ns)
        run.result = replace(run.result, energy_j_per_image=joules, energy_note=note)

    for run in runs:
        observe(f"Energy of {label(run.result.variant)}", _MEASURED)
        run.attempt(step)


def _look_at_gpus(runs: Sequence[UnderWay]) -> None:
    def step(opened: OpenVariant) -> None:
        gpu, warning = gpu_condition(opened, run.call_ns)
        run.result = replace(run.result, gpu=gpu)
        if warning is not None:
            run.warnings.append(warning)

    for run in runs:
        run.attempt(step)


def _compare(plan: BenchPlan, runs: Sequence[UnderWay]) -> None:
    """Add the ratio to the baseline to every other variant."""
    baseline = runs[plan.baseline_index]
    name = label(baseline.result.variant)
    for run in runs:
        if run is baseline or run.series is None:
            continue
        if baseline.series is None:
            run.warnings.append(f"The baseline {name} failed: there is no ratio to it.")
            continue
        ratio, warning = ratio_to(baseline.series, name, run.series)
        run.result = replace(run.result, ratio=ratio)
        if warning is not None:
            run.warnings.append(warning)


def _describe(plan: BenchPlan, runs: Sequence[UnderWay], observe: Observe) -> None:
    """Add the sizes of network and file, and the memory, measured when nothing else runs any more."""
    sizes: dict[Path, ModelSize | None] = {}
    for at, (run, planned) in enumerate(zip(runs, plan.variants, strict=True)):
        if run.result.error is not None:
            continue
        path = planned.artifact.path
        if path not in sizes:
            sizes[path] = model_size(planned.artifact)
        file = MemoryBytes(file=planned.artifact.size_bytes())
        run.result = replace(run.result, size=sizes[path], memory_bytes=file)
        if not plan.memory:
            continue
        observe(f"Memory of {label(run.result.variant)}", _MEASURED + (1 - _MEASURED) * at / len(runs))
        try:
            run.result = replace(run.result, memory_bytes=memory_of(planned))
        except EdgecnnError as error:
            run.warnings.append(f"Its memory could not be measured: {error.problem}")
