"""Connections in number, sockets from elsewhere, TLS, and the end."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgecnn.errors import UsageError
from edgecnn.serving.http.limits import HttpLimits
from edgecnn.serving.http.routing import Router
from edgecnn.serving.http.server import HttpServer, open_listener
from edgecnn.serving.http.tls import server_tls

if TYPE_CHECKING:
    from tests.serving.http.conftest import Run, Staging

#: No test waits for it; it ends one that hangs.
PATIENCE_S = 20.0

GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT = b"GET /wait/a HTTP/1.1\r\nHost: x\r\n\r\n"


def test_above_the_limit_connections_are_answered_and_closed(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(HttpLimits(max_connections=2)) as stage:
            clients = [await stage.connect() for _ in range(2)]
            for client in clients:
                await client.ask(GET)
            third = await stage.connect()
            answer = await third.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "room" in json.loads(answer.body)["error"]
            assert await third.rest() == b""
            await clients[0].close()
            await stage.until(lambda: stage.server.connections == 1)
            assert (await stage.ask(GET)).status == 200

    run(main())


def test_a_socket_that_was_accepted_elsewhere_is_served(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            ours, theirs = socket.socketpair()
            await stage.server.accept(theirs)
            assert stage.server.connections == 1
            reader, writer = await asyncio.open_connection(sock=ours)
            writer.write(GET)
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            assert stage.seen[0].peer == "local"
            writer.close()
            await writer.wait_closed()

    run(main())


def test_connections_are_shed_after_their_next_answers(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            clients = [await stage.connect() for _ in range(3)]
            for client in clients:
                await client.ask(GET)
            stage.server.shed(2)
            answers = [await client.ask(GET) for client in clients]
            assert [answer.status for answer in answers] == [200, 200, 200]
            closing = [answer.headers.get("connection") for answer in answers]
            assert closing == ["close", "close", None]
            await stage.until(lambda: stage.server.connections == 1)
            assert (await clients[2].ask(GET)).status == 200

    run(main())


def test_a_request_that_was_on_its_way_when_draining_began_is_answered(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.ask(GET)
            draining = asyncio.create_task(stage.server.drain(5))
            await asyncio.sleep(0)
            answer = await client.ask(GET)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            await draining

    run(main())


def test_draining_answers_what_was_begun(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            idle, busy, sending = [await stage.connect() for _ in range(3)]
            await idle.ask(GET)
            await busy.send(WAIT + GET)
            await sending.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            await stage.until(lambda: len(stage.seen) == 2 and stage.server.body_bytes == 5)
            draining = asyncio.create_task(stage.server.drain(10.0))
            assert await idle.rest() == b""
            with pytest.raises(ConnectionError):
                await stage.connect()
            stage.gate.set()
            answer = await busy.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await busy.rest() == b""
            assert (await sending.ask(b"hello")).body == b"hello"
            await draining
            assert stage.server.connections == 0

    run(main())


def test_draining_ends_in_time_whatever_handlers_do(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.send(WAIT)
            await stage.until(lambda: len(stage.seen) == 1)
            await stage.server.drain(0.02)
            assert stage.cancelled == ["/wait/a"]
            assert await client.rest() == b""

    run(main())


def test_a_socket_passed_while_draining_is_turned_away(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            await stage.server.drain(1.0)
            ours, theirs = socket.socketpair()
            await stage.server.accept(theirs)
            with ours:
                assert ours.recv(100).startswith(b"HTTP/1.1 503 ")

    run(main())


def test_a_connection_that_the_kernel_has_queued_is_answered_before_the_end(
    run: Run, staged: Staging
) -> None:
    async def main() -> None:
        async with staged() as stage:
            with socket.create_connection(("127.0.0.1", stage.port)) as client:
                client.sendall(GET)  # and the event loop has had no turn to accept it
                await stage.server.drain(10.0)
                assert client.recv(100).startswith(b"HTTP/1.1 200 ")

    run(main())


def test_an_address_that_is_taken_says_so() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1 port {port}"):
            open_listener("127.0.0.1", port)
    with pytest.raises(UsageError, match="port 0"):
        open_listener("no-such-host.invalid", 0)


def test_each_request_has_a_line_in_the_log(
    run: Run, staged: Staging, caplog: pytest.LogCaptureFixture
) -> None:
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    caplog.set_level(logging.INFO, "edgecnn.access")

    async def main() -> None:
        async with staged(log=True) as stage:
            await stage.ask(
                b"POST /echo?k=1 HTTP/1.1\r\nHost: x\r\nx-request-id: abc\r\ntraceparent: %b\r\n"
                b"Content-Length: 5\r\n\r\nhello" % trace
            )
            await stage.ask(b"GET /%0A HTTP/1.1\r\nHost: x\r\n\r\n")
            await stage.ask(b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stage.observed == [("POST", "/echo", 200), ("GET", "/%0A", 400), ("-", "-", 400)]

    run(main())
    lines = [json.loads(record.message) for record in caplog.records if record.name == "edgecnn.access"]
    first = lines[0]
    assert first["time"].endswith("Z")
    assert first["peer"].startswith("127.0.0.1:")
    assert first["duration_ms"] == 0.0
    del first["time"], first["peer"], first["duration_ms"]
    assert first == {
        "request_id": "abc",
        "method": "POST",
        "path": "/echo",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": 5,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert [line.get("refusal") for line in lines[1:]] == ["malformed", "malformed"]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    return make_pair(folder, "server")


def make_pair(folder: Path, name: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_tls_serves_large_bodies_and_survives_those_who_do_not_speak_it(
    run: Run, staged: Staging, pair: tuple[Path, Path]
) -> None:
    trusting = ssl.create_default_context(cafile=str(pair[0]))
    body = bytes(range(256)) * 4000

    async def main() -> None:
        async with staged(tls=server_tls(*pair)) as stage:
            plain = await stage.connect()
            await plain.send(GET)
            told = await plain.answer()
            assert told.status == 400
            assert "https://" in json.loads(told.body)["error"]
            assert await plain.rest() == b""
            client = await stage.connect(trusting)
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            for _ in range(2):
                assert (await client.ask(head + body)).body == body
            refused = await client.ask(b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (refused.status, refused.headers["connection"]) == (400, "close")
            await client.close()
            await stage.until(lambda: stage.server.connections == 0)

    run(main())


def test_a_connection_that_is_not_taken_is_reported_like_one_that_closed(
    run: Run, pair: tuple[Path, Path]
) -> None:
    """A supervisor counts what it passes on: without the report it would count it for ever."""

    async def main() -> None:
        counts: list[int] = []
        server = HttpServer(
            Router(), changed=lambda: counts.append(server.connections), ssl_context=server_tls(*pair)
        )
        ours, theirs = socket.socketpair()
        ours.close()  # before its handshake, as a probe that only connects
        await server.accept(theirs)
        assert counts == [0]
        await server.drain(0.01)
        ours, theirs = socket.socketpair()
        await server.accept(theirs)
        assert counts == [0, 0]
        ours.close()

    run(main())


def test_draining_does_not_wait_for_who_never_shakes_hands(run: Run, pair: tuple[Path, Path]) -> None:
    async def main() -> None:
        limits = HttpLimits(header_timeout_s=1000.0, linger_s=0.01)
        server = HttpServer(Router(), limits, ssl_context=server_tls(*pair))
        _, port = await server.listen("127.0.0.1", 0)
        with socket.create_connection(("127.0.0.1", port)) as client:
            async with asyncio.timeout(PATIENCE_S):
                await server.drain(1000.0)
            assert client.recv(1) == b""

    run(main())


def test_tls_files_that_cannot_be_used_say_so(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    _, other_key = make_pair(tmp_path, "other")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked], check=True
    )
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nothing")
    for files, words in (
        ((tmp_path / "missing", key), "is no file"),
        ((certificate, tmp_path / "missing"), "is no file"),
        ((certificate, other_key), "does not belong"),
        ((nonsense, key), "no readable PEM"),
        ((certificate, nonsense), "no readable PEM"),
        ((certificate, locked), "no readable PEM"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            server_tls(*files)
        assert "None" not in caught.value.problem
