"""What a report of a GPU machine tells, and the Markdown page that tells it; gpu_report.py measures it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from edgecnn.engines import EngineInfo
from edgecnn.engines.gpu_software import find_gpu_software
from edgecnn.environment import Environment
from edgecnn.export.parity import MAX_RELATIVE_DIFFERENCE
from edgecnn.reports.result import Result
from edgecnn.spec import Parity

#: Percent of images on which fp16 has to choose the class that PyTorch chooses in fp32.
LEAST_AGREEMENT = 99.5

#: Images that parity is checked on, and the batch that they make.
PARITY_IMAGES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured.

    Attributes:
        network: of the table of networks.
        weights: as ``edgecnn export --weights``.
        data: labelled images for accuracy; None leaves it out.
        limit: use so many of them; None for all.
        engines: that open here.
        batches: images per call.
        duration_s: of each benchmark.
        builds: how often everything is built anew for the spread.
        tests: JUnit file of the ``gpu`` tests; None leaves them out.
    """

    network: str
    weights: str
    data: str | None
    limit: int | None
    engines: tuple[str, ...]
    batches: tuple[int, ...]
    duration_s: float
    builds: int
    tests: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One engine and precision in one of several builds; None for what was not measured."""

    engine: str
    precision: str
    number: int
    p50_ms: float | None
    top1: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that the page tells.

    Attributes:
        settings: what was measured.
        infos: of the engines.
        unavailable: engine -> why it does not open here.
        environment: of the benchmark.
        parity: engine and precision -> against PyTorch in fp32 on the same images; or why there is none.
        speed: the benchmark.
        accuracy: on labelled images, PyTorch among them; () without data.
        builds: everything built several times.
    """

    settings: Settings
    infos: tuple[EngineInfo, ...]
    unavailable: dict[str, str]
    environment: Environment
    parity: dict[tuple[str, str], Parity | str]
    speed: tuple[Result, ...]
    accuracy: tuple[Result, ...]
    builds: tuple[Build, ...]


def failures(found: Found) -> Iterator[str]:
    """What is not as it should be."""
    for (engine, precision), parity in found.parity.items():
        if isinstance(parity, str):
            yield f"{engine} in {precision} fails: {parity}"
        elif precision == "fp32" and parity.max_rel > MAX_RELATIVE_DIFFERENCE:
            yield f"{engine} in fp32 differs from PyTorch by {parity.max_rel:.1e} of the largest logit"
        elif parity.top1_agreement < LEAST_AGREEMENT:
            yield f"{engine} in {precision} agrees with PyTorch on {parity.top1_agreement:.2f} %"
    for result in found.accuracy:
        agreement = result.accuracy.agreement if result.accuracy else None
        if result.error or (agreement is not None and agreement < LEAST_AGREEMENT):
            told = result.error or f"it agrees with PyTorch on {agreement:.2f} %"
            yield f"{_called(result)} on labelled images: {told}"
    yield from (f"{_called(result)}: {result.error}" for result in found.speed if result.error)


def page(found: Found) -> str:
    """The report."""
    sections = (_heading(found), _checks(found), _accuracy_table(found), _speed_table(found), _spread(found))
    return "\n\n".join(section for section in sections if section) + "\n"


def key(result: Result) -> tuple[str, str]:
    """Engine, and the precision of the file that it was given."""
    variant = result.variant
    return variant.engine, variant.artifact_precision or variant.precision


def _called(result: Result) -> str:
    batch = "" if result.variant.batch is None else f", batch {result.variant.batch}"
    return f"{' '.join(key(result))}{batch}"


def _heading(found: Found) -> str:
    environment, settings = found.environment, found.settings
    devices = dict.fromkeys(info.device for info in found.infos)
    software = find_gpu_software()
    lines = [
        f"# {settings.network} on {', '.join(devices)}, {datetime.now(UTC):%Y-%m-%d}",
        "",
        "Written by `scripts/gpu_report.py`.",
        "",
        f"- machine: {environment.cpu}, {environment.cores} cores; {environment.os}",
        f"- GPU: {environment.gpu or 'none'}; driver {environment.driver or 'none'}",
        f"- CUDA: driver knows {software.driver}, runtime {software.runtime}; cuDNN {software.cudnn}",
        *(f"- {info.name}: {info.version} on {info.device}" for info in found.infos),
        *(f"- {name}: not measured. {why}" for name, why in found.unavailable.items()),
    ]
    gpus = dict.fromkeys(result.gpu for result in found.speed if result.gpu is not None)
    if gpus:
        hottest = max(gpus, key=lambda gpu: gpu.temperature_c or 0)
        lines.append(f"- under load, at its hottest: {hottest}")
    if settings.tests is not None:
        lines.append(f"- `gpu` tests: {_tests(settings.tests)}")
    return "\n".join(lines)


