#!/usr/bin/env python3
"""What serving costs: CPU of the server a request, against the bare engine doing the same work in a loop.

    python scripts/bench_serving.py [--fp32 MODEL.onnx] [--int8 MODEL.onnx] [--jpegs DIR]
        [--seconds 4] [--rounds 5]

The bare side is a child process with as many engines as the server has instances, each in a thread of its
own that loops over the work of a request: decode, resize and crop for a JPEG; normalise for pixels, where the
model does not; and the engine's call at batch 1. Server and bare loop take turns; ratios are of one round,
and their median is told with the lowest and the highest.

A tiny model (global pooling and one linear layer, 224 x 224) shows what remains: parsing, batching,
answering, and for JPEGs decoding. Latency is that of one client, against calls of one bare engine alone.

Asked are: at most 1.10 times the bare CPU for pixels and JPEGs in fp32, 1.25 in int8; of the tiny model
0.40 ms for a binary tensor, 0.30 for pixels, 1.9 for a JPEG; at one client a median within 1 ms of the bare
one. Exits with 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np

from edgecnn.artifact import open_artifact
from edgecnn.client import Client, ModelMetadata
from edgecnn.engines import open_engine
from edgecnn.engines.base import EngineOptions
from edgecnn.environment import describe_environment
from edgecnn.loadtest.child_server import ChildServer, edgecnn_server, served_load
from edgecnn.loadtest.plan import LoadPlan, Payload
from edgecnn.loadtest.requests import PayloadKind, image_requests
from edgecnn.loadtest.summary import summarise_load
from edgecnn.loadtest.target import Target
from edgecnn.loadtest.tiny_model import save_tiny_model
from edgecnn.preprocess import crop, decode, normalise

WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row.

    Attributes:
        title: of the row.
        model: its file.
        payload: what a request holds.
        ratio_limit: CPU of the server over that of the bare loop.
        cpu_limit_ms: CPU of the server a request.
    """

    title: str
    model: Path
    payload: PayloadKind
    ratio_limit: float | None = None
    cpu_limit_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """CPU a request, and medians of latency at one client."""

    server_cpu_ms: float
    bare_cpu_ms: float
    server_p50_ms: float
    bare_p50_ms: float
    per_s: float
    client_cpu_ms: float


def main() -> int:
    arguments = _arguments()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {environment.os}, Python {environment.python}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()))
    print(
        f"{arguments.instances} instances of {arguments.threads} thread(s); {arguments.clients} clients, "
        f"{arguments.rounds} rounds of {arguments.seconds:g} s a side; median (lowest to highest)\n"
    )
    titles = ("case", "server CPU ms", "bare CPU ms", "ratio", "p50 at 1 client, ms", "bare p50 ms")
    columns = (*titles, "requests/s", "client CPU ms", "asked")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cases = _cases(arguments, save_tiny_model(Path(folder) / "tiny.onnx").path)
        held = [_row(case, _rounds(case, arguments)) for case in cases]
    return 0 if all(held) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fp32", type=Path, help="an artifact of floats")
    parser.add_argument("--int8", type=Path, help="its int8 artifact")
    parser.add_argument("--jpegs", type=Path, help="folder of JPEGs, searched deeply; noise without it")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the instances")
    return parser.parse_args()


def _cases(arguments: argparse.Namespace, tiny: Path) -> list[Case]:
    cases = [
        Case(title="tiny, binary tensor", model=tiny, payload="binary", cpu_limit_ms=0.40),
        Case(title="tiny, uint8 pixels", model=tiny, payload="uint8", cpu_limit_ms=0.30),
        Case(title="tiny, JPEG", model=tiny, payload="jpeg", cpu_limit_ms=1.9),
    ]
    if arguments.fp32:
        kinds: tuple[PayloadKind, ...] = ("uint8", "jpeg")
        cases += [
            Case(title=f"fp32, {kind}", model=arguments.fp32, payload=kind, ratio_limit=1.10)
            for kind in kinds
        ]
    if arguments.int8:
        cases.append(Case(title="int8, uint8", model=arguments.int8, payload="uint8", ratio_limit=1.25))
    return cases


def _rounds(case: Case, arguments: argparse.Namespace) -> list[Round]:
    each = arguments.instances // arguments.workers
    options = ["--instances", str(each), "--threads", str(arguments.threads)]
    if case.cpu_limit_ms is not None:
        options = []  # as the server itself lays it out: a tiny model's calls are made on the event loop
    images = tuple(sorted(arguments.jpegs.rglob("*.[jJ][pP]*[gG]"))[:32]) if arguments.jpegs else ()
    found = []
    with ExitStack() as stack:
        options += ["--workers", str(arguments.workers)]
        server = stack.enter_context(edgecnn_server({"m": case.model}, options))
        with Client(server.target.url) as client:
            metadata = client.metadata("m")
        bare = stack.enter_context(_bare(case, metadata, images, arguments))
        requests = image_requests(case.payload, metadata, images, server.target)
        for turn in range(arguments.rounds):
            # Who begins takes turns, for a machine that warms up.
            first = _served(server, requests, arguments) if turn % 2 else None
            bare_cpu, bare_p50 = bare(arguments.seconds)
            cpu, p50, per_s, own = first or _served(server, requests, arguments)
            found.append(Round(cpu, bare_cpu, p50, bare_p50, per_s, own))
    return found


