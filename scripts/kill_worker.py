#!/usr/bin/env python3
"""kill -9 of one of the server's workers under load: how long it shows, and in which requests.

    python scripts/kill_worker.py [MODEL.onnx] [--workers 2] [--clients 16] [--seconds 32] [--times 3]

A closed loop; every few seconds one worker is killed. For each kill: the longest time in which no request
was answered, the requests that failed, and when there were as many workers as before. Asked: answers within
2 s, and no more failures than the clients had requests under way, all of which were sent before the kill.
Exits with 1 where that does not hold.

Between two kills the new worker must get ready, or there is none left: give it time with --seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import numpy as np

from edgecnn.client import Client
from edgecnn.environment import describe_environment
from edgecnn.loadtest.child_server import ChildServer, edgecnn_server
from edgecnn.loadtest.plan import LoadPlan, Payload
from edgecnn.loadtest.processes import process_tree
from edgecnn.loadtest.records import Fault
from edgecnn.loadtest.requests import image_requests
from edgecnn.loadtest.run import LoadRun, run_load
from edgecnn.loadtest.tiny_model import save_tiny_model

SILENCE_S = 2.0

#: A request that was sent so long after the kill cannot know of it: the other side had closed by then.
SLACK_NS = 50_000_000


@dataclass(slots=True)
class Kill:
    """One kill: when, and when there were as many processes again (``time.monotonic_ns``)."""

    pid: int
    at_ns: int
    whole_ns: int | None = None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="an artifact; a tiny one without it")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=32.0)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {environment.os}, Python {environment.python}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()))
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or save_tiny_model(Path(folder) / "tiny.onnx").path
        with edgecnn_server({"m": model}, ["--workers", str(arguments.workers)]) as server:
            kills: list[Kill] = []
            killing = Thread(target=_kill, args=(server, arguments, kills))
            with Client(server.target.url) as client:
                requests = image_requests("uint8", client.metadata("m"), [], server.target)
            killing.start()
            plan = LoadPlan(
                target=server.target,
                payloads=tuple(map(Payload, requests)),
                clients=arguments.clients,
                duration_s=arguments.seconds,
            )
            run = run_load(plan)
            killing.join()
    print(
        "\n| killed | no answer for s | failed requests | sent after the kill | whole again after s | held |"
    )
    print(f"|{' --- |' * 6}")
    held = [_row(kill, run, kills, arguments) for kill in kills]
    return 0 if held and all(held) else 1


def _kill(server: ChildServer, arguments: argparse.Namespace, kills: list[Kill]) -> None:
    """The oldest worker each time, which has most connections, at even distances."""
    pause_s = arguments.seconds / (arguments.times + 1)
    for _ in range(arguments.times):
        time.sleep(pause_s)
        before = _workers(server)
        kill = Kill(before[0], time.monotonic_ns())
        kills.append(kill)
        os.kill(kill.pid, signal.SIGKILL)
        while time.monotonic_ns() < kill.at_ns + pause_s * 0.9e9:
            if (
                kill.whole_ns is None
                and kill.pid not in (now := _workers(server))
                and len(now) >= len(before)
            ):
                kill.whole_ns = time.monotonic_ns()
                break
            time.sleep(0.02)


def _workers(server: ChildServer) -> list[int]:
    """Direct children that do the work: those that the server named, or took their place."""
    return [pid for pid in process_tree(server.pid)[1:] if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    """A zombie, and the resource tracker of multiprocessing, are none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" and b"resource_tracker" not in command


def _row(kill: Kill, run: LoadRun, kills: list[Kill], arguments: argparse.Namespace) -> bool:
    at = kill.at_ns - run.start_ns
    later = [each.at_ns - run.start_ns for each in kills if each.at_ns > kill.at_ns]
    end = min(later, default=round(run.seconds * 1e9))
    records = run.measured
    answered = np.sort(records.done_ns[records.accepted])
    moments = np.concatenate(([at], answered[(answered >= at) & (answered < end)], [end]))
    silence_s = float(np.diff(moments).max()) * 1e-9
    failed = records.where(~records.accepted & (records.done_ns >= at) & (records.done_ns < end))
    after = int((failed.sent_ns > at + SLACK_NS).sum())
    held = silence_s < SILENCE_S and len(failed) <= arguments.clients and not after
    kinds, counts = np.unique(failed.fault, return_counts=True)
    what = ", ".join(f"{count} {Fault(kind).name.lower()}" for kind, count in zip(kinds, counts, strict=True))
    whole = "never" if kill.whole_ns is None else f"{(kill.whole_ns - kill.at_ns) * 1e-9:.2f}"
    print(
        f"| {kill.pid} | {silence_s:.3f} | {what or 0}, {arguments.clients} clients | {after} | {whole} "
        f"| {'yes' if held else 'NO'} |"
    )
    return held


if __name__ == "__main__":
    sys.exit(main())
