#!/usr/bin/env python3
"""More load than the server can take: what it still does, and how fast it says no to the rest.

    python scripts/bench_overload.py [MODEL.onnx] [--times 2 5] [--seconds 60] [--payload uint8]
        [--timeout-ms 1000] [--serve '--max-queue 64']

1. The capacity: throughput of a closed loop of eight clients, none of which may be refused.
2. For each of ``--times``, an open loop of so many times that rate, Poisson arrivals, latencies from the
   intended arrival.

Asked: goodput at least 90 % of the capacity; the 99th percentile of accepted requests within the configured
timeout; that of refusals within 20 ms; memory flat. The load is made on the same cores and takes CPU that the
server had for itself before, the more the higher the rate: the column says how much. Exits with 1 where
something does not hold.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from threading import Event, Thread

import numpy as np

from edgecnn.client import Client
from edgecnn.environment import describe_environment
from edgecnn.loadtest.child_server import ChildServer, edgecnn_server, served_load
from edgecnn.loadtest.plan import LoadPlan, Payload
from edgecnn.loadtest.processes import resident_bytes
from edgecnn.loadtest.requests import PAYLOAD_KINDS, image_requests
from edgecnn.loadtest.summary import LoadSummary, summarise_load
from edgecnn.loadtest.tiny_model import save_tiny_model

GOODPUT_SHARE, REFUSAL_MS, CAPACITY_CLIENTS = 0.9, 20.0, 8

#: MB that the resident memory may grow by in a thousand requests, and still be flat.
FLAT_MB = 0.1

#: Connections of the open loop at most; fewer than the server allows.
CONNECTIONS = 1000

COLUMNS = (
    *("load", "offered/s", "goodput/s", "of capacity", "accepted p50 ms", "p99 ms"),
    *("refused", "p99 ms", "faults", "server CPU ms", "client CPU ms", "RSS MB", "MB/1000 requests", "asked"),
)


def main() -> int:
    arguments = _arguments()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {environment.os}, Python {environment.python}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()))
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or save_tiny_model(Path(folder) / "tiny.onnx").path
        options = ["--timeout-ms", f"{arguments.timeout_ms:g}", *arguments.serve]
        print(f"{model.name}, {arguments.payload}; edgecnn serve {' '.join(options)}\n")
        with edgecnn_server({"m": model}, options) as server:
            return _measure(server, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="an artifact; a tiny one without it")
    parser.add_argument("--times", type=float, nargs="+", default=[2.0, 5.0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--payload", choices=PAYLOAD_KINDS, default="uint8")
    parser.add_argument("--timeout-ms", type=float, default=1000.0, help="the server's")
    parser.add_argument("--serve", type=shlex.split, default=[], help="more options of edgecnn serve")
    return parser.parse_args()


def _measure(server: ChildServer, arguments: argparse.Namespace) -> int:
    with Client(server.target.url) as client:
        metadata = client.metadata("m")
    payloads = tuple(map(Payload, image_requests(arguments.payload, metadata, [], server.target)))
    closed = LoadPlan(
        target=server.target,
        payloads=payloads,
        clients=CAPACITY_CLIENTS,
        duration_s=max(2.0, arguments.seconds / 6),
        warmup_s=1.0,
    )
    found = summarise_load(served_load(server, closed).run)
    if found.refused or found.faults or found.accepted is None:
        raise SystemExit(f"{CAPACITY_CLIENTS} clients are too many already: {found}\nRaise --timeout-ms.")
    capacity = found.goodput.per_s
    print(f"Capacity: {capacity:.1f}/s ({CAPACITY_CLIENTS} clients)\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    held = [_row(server, payloads, capacity, times, arguments) for times in arguments.times]
    return 0 if all(held) else 1


def _row(
    server: ChildServer,
    payloads: tuple[Payload, ...],
    capacity: float,
    times: float,
    arguments: argparse.Namespace,
) -> bool:
    plan = LoadPlan(
        target=server.target,
        payloads=payloads,
        clients=CONNECTIONS,
        rate_per_s=times * capacity,
        duration_s=arguments.seconds,
        warmup_s=min(5.0, arguments.seconds / 4),
        # Longer than the server's: what it answers too late is to be seen, not cut off.
        timeout_s=arguments.timeout_ms / 1000 + 5,
    )
    with _Memory(server.pid) as memory:
        served = served_load(server, plan)
    summary = summarise_load(served.run)
    refused = summary.refused.get(429)
    accepted_p99 = summary.accepted and summary.accepted.percentiles["p99"]
    refused_p99 = refused and refused.percentiles["p99"]
    growth = memory.growth_mb_per_s() * 1000 / _rate(plan)
    asked = {
        "goodput": summary.goodput.per_s >= GOODPUT_SHARE * capacity,
        f"accepted within {arguments.timeout_ms:g} ms": (accepted_p99 or 0) <= arguments.timeout_ms,
        f"refusals within {REFUSAL_MS:g} ms": (refused_p99 or 0) <= REFUSAL_MS,
        "memory": growth <= FLAT_MB,
        "faults": not summary.faults,
    }
    cells = (
        f"{times:g} x capacity",
        f"{_rate(plan):.0f}",
        f"{summary.goodput.per_s:.1f}",
        f"{summary.goodput.per_s / capacity:.0%}",
        _percentile(summary, "p50"),
        _percentile(summary, "p99"),
        ", ".join(f"{found.count} x {status}" for status, found in summary.refused.items()) or "0",
        "-" if refused_p99 is None else f"{refused_p99:.1f}",
        ", ".join(f"{count} {name}" for name, count in summary.faults.items()) or "0",
        f"{served.cpu_ms:.3f}",
        f"{summary.client_cpu_ms:.3f}",
        f"{served.resident_bytes / 1e6:.0f}",
        f"{growth:+.4f}",
        "; ".join(f"{name}{'' if kept else ' **NOT HELD**'}" for name, kept in asked.items()),
    )
    print(f"| {' | '.join(cells)} |", flush=True)
    return all(asked.values())


def _rate(plan: LoadPlan) -> float:
    assert plan.rate_per_s is not None
    return plan.rate_per_s


def _percentile(summary: LoadSummary, name: str) -> str:
    value = summary.accepted and summary.accepted.percentiles[name]
    return "-" if value is None else f"{value:.1f}"


class _Memory:
    """Samples the resident memory of a process twice a second."""

    def __init__(self, pid: int) -> None:
        self._pid, self._over = pid, Event()
        self._samples: list[int] = []
        self._thread = Thread(target=self._sample)

    def growth_mb_per_s(self) -> float:
        """Slope over the second half: the first fills buffers."""
        half = np.array(self._samples[len(self._samples) // 2 :]) / 1e6
        return float(np.polyfit(np.arange(len(half)) / 2, half, 1)[0]) if len(half) > 2 else 0.0

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.5):
            self._samples.append(resident_bytes(self._pid))


if __name__ == "__main__":
    sys.exit(main())
