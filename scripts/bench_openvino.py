#!/usr/bin/env python3
"""The engine `openvino` against OpenVINO's own benchmark_app: same file, same options, in turns.

    python scripts/bench_openvino.py MODEL.onnx [MODEL.int8.onnx ...]

For each model and hint, both run for some seconds in each round, whichever was first last time being second
now. benchmark_app keeps one input in place (its "inference only" mode); the engine is given a batch and gives
scores back with each call, as its users have it. For throughput, both have one request more under way than
there are streams, so that one waits ready when a stream gets free. The ratio is the engine's throughput over
benchmark_app's, round by round; 10th and 90th percentile in brackets. Exit code 1 if a median is below what
is required. Run it on an idle machine: on a busy one, the two get different shares of it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.engines import Engine
from edgecnn.engines.choice import EngineChoice, open_choice, parse_choice
from edgecnn.environment import describe_environment

REQUIRED = 0.97

#: benchmark_app reports to Intel that it was used, unless its reporter is missing.
_APP = (
    "from edgecnn.engines.telemetry import without_telemetry\n"
    "with without_telemetry():\n"
    "    from openvino.tools.benchmark.main import main\n"
    "    main()\n"
)

_TYPES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}

#: Runs before the time counts.
_WARM_UP = 5


@dataclass(frozen=True)
class Case:
    """What both run."""

    artifact: Artifact
    hint: str
    precision: str
    batch: int
    threads: int | None

    @property
    def choice(self) -> EngineChoice:
        text = f"openvino:batch={self.batch},hint={self.hint},precision={self.precision}"
        return parse_choice(text).with_threads(self.threads)

    @property
    def shape(self) -> list[int]:
        return [self.batch, *(size for size in self.artifact.spec.input.shape[1:] if isinstance(size, int))]

    def callers(self, streams: int) -> int:
        """How many requests are under way at the same time."""
        return 1 if self.hint == "latency" else streams + 1

    def app_options(self, seconds: int, streams: int) -> list[str]:
        """Options of benchmark_app; it takes a number of threads and streams only with the hint "none"."""
        options = {
            "-m": str(self.artifact.path),
            "-d": "CPU",
            "-t": str(seconds),
            "-shape": str(self.shape).replace(" ", ""),
            "-ip": {"float32": "f32", "uint8": "u8"}[self.artifact.spec.input.dtype],
            "-infer_precision": _TYPES[self.precision],
            "-api": "sync" if self.hint == "latency" else "async",
            "-hint": self.hint if self.threads is None else "none",
            "-nireq": str(self.callers(streams)),
        }
        if self.threads is not None:
            options |= {"-nthreads": str(self.threads), "-nstreams": str(streams)}
        return [word for pair in options.items() for word in pair]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--hint", action="append", choices=["latency", "throughput"])
    parser.add_argument("--precision", default="fp32", choices=list(_TYPES), help="of what is in float")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, help="as many as there are cores if not given")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2, help="of each of the two, in each round")
    arguments = parser.parse_args()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, OpenVINO {environment.versions['openvino']}\n")
    print("| model | hint | precision | batch | threads x streams | benchmark_app/s | engine/s | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    held = [
        _row(
            Case(open_artifact(model), hint, arguments.precision, arguments.batch, arguments.threads),
            arguments.rounds,
            arguments.seconds,
        )
        for model in arguments.models
        for hint in arguments.hint or ["latency", "throughput"]
    ]
    return 0 if all(held) else 1


def _row(case: Case, rounds: int, seconds: int) -> bool:
    """Measure and print one case; whether it holds."""
    with open_choice(case.choice, case.artifact) as engine:
        pairs = np.array([_round(case, engine, seconds, number) for number in range(rounds)])
        info = engine.info
    app, ours = np.median(pairs, axis=0)
    low, ratio, high = np.percentile(pairs[:, 1] / pairs[:, 0], [10, 50, 90])
    cells = (
        case.artifact.path.stem,
        case.hint,
        info.precision,
        str(case.batch),
        f"{info.threads} x {info.streams}",
        f"{app:.1f}",
        f"{ours:.1f}",
        f"{ratio:.3f} ({low:.3f} to {high:.3f}){'' if ratio >= REQUIRED else f' BELOW {REQUIRED}'}",
    )
    print(f"| {' | '.join(cells)} |", flush=True)
    return bool(ratio >= REQUIRED)


def _round(case: Case, engine: Engine, seconds: int, number: int) -> tuple[float, float]:
    """Images per second of benchmark_app and of the engine."""
    streams = engine.info.streams
    if number % 2:
        ours = _engine_throughput(case, engine, seconds)
        return _app_throughput(case, streams, seconds), ours
    return _app_throughput(case, streams, seconds), _engine_throughput(case, engine, seconds)


def _app_throughput(case: Case, streams: int, seconds: int) -> float:
    command = [sys.executable, "-c", _APP, *case.app_options(seconds, streams)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Throughput:\s+([\d.]+) FPS", done.stdout)
    if found is None:
        raise SystemExit(f"benchmark_app failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return float(found[1])


def _engine_throughput(case: Case, engine: Engine, seconds: int) -> float:
    """Every caller runs until the time is over; the last runs count, with their time."""
    batch = np.random.default_rng(0).normal(size=case.shape).astype(case.artifact.spec.input.dtype)
    for _ in range(_WARM_UP):
        engine.run(batch)
    begin = perf_counter()

    def call(_: int) -> int:
        runs = 0
        while perf_counter() - begin < seconds:
            engine.run(batch)
            runs += 1
        return runs

    callers = case.callers(engine.info.streams)
    if callers == 1:
        runs = call(0)
    else:
        with ThreadPoolExecutor(callers) as pool:
            runs = sum(pool.map(call, range(callers)))
    return runs * case.batch / (perf_counter() - begin)


if __name__ == "__main__":
    sys.exit(main())
