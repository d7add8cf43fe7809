"""What people see of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgecnn.commands.console import Column, Terminal
from edgecnn.environment import Environment
from edgecnn.reports.counted import counted
from edgecnn.reports.label import label, model_names, precision_name
from edgecnn.reports.result import Interval, LatencyMs, Result, Scenario, Variant

__all__ = ["print_bench"]

_SCENARIOS = {"single": "Single stream", "multi": "Multi stream", "offline": "Offline", "server": "Server"}

_Part = Callable[[Variant], object]

#: Title -> the value; those that all variants share go into the heading.
_SETTINGS: dict[str, _Part] = {
    "precision": precision_name,
    "engine": lambda variant: variant.engine,
    "options": lambda variant: variant.options or None,
    "batch": lambda variant: variant.batch,
    "threads": lambda variant: variant.threads,
}

_SPEED = (Column("p50 ms"), Column("± %"), Column("p90 ms"), Column("p99 ms"), Column("images/s"))
_RATIO = Column("speedup (95 % CI)")
_STAGES = (Column("decode+prepare"), Column("copy"), Column("run"), Column("labels"))
_MEMORY = (Column("file MB"), Column("peak MB"))
_DEVICE = Column("GPU MB")
_ENERGY = Column("J/image")


def print_bench(terminal: Terminal, results: Sequence[Result], environment: Environment) -> None:
    """Print what was measured; variants that failed are left out."""
    measured = [result for result in results if result.scenario is not None]
    if not measured:
        return
    parts = _telling_parts([result.variant for result in measured])
    terminal.line(f"{environment.cpu}, {counted(environment.cores, 'core')}. {_shared(measured, parts)}.")
    _print_speed(terminal, measured, parts)
    _print_costs(terminal, measured, parts)
    for line in _notes(measured):
        terminal.line(line)


def _telling_parts(variants: Sequence[Variant]) -> dict[str, _Part]:
    """What tells the variants apart; the model always, that a table of one variant has a name."""
    models = dict(zip(variants, model_names(variants), strict=True))
    telling = {title: part for title, part in _SETTINGS.items() if len({part(each) for each in variants}) > 1}
    return {"model": models.__getitem__, **telling}


def _shared(measured: Sequence[Result], parts: Mapping[str, _Part]) -> str:
    """How the load was made, and what all variants have in common."""
    variant, scenario = measured[0].variant, measured[0].scenario
    assert scenario is not None
    words = [_load(scenario)]
    if "engine" not in parts:
        words.append(variant.engine)
    if "options" not in parts and variant.options:
        words.append(variant.options)
    if "precision" not in parts:
        words.append(precision_name(variant))
    if "batch" not in parts:
        words.append(f"batch {variant.batch}")
    if "threads" not in parts and variant.threads is not None:
        words.append(counted(variant.threads, "thread"))
    return ", ".join(words)


def _load(scenario: Scenario) -> str:
    words = [_SCENARIOS[scenario.name]]
    if scenario.driver != "built-in":
        words.append("by LoadGen")
    if scenario.target_qps is not None:
        words.append(f"at {scenario.target_qps:g} queries/s")
    if scenario.instances > 1:
        words.append(f"on {scenario.instances} instances")
    return " ".join(words)


def _names(result: Result, parts: Mapping[str, _Part]) -> list[object]:
    return [part(result.variant) for part in parts.values()]


def _name_columns(parts: Mapping[str, _Part]) -> list[Column]:
    return [Column(title, number=title in {"batch", "threads"}) for title in parts]


def _print_speed(terminal: Terminal, measured: Sequence[Result], parts: Mapping[str, _Part]) -> None:
    baselines = _baselines(measured)
    rows = []
    for result in measured:
        latency = result.latency_ms
        rate = result.throughput_per_s
        row = [*_names(result, parts), *_latency(latency), None if rate is None else f"{rate:.4g}"]
        rows.append([*row, _ratio(result, baselines)] if baselines else row)
    terminal.table([*_name_columns(parts), *_SPEED, *((_RATIO,) if baselines else ())], rows)


def _print_costs(terminal: Terminal, measured: Sequence[Result], parts: Mapping[str, _Part]) -> None:
    """Stages, memory and energy; columns without a figure are left out, so that none shows a zero."""
    columns = (*_STAGES, *_MEMORY, _DEVICE, _ENERGY)
    cells = [_costs(result) for result in measured]
    shown = [at for at in range(len(columns)) if any(row[at] is not None for row in cells)]
    if not shown:
        return
    terminal.line(f"One image: milliseconds of each stage{_memory_words(measured)}.")
    rows = [
        [*_names(result, parts), *(row[at] for at in shown)]
        for result, row in zip(measured, cells, strict=True)
    ]
    terminal.table([*_name_columns(parts), *(columns[at] for at in shown)], rows)


def _memory_words(measured: Sequence[Result]) -> str:
    """What the memory is of; "" where none was measured."""
    memories = [result.memory_bytes for result in measured if result.memory_bytes is not None]
    if all(memory.peak is None for memory in memories):
        return ""
    scenario = measured[0].scenario
    one = "" if scenario is None or scenario.instances == 1 else f", of one of {scenario.instances} instances"
    return f"; memory above that of an empty process{one}"


def _costs(result: Result) -> list[str | None]:
    stages, memory, joules = result.stages_ms, result.memory_bytes, result.energy_j_per_image
    times = (() if stages is None else (stages.preprocess, stages.copy, stages.run, stages.postprocess)) or (
        None,
    ) * 4
    sizes = (None,) * 3 if memory is None else (memory.file, memory.peak, memory.device)
    return [
        *(_milliseconds(time) for time in times),
        *(None if size is None else f"{size / 1e6:.1f}" for size in sizes),
        None if joules is None else f"{joules:.3g}",
    ]


def _latency(latency: LatencyMs | None) -> tuple[str | None, ...]:
    if latency is None:
        return (None,) * 4
    interval = None if latency.ci95 is None else latency.ci95.p50
    return (
        _milliseconds(latency.p50),
        _half_width(latency.p50, interval),
        _milliseconds(latency.p90),
        _milliseconds(latency.p99),
    )


def _half_width(value: float, interval: Interval | None) -> str | None:
    """The wider side of the interval, in percent of the value."""
    if interval is None:
        return None
    return f"{100 * max(value - interval[0], interval[1] - value) / value:.1f}"


def _milliseconds(value: float | None) -> str | None:
    """Three significant digits, and no more than a microsecond."""
    if value is None:
        return None
    places = 3 if value < 1 else 2 if value < 100 else 0
    return f"{value:.{places}f}"


def _baselines(measured: Sequence[Result]) -> set[str]:
    """The labels of what others are compared with."""
    return {result.ratio.baseline for result in measured if result.ratio is not None}


def _ratio(result: Result, baselines: set[str]) -> str | None:
    """Against the baseline; 1 of the baseline itself, and None of what could not be compared."""
    ratio = result.ratio
    if ratio is None:
        return "1" if label(result.variant) in baselines else None
    low, high = ratio.ci95
    same = "" if ratio.distinct else " ~"
    return f"{ratio.speedup:.2f} ({low:.2f}-{high:.2f}){same}"


def _notes(measured: Sequence[Result]) -> list[str]:
    """What the tables do not say of themselves."""
    notes = []
    notes += [f"Speedup is over {name}, measured in turns with it." for name in _baselines(measured)]
    if any(result.ratio is not None and not result.ratio.distinct for result in measured):
        notes.append("~: the interval holds 1.")
    if any(result.stages_ms is not None and result.stages_ms.copy is not None for result in measured):
        notes.append("p50 to images/s hold the copies to and from the GPU; the stage 'run' does not.")
    notes += dict.fromkeys(f"While it ran, {result.gpu}." for result in measured if result.gpu is not None)
    energy = {result.energy_note for result in measured if result.energy_note is not None}
    if energy and all(result.energy_j_per_image is None for result in measured):
        notes.append(f"Energy was not measured: {'; '.join(sorted(energy))}.")
    elif energy:
        notes.append(f"Energy: {'; '.join(sorted(energy))}.")
    if not all(result.scenario is not None and result.scenario.valid for result in measured):
        notes.append(
            "Not a run that complies with MLPerf's rules (600 s, one image a query, enough queries)."
        )
    notes += [
        f"LoadGen's logs: {result.scenario.logs}"
        for result in measured
        if result.scenario is not None and result.scenario.logs is not None
    ]
    return notes
