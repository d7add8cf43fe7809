"""A supervisor of toy workers, and a client, within a test's event loop."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgecnn.serving.workers.settings import SupervisorSettings
from edgecnn.serving.workers.supervisor import Observer, Supervisor

FOLDER = Path(__file__).parent

#: Bounds every wait; no test comes near it.
PATIENCE_S = 30.0


class Client:
    """One connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def get(self, path: str) -> Any:
        self.writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        _status, body = await self.response()
        return json.loads(body)

    async def response(self) -> tuple[int, bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split()[0])
        return int(head.split()[1]), await self.reader.readexactly(length)

    def close(self) -> None:
        self.writer.close()


@dataclass
class Running:
    """A supervisor at work."""

    supervisor: Supervisor
    outcome: asyncio.Task[bool]
    died: list[int] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.supervisor.port))
        self.clients.append(client)
        return client

    async def get(self, path: str) -> Any:
        client = await self.connect()
        try:
            return await client.get(path)
        finally:
            client.close()

    async def drain(self) -> bool:
        self.supervisor.stop()
        return await self.outcome


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Starts toy workers; by default returns when all are ready."""
    monkeypatch.syspath_prepend(str(FOLDER))

    @asynccontextmanager
    async def started(*, wait: bool = True, **options: Any) -> AsyncIterator[Running]:
        # Generous where a test is not about it, so that a slow machine changes no result.
        defaults = {"workers": 2, "port": 0, "hold_s": PATIENCE_S, "restart_s": 0.05, "heartbeat_s": 0.1}
        defaults |= {"settle_s": 0.0, "exit_s": 0.5}
        settings = SupervisorSettings(**{"entry": "toy_worker:run", **defaults, **options})
        ready = asyncio.Event()
        died: list[int] = []
        observer = Observer(ready=lambda _host, _port: ready.set(), died=died.append)
        supervisor = Supervisor(settings, {}, observer)
        outcome = asyncio.create_task(supervisor.run())
        outcome.add_done_callback(lambda _: ready.set())
        running = Running(supervisor, outcome, died)
        try:
            async with asyncio.timeout(PATIENCE_S):
                if wait:
                    await ready.wait()
                yield running
        finally:
            for client in running.clients:
                client.close()
            if not outcome.done():
                supervisor.stop()
                supervisor.stop()
            await asyncio.wait([outcome])

    return started


@pytest.fixture
def files() -> Callable[[], int]:
    """How many files this process has open."""
    return lambda: sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits for a condition."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    found = folder / "server.pem", folder / "server.key"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, "-out", found[0], "-keyout", found[1]], check=True, capture_output=True)
    return found


@pytest.fixture
def tcp_pair() -> Any:
    """A connection to oneself: (client's end, server's end)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server
