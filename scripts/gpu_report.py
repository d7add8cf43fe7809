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
from datetime import UTC, datetime
from pathlib import Path

from gpu_page import PARITY_IMAGES, Build, Found, Settings, failures, key, page

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.engines import EngineInfo, EngineOptions, engine_type, open_engine
from edgecnn.engines.choice import open_choice, parse_choice
from edgecnn.errors import EdgecnnError, EngineUnavailableError
from edgecnn.export.images import builtin_images, parity_batch
from edgecnn.export.parity import compare_scores
from edgecnn.reports.result import Result, ResultFile
from edgecnn.reports.result_file import read_results
from edgecnn.spec import Parity

GPU_ENGINES = ("ort-cuda", "trt", "trt-rtx")


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
        top1 = {key(result): result.accuracy.top1 for result in found if result.accuracy}
        for result in speed:
            latency = None if result.latency_ms is None else result.latency_ms.p50
            engine, precision = key(result)
            yield Build(
                engine=engine,
                precision=precision,
                number=number,
                p50_ms=latency,
                top1=top1.get((engine, precision)),
            )


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