def _tests(path: Path) -> str:
    """Counts of a JUnit file."""
    suites = list(ElementTree.parse(path).getroot().iter("testsuite"))
    counts = {
        name: sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _checks(found: Found) -> str:
    rows = [
        (engine, precision, parity, "", "")
        if isinstance(parity, str)
        else (engine, precision, f"{parity.max_rel:.1e}", _sqnr(parity), f"{parity.top1_agreement:.2f}")
        for (engine, precision), parity in found.parity.items()
    ]
    wrong = list(failures(found))
    verdict = "\n".join(f"- **{line}**" for line in wrong) if wrong else "All as it should be."
    text = (
        f"Against PyTorch in fp32 on the CPU, on the same {PARITY_IMAGES} images. Wanted: at most "
        f"{MAX_RELATIVE_DIFFERENCE:g} of the largest logit in fp32, and at least {LEAST_AGREEMENT} % of the "
        f"first choices in fp16."
    )
    titles = ("engine", "file", "largest difference", "SQNR dB", "same first choice %")
    return f"## Parity\n\n{text}\n\n{_table(titles, rows)}\n\n{verdict}"


def _sqnr(parity: Parity) -> str:
    return "equal" if parity.sqnr_db is None else f"{parity.sqnr_db:.0f}"


def _accuracy_table(found: Found) -> str:
    if not found.accuracy:
        return "## Accuracy\n\nNot measured: no data (`--data`, `EDGECNN_DATA`)."
    rows = [
        (*key(result), accuracy.n, f"{accuracy.top1:.2f}", _number(accuracy.agreement, 2))
        for result in found.accuracy
        if (accuracy := result.accuracy) is not None
    ]
    return f"## Accuracy\n\n{_table(('engine', 'file', 'n', 'top-1 %', 'as PyTorch %'), rows)}"


def _speed_table(found: Found) -> str:
    text = (
        "Milliseconds of one call from an array of the host to scores of the host, and what of it is copies. "
        "All variants took turns."
    )
    rows = []
    for result in found.speed:
        latency, stages, batch = result.latency_ms, result.stages_ms, result.variant.batch or 1
        copy = None if stages is None or stages.copy is None else stages.copy * batch
        run = None if stages is None or stages.run is None else stages.run * batch
        percentiles = (None, None) if latency is None else (latency.p50, latency.p99)
        figures = [_number(value, 3) for value in (*percentiles, copy, run)]
        rows.append((*key(result), batch, *figures, _number(result.throughput_per_s, 0)))
    titles = ("engine", "file", "batch", "p50", "p99", "copies", "without copies", "images/s")
    return f"## Speed\n\n{text}\n\n{_table(titles, rows)}"


def _spread(found: Found) -> str:
    """Smallest and largest of several builds."""
    if not found.builds:
        return ""
    rows = []
    for engine, precision in dict.fromkeys((build.engine, build.precision) for build in found.builds):
        own = [build for build in found.builds if (build.engine, build.precision) == (engine, precision)]
        times = [build.p50_ms for build in own if build.p50_ms is not None]
        hits = [build.top1 for build in own if build.top1 is not None]
        rows.append((engine, precision, len(times), _range(times, 3), _range(hits, 2)))
    text = f"{found.settings.builds} times built and measured anew, batch {found.settings.batches[0]}."
    return f"## Repeatability\n\n{text}\n\n{_table(('engine', 'file', 'runs', 'p50 ms', 'top-1 %'), rows)}"


def _range(values: list[float], places: int) -> str:
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{low:.{places}f} to {high:.{places}f} (spread {100 * (high - low) / low if low else 0:.1f} %)"


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
