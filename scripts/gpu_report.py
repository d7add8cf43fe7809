#!/usr/bin/env python3
"""What the engines of a GPU answer and how fast they are, as a Markdown page; scripts/test-gpu runs it.

Usage: .venv/bin/python scripts/gpu_report.py [--engines trt,ort-cuda] [--data FOLDER] [-o REPORT.md]

Exits with 1 where no engine opens, or where one does not answer as PyTorch does.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.engines import EngineInfo, EngineOptions, engine_type, open_engine
from edgecnn.engines.choice import open_choice, parse_choice
from edgecnn.engines.gpu_software import find_gpu_software
from edgecnn.environment import Environment
from edgecnn.errors import EdgecnnError, EngineUnavailableError
from edgecnn.export.images import builtin_images, parity_batch
from edgecnn.export.parity import MAX_RELATIVE_DIFFERENCE, compare_scores
from edgecnn.reports.result import Result, ResultFile
from edgecnn.reports.result_file import read_results
from edgecnn.spec import Parity

GPU_ENGINES = ("ort-cuda", "trt", "trt-rtx")

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


def opening(engines: Sequence[str]) -> tuple[tuple[EngineInfo, ...], dict[str, str]]:
    """Those that open here, and why the others do not."""
    infos, unavailable = [], {}
    for name in engines:
        try:
            infos.append(engine_type(parse_choice(name).name).check())
        except EngineUnavailableError as error:
            unavailable[name] = error.problem
    return tuple(infos), unavailable


def measure(settings: Settings, infos: tuple[EngineInfo, ...], unavailable: dict[str, str]) -> Found:
    with tempfile.TemporaryDirectory() as temporary:
        models = _exported(settings, Path(temporary))
        speed = _bench(settings, models.values(), settings.batches)
        return Found(
            settings=settings,
            infos=infos,
            unavailable=unavailable,
            environment=speed.environment,
            parity=dict(_parities(settings, models)),
            speed=speed.results,
            accuracy=_validate(settings, models),
            builds=tuple(_builds(settings, models)),
        )


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


def _edgecnn(*arguments: object, cache: Path | None = None) -> None:
    """Run a command that writes a file after -o; where one variant fails, the file says so."""
    output = Path(str(arguments[arguments.index("-o") + 1]))
    output.unlink(missing_ok=True)
    environment = os.environ | ({"EDGECNN_CACHE": str(cache)} if cache else {})
    command = [sys.executable, "-m", "edgecnn", *map(str, arguments), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if not output.exists():
        raise SystemExit(f"{' '.join(command[2:])}: {done.stderr.strip()}")


def _exported(settings: Settings, folder: Path) -> dict[str, Artifact]:
    single, half = folder / "fp32.onnx", folder / "fp16.onnx"
    _edgecnn("export", settings.network, "--weights", settings.weights, "-o", single)
    _edgecnn("quantize", single, "--recipe", "fp16", "-o", half)
    return {"fp32": open_artifact(single), "fp16": open_artifact(half)}


def _bench(
    settings: Settings, models: Iterable[Artifact], batches: Sequence[int], cache: Path | None = None
) -> ResultFile:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "bench.json"
        options = ("--engine", ",".join(settings.engines), "--batch", ",".join(map(str, batches)))
        times = ("--duration", settings.duration_s, "--no-memory", "-o", output)
        _edgecnn("bench", *(model.path for model in models), *options, *times, cache=cache)
        return read_results(output)


def _validate(
    settings: Settings, models: dict[str, Artifact], cache: Path | None = None
) -> tuple[Result, ...]:
    """The accuracy of every model in every engine, and of PyTorch, the reference."""
    if settings.data is None:
        return ()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "validate.json"
        engines = [word for name in settings.engines for word in ("--engine", name)]
        limit = () if settings.limit is None else ("--limit", settings.limit)
        paths = [model.path for model in models.values()]
        reference = ("--reference", models["fp32"].path, "--reference-engine", "torch")
        _edgecnn(
            "validate",
            *paths,
            "--data",
            settings.data,
            *engines,
            *reference,
            *limit,
            "-o",
            output,
            cache=cache,
        )
        return read_results(output).results


def _parities(
    settings: Settings, models: dict[str, Artifact]
) -> Iterator[tuple[tuple[str, str], Parity | str]]:
    batch = parity_batch(builtin_images(), models["fp32"].spec, PARITY_IMAGES)
    with open_engine("torch", models["fp32"], EngineOptions()) as engine:
        wanted = engine.run(batch)
    for name in settings.engines:
        for precision, model in models.items():
            try:
                with open_choice(parse_choice(name), model) as engine:
                    yield (name, precision), compare_scores(wanted, engine.run(batch), images=len(batch))
            except EdgecnnError as error:
                yield (name, precision), error.problem


def _builds(settings: Settings, models: dict[str, Artifact]) -> Iterator[Build]:
    """Everything anew, several times, each with a cache of its own."""
    for number in range(settings.builds):
        with tempfile.TemporaryDirectory() as cache:
            speed = _bench(settings, models.values(), settings.batches[:1], Path(cache)).results
            found = _validate(settings, models, Path(cache))
        top1 = {_key(result): result.accuracy.top1 for result in found if result.accuracy}
        for result in speed:
            latency = None if result.latency_ms is None else result.latency_ms.p50
            engine, precision = _key(result)
            yield Build(
                engine=engine,
                precision=precision,
                number=number,
                p50_ms=latency,
                top1=top1.get((engine, precision)),
            )


def _key(result: Result) -> tuple[str, str]:
    """Engine, and the precision of the file that it was given."""
    variant = result.variant
    return variant.engine, variant.artifact_precision or variant.precision


def _called(result: Result) -> str:
    batch = "" if result.variant.batch is None else f", batch {result.variant.batch}"
    return f"{' '.join(_key(result))}{batch}"


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
        (*_key(result), accuracy.n, f"{accuracy.top1:.2f}", _number(accuracy.agreement, 2))
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
        rows.append((*_key(result), batch, *figures, _number(result.throughput_per_s, 0)))
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


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    folder = Path(os.environ["EDGECNN_DATA"]) if os.environ.get("EDGECNN_DATA") else None
    data, weights = ("imagenet/eval", "weights/mobilenet_v2.pth")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engines", default=",".join(GPU_ENGINES))
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--weights", default=str(folder / weights) if folder else "random")
    parser.add_argument("--data", default=str(folder / data) if folder else None)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--batch", default="1,8,32,128")
    parser.add_argument("--duration", type=float, default=3.0)
    parser.add_argument("--builds", type=int, default=3)
    parser.add_argument("--tests", type=Path, help="JUnit file of the gpu tests")
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    given = _arguments(words)
    infos, unavailable = opening(given.engines.split(","))
    if not infos:
        print(f"No engine opens here: {next(iter(unavailable.values()))}", file=sys.stderr)
        return 1
    settings = Settings(
        network=given.network,
        weights=given.weights,
        data=given.data,
        limit=given.limit,
        engines=tuple(name for name in given.engines.split(",") if name not in unavailable),
        batches=tuple(int(size) for size in given.batch.split(",")),
        duration_s=given.duration,
        builds=given.builds,
        tests=given.tests,
    )
    found = measure(settings, infos, unavailable)
    device = re.sub(r"\W+", "-", infos[0].device).strip("-").lower()
    output = given.output or Path("docs/gpu") / f"{datetime.now(UTC):%Y-%m-%d}-{device}.md"
    output.write_text(page(found), encoding="utf-8")
    print(output)
    for line in failures(found):
        print(line, file=sys.stderr)
    return 1 if list(failures(found)) else 0


if __name__ == "__main__":
    sys.exit(main())
