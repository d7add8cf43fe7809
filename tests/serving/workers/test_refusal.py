"""What a client sees that no worker takes, in the clear and over TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from edgecnn.serving.http.tls import server_tls
from edgecnn.serving.workers import refusal
from edgecnn.serving.workers.refusal import REFUSAL, Refusals

Certificate = tuple[Path, Path]
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]

#: More than the buffers of a connection hold: the client is still sending when it is answered.
UPLOAD = b"POST / HTTP/1.1\r\ncontent-length: 8000000\r\n\r\n" + bytes(8_000_000)


@asynccontextmanager
async def _refused(refusals: Refusals, tls: ssl.SSLContext | None = None) -> AsyncIterator[Ends]:
    """A client, with ``tls`` once its handshake is done, whose connection is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        opening = asyncio.open_connection(
            *listener.getsockname(), ssl=tls, server_hostname=None if tls is None else "localhost"
        )
        connecting = asyncio.create_task(opening)
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
    refusals.refuse(connection)
    reader, writer = await connecting
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
        await refusals.finish()


def test_in_the_clear_a_client_is_told() -> None:
    async def scenario() -> None:
        async with _refused(Refusals(None)) as (reader, writer):
            writer.write(UPLOAD)
            assert await reader.readexactly(len(REFUSAL)) == REFUSAL

    asyncio.run(scenario())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_over_tls_a_client_is_told(
    certificate: Certificate, version: ssl.TLSVersion, files: Callable[[], int]
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    trusting.minimum_version = trusting.maximum_version = version

    async def scenario() -> None:
        refusals = Refusals(server_tls(*certificate))
        before = files()
        async with _refused(refusals, trusting) as (reader, writer):
            writer.write(UPLOAD)
            assert await reader.readexactly(len(REFUSAL)) == REFUSAL
        assert files() == before

    asyncio.run(scenario())


@pytest.mark.parametrize("sends", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"])
def test_who_does_not_speak_tls_is_let_go(
    certificate: Certificate, sends: bytes, files: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal, "_HANDSHAKE_S", 0.05)

    async def scenario() -> None:
        refusals = Refusals(server_tls(*certificate))
        before = files()
        async with _refused(refusals) as (reader, writer):
            writer.write(sends)
            with suppress(ConnectionError):
                assert REFUSAL not in await reader.read()
        assert files() == before

    asyncio.run(scenario())


def test_who_asks_nothing_is_let_go(
    certificate: Certificate, files: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal, "_LINGER_S", 0.05)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))

    async def scenario() -> None:
        refusals = Refusals(server_tls(*certificate))
        before = files()
        async with _refused(refusals, trusting) as (reader, _):
            assert await reader.read() == b""
        assert files() == before

    asyncio.run(scenario())


def test_beyond_what_can_be_told_connections_are_only_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal, "_MOST", 0)

    async def scenario() -> None:
        async with _refused(Refusals(None)) as (reader, _):
            assert await reader.read() == b""

    asyncio.run(scenario())
