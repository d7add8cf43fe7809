"""A server in a child process, for as long as it is measured."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import IO

import msgspec

from edgecnn.errors import EngineError
from edgecnn.loadtest.plan import LoadPlan
from edgecnn.loadtest.processes import cpu_seconds, resident_bytes
from edgecnn.loadtest.run import LoadRun, run_load
from edgecnn.loadtest.target import Target, parse_target

__all__ = ["ChildServer", "ServedLoad", "edgecnn_server", "served_load"]

_STOP_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildServer:
    """A server that is ready.

    Attributes:
        target: where it answers.
        pid: of the process that was started.
        workers: processes that answer, as it says.
    """

    target: Target
    pid: int
    workers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    http: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedLoad:
    """A load, and what it cost the server.

    Attributes:
        run: of the load.
        cpu_ms: of the server's processes, a request.
        resident_bytes: of them, when it ended.
    """

    run: LoadRun
    cpu_ms: float
    resident_bytes: int


@contextmanager
def edgecnn_server(
    models: Mapping[str, Path], options: Sequence[str] = (), *, ready_s: float = 120.0
) -> Iterator[ChildServer]:
    """``edgecnn serve`` on a free port, ended as an operator would when the block is left.

    Args:
        models: name -> file.
        options: of the command, besides.
        ready_s: how long it may take until it is ready.

    Raises:
        EngineError: it ended, or was not ready in time.
    """
    named = [f"{path}={name}" for name, path in models.items()]
    command = [
        sys.executable,
        "-m",
        "edgecnn",
        "serve",
        *named,
        "--port",
        "0",
        "--no-grpc",
        "--json",
        *options,
    ]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,  # noqa: S603
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline() if select([process.stdout], [], [], ready_s)[0] else ""
            yield _server(line, process.pid, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def served_load(server: ChildServer, plan: LoadPlan) -> ServedLoad:
    """Make the load of ``plan`` on ``server``, with its cost."""
    before = cpu_seconds(server.pid)
    run = run_load(plan)
    cpu_s = cpu_seconds(server.pid) - before
    return ServedLoad(
        run=run,
        cpu_ms=1e3 * cpu_s / max(1, len(run.records)),
        resident_bytes=resident_bytes(server.pid),
    )


def _server(line: str, pid: int, log: IO[str]) -> ChildServer:
    try:
        ready = msgspec.json.decode(line, type=_Ready)
    except msgspec.DecodeError as error:
        log.seek(0)
        raise EngineError(
            f"'edgecnn serve' did not get ready; it said {line!r}, and in its log:\n{log.read()[-2000:]}",
            "Start it by hand to see why.",
        ) from error
    return ChildServer(target=parse_target(f"http://{ready.http}"), pid=pid, workers=ready.pids)
