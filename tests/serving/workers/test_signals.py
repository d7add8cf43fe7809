"""What signals do to a supervisor, and what its death does to its workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


class Running:
    """The process, and what it said at its start."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = self.line()

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.said["port"]), timeout=30)

    def get(self, path: str, connection: socket.socket | None = None) -> Any:
        with connection.dup() if connection else self.connect() as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            received = b""
            while not received.endswith(b"}"):
                received += sock.recv(65536)
        return json.loads(received.split(b"\r\n\r\n")[1])


@contextmanager
def _running(drain_s: float = 30.0) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "supervised.py"), str(drain_s)], stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield Running(process)
        finally:
            process.kill()


def _lives(pid: int) -> bool:
    """Whether it is more than an entry in the table of processes that nobody has collected yet."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_for_end(pids: set[int]) -> None:
    give_up = time.monotonic() + 30
    while any(map(_lives, pids)):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_sigterm_drains_and_the_folder_of_metrics_goes() -> None:
    with _running() as running:
        assert running.said["heavy"] == []
        states = [running.get("/state") for _ in range(2)]
        assert Path(states[0]["folder"]).is_dir()
        running.process.send_signal(signal.SIGTERM)
        forgotten = [running.line() for _ in range(2)]
        assert {each["forgotten"] for each in forgotten} == {each["pid"] for each in states}
        assert all(each["exists"] for each in forgotten)
        assert running.line() == {"drained": True}
        assert running.process.wait(30) == 0
        assert not Path(states[0]["folder"]).exists()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with _running() as running, running.connect() as connection:
        never = str(tmp_path / "never").replace("/", "|")
        running.get("/pid", connection)
        connection.sendall(f"GET /wait/{never} HTTP/1.1\r\n\r\n".encode())
        running.get("/pid")
        running.process.send_signal(signal.SIGINT)
        running.line()  # the idle worker has drained
        running.process.send_signal(signal.SIGINT)
        running.line()
        assert running.line() == {"drained": False}


def test_sighup_replaces_the_workers() -> None:
    with _running() as running:
        old = {running.get("/pid")["pid"] for _ in range(4)}
        running.process.send_signal(signal.SIGHUP)
        assert {running.line()["forgotten"] for _ in range(2)} == old
        assert running.get("/pid")["pid"] not in old


def test_workers_do_not_outlive_their_supervisor() -> None:
    with _running() as running:
        pids = {running.get("/pid")["pid"] for _ in range(4)}
        assert len(pids) == 2
        os.kill(running.said["pid"], signal.SIGKILL)
        running.process.wait(30)
        _wait_for_end(pids)


def test_signals_to_the_group_do_not_cut_requests_short(tmp_path: Path) -> None:
    """What Ctrl-C and systemd do: each process is signalled, not the supervisor alone."""
    gate = tmp_path / "gate"
    with _running() as running, running.connect() as connection:
        pids = {running.get("/pid")["pid"] for _ in range(4)}
        running.get("/pid", connection)
        connection.sendall(f"GET /wait/{str(gate).replace('/', '|')} HTTP/1.1\r\n\r\n".encode())
        running.get("/pid")
        for pid in (*pids, running.said["pid"]):
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM) if pid != running.said["pid"] else None
        running.line()
        gate.touch()
        assert b"200 OK" in connection.recv(65536)