def _served(
    server: ChildServer, requests: Sequence[bytes], arguments: argparse.Namespace
) -> tuple[float, float, float, float]:
    """CPU a request at many clients, median latency at one, throughput, and the load's own CPU a request."""
    payloads, seconds = tuple(map(Payload, requests)), arguments.seconds / 2
    plan = LoadPlan(target=server.target, payloads=payloads, clients=arguments.clients, duration_s=seconds)
    many = served_load(server, plan)
    one = replace(plan, clients=1, warmup_s=WARM_UP_S)
    alone, summary = summarise_load(served_load(server, one).run), summarise_load(many.run)
    if summary.accepted is None or alone.accepted is None or summary.refused or summary.faults:
        raise SystemExit(f"Not every request was answered: {summary.refused}, {summary.faults}")
    p50 = alone.accepted.percentiles["p50"] or alone.accepted.max
    return many.cpu_ms, p50, summary.goodput.per_s, summary.client_cpu_ms


@contextmanager
def _bare(
    case: Case, metadata: ModelMetadata, images: Sequence[Path], arguments: argparse.Namespace
) -> Iterator[Callable[[float], tuple[float, float]]]:
    """A child process that loops over the same work, when and for as long as it is told."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    shape = (case.model, case.payload, metadata, tuple(images), arguments.instances, arguments.threads)
    child = context.Process(target=_bare_loop, args=(theirs, *shape), daemon=True)
    child.start()
    theirs.close()
    ours.recv()

    def measure(seconds: float) -> tuple[float, float]:
        ours.send(seconds)
        found: tuple[float, float] = ours.recv()
        return found

    try:
        yield measure
    finally:
        ours.send(None)
        child.join(30)


def _bare_loop(
    connection: Connection,
    model: Path,
    payload: PayloadKind,
    metadata: ModelMetadata,
    images: tuple[Path, ...],
    instances: int,
    threads: int,
) -> None:
    """In the child: CPU ms of an image with all engines busy, and median ms of one engine alone."""
    works = [_work(model, payload, metadata, images, threads) for _ in range(instances)]
    for work in works:
        _loop(work, WARM_UP_S)
    connection.send("ready")
    while (seconds := connection.recv()) is not None:
        before = time.process_time()
        with ThreadPoolExecutor(instances) as pool:
            count = sum(map(len, pool.map(_loop, works, [seconds / 2] * instances)))
        cpu_ms = 1e3 * (time.process_time() - before) / count
        connection.send((cpu_ms, 1e3 * median(_loop(works[0], seconds / 2))))


def _work(
    model: Path, payload: PayloadKind, metadata: ModelMetadata, images: tuple[Path, ...], threads: int
) -> Callable[[], object]:
    """One request's work, of one image after the other."""
    artifact = open_artifact(model)
    spec = artifact.spec
    engine = open_engine("ort", artifact, EngineOptions(threads=threads))
    target = Target(host="localhost", port=1)
    bodies = [
        request.partition(b"\r\n\r\n")[2] for request in image_requests(payload, metadata, images, target)
    ]
    height, width = spec.preprocess.crop
    size = int(np.prod(spec.input.shape[1:])) * np.dtype(spec.input.dtype).itemsize  # type: ignore[arg-type]
    turn = cycle(bodies)

    def pixels_of(body: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        if payload == "jpeg":
            return crop(decode(body), spec.preprocess)
        return np.frombuffer(body, np.uint8).reshape(height, width, spec.preprocess.channels)

    def run() -> object:
        body = next(turn)
        if payload == "binary":
            tensor = np.frombuffer(body[-size:], spec.input.dtype).reshape(1, *spec.input.shape[1:])
        elif spec.preprocess.in_graph:
            tensor = pixels_of(body)[None]
        else:
            tensor = normalise(pixels_of(body), spec.preprocess)[None]
        return engine.run(tensor)

    return run


def _loop(work: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call."""
    end = time.perf_counter() + seconds
    found: list[float] = []
    now = time.perf_counter()
    while now < end or not found:
        before = now
        work()
        now = time.perf_counter()
        found.append(now - before)
    return found


def _row(case: Case, rounds: list[Round]) -> bool:
    server, bare = ([getattr(each, name) for each in rounds] for name in ("server_cpu_ms", "bare_cpu_ms"))
    p50, bare_p50 = ([getattr(each, name) for each in rounds] for name in ("server_p50_ms", "bare_p50_ms"))
    ratios = [each.server_cpu_ms / each.bare_cpu_ms for each in rounds]
    above = median(each.server_p50_ms - each.bare_p50_ms for each in rounds)
    asked = [(f"p50 <= bare + 1 ms: +{above:.2f}", above <= 1)]
    if case.ratio_limit is not None:
        asked.append((f"ratio <= {case.ratio_limit:.2f}", median(ratios) <= case.ratio_limit))
    if case.cpu_limit_ms is not None:
        asked.append((f"CPU <= {case.cpu_limit_ms:.2f} ms", median(server) <= case.cpu_limit_ms))
    cells = [_spread(values) for values in (server, bare, ratios, p50, bare_p50)]
    cells.append(f"{median(each.per_s for each in rounds):.0f}")
    cells.append(f"{median(each.client_cpu_ms for each in rounds):.3f}")
    told = "; ".join(f"{text}{'' if held else ' **NOT HELD**'}" for text, held in asked)
    print(f"| {case.title} | {' | '.join(cells)} | {told} |", flush=True)
    return all(held for _, held in asked)


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    sys.exit(main())
