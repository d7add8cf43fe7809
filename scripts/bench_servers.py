#!/usr/bin/env python3
"""Throughput and latency against other servers: the same model file, the same load, in turns in one run.

    python scripts/bench_servers.py MODEL.onnx [--venv DIR] [--clients 8 32 64] [--seconds 5] [--rounds 3]
        [--payloads uint8 jpeg] [--jpegs DIR] [--servers edgecnn fastapi litserve litserve-batch bentoml]

The others are installed into a virtual environment of their own (``--venv``, kept for the next run) by pip.
Each is a small app in scripts/peers, as the server's documentation shows it: ONNX Runtime with one
thread a process and two processes (edgecnn: two workers), Pillow and numpy for the images, one answer of five
labels. FastAPI runs in uvicorn with uvloop and httptools and takes the body as it is; LitServe and BentoML
take files as forms, which is how they take them. LitServe is there twice: without batching, and in batches of
eight that wait 10 ms.
Before it is measured, each must find the label that the bare engine finds.

All servers stay up, idle while the others are measured; the order changes from round to round. Figures are
medians over the rounds, with the lowest and the highest. CPU is that of all processes of a server.
Exits with 1 where edgecnn has not the highest throughput and the lowest 99th percentile.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import median

import httpx
import numpy as np

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.client import ModelMetadata, TensorMetadata
from edgecnn.engines import open_engine
from edgecnn.environment import describe_environment
from edgecnn.loadtest.child_server import ChildServer, edgecnn_server, served_load
from edgecnn.loadtest.plan import LoadPlan, Payload
from edgecnn.loadtest.requests import PayloadKind, http_request, image_requests
from edgecnn.loadtest.run import run_load
from edgecnn.loadtest.summary import summarise_load
from edgecnn.loadtest.target import Target
from edgecnn.preprocess import crop, decode, normalise

PACKAGES = ("litserve", "fastapi", "uvicorn[standard]", "bentoml", "onnxruntime", "pillow", "numpy")
WARM_UP_S, READY_S, STOP_S = 0.5, 90.0, 20.0
BOUNDARY = "edgecnn-bench"

#: The apps of the others, and what all of them do with an image; no Python files here, since what they import
#: is installed elsewhere.
APPS = Path(__file__).with_name("peers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """How another server is started, and spoken to.

    Attributes:
        source: name of its app in :data:`APPS`.
        command: in the environment's bin folder, with its arguments; {port} stands for the port.
        form: whether it takes files as forms.
        batch: images of a call at most, for LitServe.
    """

    source: str
    command: tuple[str, ...]
    form: bool
    batch: int = 1


_UVICORN = ("uvicorn", "app:app", "--workers", "2", "--no-access-log", "--log-level", "error")
PEERS = {
    "fastapi": Peer(source="fastapi", command=(*_UVICORN, "--port", "{port}"), form=False),
    "litserve": Peer(source="litserve", command=("python", "app.py"), form=True),
    "litserve-batch": Peer(source="litserve", command=("python", "app.py"), form=True, batch=8),
    "bentoml": Peer(
        source="bentoml", command=("bentoml", "serve", "app:Server", "--port", "{port}", "-q"), form=True
    ),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one slice: answers a second, latencies, the server's CPU, and failures."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    failed: int


def main() -> int:
    arguments = _arguments()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {environment.os}, Python {environment.python}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()))
    artifact = open_artifact(arguments.model)
    others = [name for name in arguments.servers if name != "edgecnn"]
    if others:
        print(_installed(arguments.venv))
    print(f"{arguments.rounds} rounds of {arguments.seconds:g} s; median (lowest to highest)\n")
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(_started(name, artifact, arguments)) for name in arguments.servers
        }
        return _measure(servers, artifact, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="an artifact that takes normalised floats")
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "edgecnn-peers")
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each slice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--payloads", nargs="+", choices=["uint8", "jpeg"], default=["uint8", "jpeg"])
    parser.add_argument("--jpegs", type=Path, help="folder of JPEGs, searched deeply; noise without it")
    parser.add_argument("--servers", nargs="+", choices=["edgecnn", *PEERS], default=["edgecnn", *PEERS])
    return parser.parse_args()


def _installed(venv: Path) -> str:
    """Make the environment where there is none; says what is in it."""
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([*pip, "install", "-q", *PACKAGES], check=True)
    done = subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True, text=True)
    names = {package.partition("[")[0] for package in PACKAGES}
    found = [f"{each['name']} {each['version']}" for each in json.loads(done.stdout) if each["name"] in names]
    return f"{', '.join(found)} in {venv}"


@contextmanager
def _started(name: str, artifact: Artifact, arguments: argparse.Namespace) -> Iterator[ChildServer]:
    if name == "edgecnn":
        with edgecnn_server({"m": artifact.path}, ["--workers", "2"]) as server:
            yield server
        return
    peer = PEERS[name]
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        shutil.copy(APPS / "work.py.txt", Path(folder) / "work.py")
        shutil.copy(APPS / f"{peer.source}.py.txt", Path(folder) / "app.py")
        program, *rest = (part.format(port=port) for part in peer.command)
        given = {"PORT": str(port), "BATCH": str(peer.batch), "WORK": _work(artifact)}
        given |= {"OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": folder}
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [str(arguments.venv.resolve() / "bin" / program), *rest],
                cwd=folder,
                env=os.environ | given,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            target = Target(host="127.0.0.1", port=port)
            _wait_until_ready(name, target, process, log)
            yield ChildServer(target=target, pid=process.pid, workers=())
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _work(artifact: Artifact) -> str:
    spec, how = artifact.spec, artifact.spec.preprocess
    if how.in_graph or not isinstance(how.resize, int) or how.color != "RGB":
        raise SystemExit("The apps of the others are written for models of normalised RGB floats.")
    return json.dumps(
        {
            "model": str(artifact.path.resolve()),
            "input": spec.input.name,
            "classes": spec.classes,
            "resize": how.resize,
            "crop": how.crop,
            "mean": how.mean,
            "std": how.std,
        }
    )


def _wait_until_ready(name: str, target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers anything at all; what its answers are worth, the first slice shows."""
    end = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < end:
        try:
            httpx.get(target.url, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{name} did not start:\n{log.read_text()[-3000:]}")


def _measure(servers: dict[str, ChildServer], artifact: Artifact, arguments: argparse.Namespace) -> int:
    titles = ("payload", "clients", "server", "requests/s", "p50 ms", "p99 ms", "CPU ms/request", "failed")
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}", flush=True)
    random, held = Random(0), True
    for payload in arguments.payloads:
        label = _label(artifact, payload, arguments)
        requests = {
            name: _requests(name, payload, server, artifact, arguments) for name, server in servers.items()
        }
        for name, server in servers.items():
            _require_right(name, server, requests[name][0], label)
        for clients in arguments.clients:
            found: dict[str, list[Figures]] = {name: [] for name in servers}
            for _ in range(arguments.rounds):
                for name in random.sample(list(servers), len(servers)):
                    found[name].append(_slice(servers[name], requests[name], clients, arguments.seconds))
            for name, figures in found.items():
                _print_row(payload, clients, name, figures)
            held &= _leads(found)
    return 0 if held else 1


