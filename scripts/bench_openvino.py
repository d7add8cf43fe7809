#!/usr/bin/env python3
"""The engine `openvino` against OpenVINO's own benchmark_app: same file, same options, in turns.

    python scripts/bench_openvino.py MODEL.onnx [MODEL.int8.onnx ...]

For each model and hint, a round is a new process with the engine, and benchmark_app beside it: they take
turns of a second, the other one being stopped (SIGSTOP) meanwhile, so that both see the same machine.
benchmark_app keeps one input in place (its "inference only" mode); the engine is given a batch and gives
scores back with each call, as its users have it. For throughput, both have one request more under way than
there are streams, so that one waits ready when a stream gets free. The ratio is the engine's throughput
over benchmark_app's, round by round; lowest and highest in brackets. Exit code 1 if a median is below what
is required. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from time import perf_counter

import numpy as np

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.engines import Engine
from edgecnn.engines.base import Batch
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

#: Seconds of a turn.
_TURN = 1.0


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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of each of the two, in each round")
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
        info = engine.info
    pairs = np.array([_apart(case, info.streams, seconds) for _ in range(rounds)])
    app, ours = np.median(pairs, axis=0)
    low, ratio, high = np.percentile(pairs[:, 1] / pairs[:, 0], [0, 50, 100])
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


def _apart(case: Case, streams: int, seconds: int) -> tuple[float, float]:
    """A round in a process of its own: where memory happens to lie makes some percent."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_round, case, streams, seconds).result()


def _round(case: Case, streams: int, seconds: int) -> tuple[float, float]:
    """Images per second of benchmark_app and of the engine, in turns."""
    images = np.random.default_rng(0).normal(size=case.shape).astype(case.artifact.spec.input.dtype)
    runs, own_s, stopped_s = 0, 0.0, 0.0
    with open_choice(case.choice, case.artifact) as engine, ThreadPoolExecutor(streams + 1) as pool:
        for _ in range(_WARM_UP):
            engine.run(images)
        with _measuring_app(case, streams, 2 * seconds) as app:
            # Its turn first: stopped before its clock runs, it would not count what is taken off here.
            while not _ended_within(app, _TURN):
                begin = perf_counter()
                app.send_signal(SIGSTOP)
                own_runs, turn_s = _turn(engine, images, case.callers(streams), pool)
                app.send_signal(SIGCONT)
                stopped_s += perf_counter() - begin
                runs, own_s = runs + own_runs, own_s + turn_s
            app_runs, app_s = _reported(app)
    return app_runs * case.batch / (app_s - stopped_s), runs * case.batch / own_s


@contextmanager
def _measuring_app(case: Case, streams: int, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """benchmark_app, from where it begins to count."""
    command = [sys.executable, "-c", _APP, *case.app_options(seconds, streams)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as app:
        assert app.stdout is not None
        said = ""
        for line in app.stdout:
            said += line
            if "First inference took" in line:
                break
        else:
            raise SystemExit(f"benchmark_app failed:\n{said[-2000:]}")
        yield app


def _ended_within(app: subprocess.Popen[str], seconds: float) -> bool:
    try:
        app.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _reported(app: subprocess.Popen[str]) -> tuple[int, float]:
    """How many runs benchmark_app counted, in how many seconds."""
    assert app.stdout is not None
    said = app.stdout.read()
    count, duration = re.search(r"Count:\s+(\d+)", said), re.search(r"Duration:\s+([\d.]+) ms", said)
    if count is None or duration is None:
        raise SystemExit(f"benchmark_app failed:\n{said[-2000:]}")
    return int(count[1]), float(duration[1]) / 1e3


def _turn(engine: Engine, images: Batch, callers: int, pool: ThreadPoolExecutor) -> tuple[int, float]:
    """Every caller runs until the turn is over; the last runs count, with their time."""
    begin = perf_counter()

    def call(_: int) -> int:
        runs = 0
        while perf_counter() - begin < _TURN:
            engine.run(images)
            runs += 1
        return runs

    runs = call(0) if callers == 1 else sum(pool.map(call, range(callers)))
    return runs, perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
