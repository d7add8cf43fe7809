"""A server on loopback, and a client that speaks raw bytes to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
import uvloop

from edgecnn.serving.faults import BadRequestError
from edgecnn.serving.http.access_log import AccessLog
from edgecnn.serving.http.api_keys import ApiKeys
from edgecnn.serving.http.cors import Cors
from edgecnn.serving.http.limits import HttpLimits
from edgecnn.serving.http.message import Request, Response, json_response
from edgecnn.serving.http.routing import Router
from edgecnn.serving.http.server import HttpServer

#: No test waits for it; it ends one that hangs.
PATIENCE_S = 20.0


@dataclass(slots=True)
class Clock:
    """Time that passes when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """The next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in fields)}
        length = 0 if bodiless else int(headers.get("content-length", 0))
        return Answer(int(line.split(" ")[1]), headers, await self.reader.readexactly(length))

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """All that comes until the server closes; b"" when it resets the connection."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        if self.writer.transport.get_write_buffer_size():
            self.writer.transport.abort()
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


@dataclass(slots=True, eq=False)
class Stage:
    """A server, its routes' memory, and its clients."""

    server: HttpServer
    port: int
    clock: Clock
    gate: asyncio.Event
    seen: list[Request] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    observed: list[tuple[str, str, int]] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    async def connect(self, tls: ssl.SSLContext | None = None) -> Client:
        name = "localhost" if tls is not None else None
        pair = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname=name)
        client = Client(*pair)
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> Answer:
        """One request on a connection of its own."""
        client = await self.connect()
        try:
            return await client.ask(data)
        finally:
            await client.close()

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.server.sweep()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the event loop run until something holds."""
        while not holds():
            await asyncio.sleep(0.001)


Staging: TypeAlias = Callable[..., AbstractAsyncContextManager[Stage]]
Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


async def _fail(request: Request) -> Response:
    kind = request.parameters["how"]
    if kind == "refuse":
        raise BadRequestError("The input is bad.", "Send a good one.")
    if kind == "cancel":
        raise asyncio.CancelledError
    if kind == "header":
        return Response(200, b"", headers=(("x-evil", "a\r\nset-cookie: b"),))
    if kind == "type":
        return Response(200, "text")  # type: ignore[arg-type]
    raise RuntimeError("secret")


async def _large(request: Request) -> Response:
    return Response(200, [bytes(1 << 20)] * int(request.parameters["mib"]), "application/octet-stream")


def _routes(router: Router, stage: Callable[[], Stage]) -> None:
    async def ok(request: Request) -> Response:
        stage().seen.append(request)
        return json_response({"path": request.path, "parameters": request.parameters})

    async def echo(request: Request) -> Response:
        stage().seen.append(request)
        return Response(200, request.body, request.headers.get("content-type", "application/octet-stream"))

    async def wait(request: Request) -> Response:
        stage().seen.append(request)
        try:
            await stage().gate.wait()
        except asyncio.CancelledError:
            stage().cancelled.append(request.path)
            raise
        return await ok(request)

    router.route("GET", "/ok", ok, public=True)
    router.route("POST", "/ok", ok)
    router.route("GET", "/items/{item}", ok)
    router.route("POST", "/echo", echo)
    router.route("POST", "/small", echo, max_body=10)
    router.route("GET", "/wait/{name}", wait)
    router.route("POST", "/wait/{name}", wait)
    router.route("GET", "/fail/{how}", _fail)
    router.route("GET", "/large/{mib}", _large)


@asynccontextmanager
async def _staged(
    limits: HttpLimits | None = None,
    *,
    keys: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
    log: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Stage]:
    clock = Clock()
    router = Router(ApiKeys(keys) if keys else None, Cors(origins))
    stage: Stage

    def observe(request: Request, status: int, duration_s: float) -> None:
        assert duration_s >= 0
        stage.observed.append((request.method, request.path, status))

    server = HttpServer(
        router, limits, AccessLog() if log else None, observe=observe, ssl_context=tls, clock=clock
    )
    _, port = await server.listen("127.0.0.1", 0)
    stage = Stage(server, port, clock, asyncio.Event())
    _routes(router, lambda: stage)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield stage
    finally:
        for client in stage.clients:
            await client.close()
        await server.close()


@pytest.fixture(scope="session")
def staged() -> Staging:
    """Starts a server with routes to try it with."""
    return _staged


@pytest.fixture(scope="session", params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in a fresh event loop of each kind."""
    return uvloop.run if request.param == "uvloop" else asyncio.run