def _label(artifact: Artifact, payload: PayloadKind, arguments: argparse.Namespace) -> str:
    """Of the first image, by the bare engine."""
    spec, target = artifact.spec, Target(host="localhost", port=1)
    body = image_requests(payload, _model(artifact), _images(arguments), target)[0].partition(b"\r\n\r\n")[2]
    shape = (*spec.preprocess.crop, 3)
    raw = payload == "uint8"
    pixels = np.frombuffer(body, np.uint8).reshape(shape) if raw else crop(decode(body), spec.preprocess)
    with open_engine("ort", artifact) as engine:
        return spec.classes[int(engine.run(normalise(pixels, spec.preprocess)[None])[0].argmax())]


def _require_right(name: str, server: ChildServer, payload: Payload, label: str) -> None:
    checked = Payload(payload.data, lambda status, body: status == 200 and label.encode() in body)
    plan = LoadPlan(target=server.target, payloads=(checked,), clients=1, requests=1, duration_s=None)
    records = run_load(replace(plan, timeout_s=60)).records
    if not records.accepted.all():
        raise SystemExit(f"{name} does not find {label!r}: status {records.status}, fault {records.fault}")


def _images(arguments: argparse.Namespace) -> tuple[Path, ...]:
    return tuple(sorted(arguments.jpegs.rglob("*.[jJ][pP]*[gG]"))[:32]) if arguments.jpegs else ()


def _model(artifact: Artifact) -> ModelMetadata:
    height, width = artifact.spec.preprocess.crop
    tensor = TensorMetadata(name="input", datatype="FP32", shape=(-1, 3, height, width))
    return ModelMetadata(name="m", platform="", inputs=(tensor,), outputs=())


def _requests(
    name: str, payload: PayloadKind, server: ChildServer, artifact: Artifact, arguments: argparse.Namespace
) -> tuple[Payload, ...]:
    """The same images for everybody, as each takes them."""
    found = image_requests(payload, _model(artifact), _images(arguments), server.target)
    if name == "edgecnn":
        return tuple(map(Payload, found))
    kind = "image/jpeg" if payload == "jpeg" else "application/octet-stream"
    bodies = [request.partition(b"\r\n\r\n")[2] for request in found]
    if PEERS[name].form:
        bodies = [_form(body, kind) for body in bodies]
        kind = f"multipart/form-data; boundary={BOUNDARY}"
    return tuple(
        Payload(http_request(server.target, "POST", "/predict", body, {"content-type": kind}))
        for body in bodies
    )


def _form(body: bytes, kind: str) -> bytes:
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="image"\r\n'
    return f"{head}content-type: {kind}\r\n\r\n".encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()


def _slice(server: ChildServer, payloads: tuple[Payload, ...], clients: int, seconds: float) -> Figures:
    plan = LoadPlan(
        target=server.target,
        payloads=payloads,
        clients=clients,
        duration_s=seconds,
        warmup_s=WARM_UP_S,
        timeout_s=30,
    )
    served = served_load(server, plan)
    summary = summarise_load(served.run)
    failed = summary.requests - (summary.accepted.count if summary.accepted else 0)
    if summary.accepted is None:
        return Figures(0.0, float("nan"), float("nan"), served.cpu_ms, failed)
    percentiles, most = summary.accepted.percentiles, summary.accepted.max
    p50, p99 = percentiles["p50"] or most, percentiles["p99"] or most
    return Figures(summary.goodput.per_s, p50, p99, served.cpu_ms, failed)


def _print_row(payload: str, clients: int, name: str, figures: Sequence[Figures]) -> None:
    cells = [
        _spread([each.per_s for each in figures], 0),
        _spread([each.p50_ms for each in figures], 1),
        _spread([each.p99_ms for each in figures], 1),
        _spread([each.cpu_ms for each in figures], 2),
        str(sum(each.failed for each in figures)),
    ]
    print(f"| {payload} | {clients} | {name} | {' | '.join(cells)} |", flush=True)


def _leads(found: dict[str, list[Figures]]) -> bool:
    """Whether edgecnn answers at least as much as each of the others, and 99 % of it no later."""
    if "edgecnn" not in found:
        return True
    own = found["edgecnn"]
    return all(
        median(a.per_s for a in own) >= median(b.per_s for b in other)
        and median(a.p99_ms for a in own) <= median(b.p99_ms for b in other)
        for name, other in found.items()
        if name != "edgecnn"
    )


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
