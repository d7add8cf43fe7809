"""Slow clients, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from edgecnn.errors import UsageError
from edgecnn.serving.http.limits import HttpLimits

if TYPE_CHECKING:
    from tests.serving.http.conftest import Run, Staging

LIMITS = HttpLimits(
    header_timeout_s=10, body_timeout_s=60, body_grace_s=5, idle_timeout_s=75, write_timeout_s=30, linger_s=2
)
GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"


async def settle() -> None:
    """Let what was sent over loopback arrive."""
    await asyncio.sleep(0.02)


def test_a_connection_that_says_nothing_is_closed(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            await stage.until(lambda: stage.server.connections == 1)
            await settle()
            stage.pass_time(9.9)
            assert stage.server.connections == 1
            stage.pass_time(0.2)
            assert await client.rest() == b""

    run(main())


def test_a_head_that_does_not_end_gets_408(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            for byte in b"GET /":
                await client.send(bytes([byte]))
                await settle()
                stage.pass_time(1.9)  # each byte in time does not help the whole
            stage.pass_time(1.0)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (408, "close")
            assert await client.rest() == b""
            assert stage.observed == [("-", "-", 408)]

    run(main())


def test_an_idle_connection_is_closed_without_an_answer(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            assert (await client.ask(GET)).status == 200
            stage.pass_time(74.0)
            assert (await client.ask(GET)).status == 200
            stage.pass_time(76.0)
            assert await client.rest() == b""

    run(main())


@pytest.mark.parametrize("head", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_body_below_the_least_rate_gets_408(run: Run, staged: Staging, head: str) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            await client.send(f"POST /echo HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n186a0\r\n".encode())
            await settle()
            stage.pass_time(4.9)
            await client.send(bytes(6000))
            await settle()
            stage.pass_time(0.2)  # 6,000 bytes in 5.1 s are enough
            await settle()
            assert stage.observed == []
            stage.pass_time(2.0)
            assert (await client.answer()).status == 408
            assert stage.server.body_bytes == 0

    run(main())


def test_a_body_that_takes_too_long_gets_408_at_any_rate(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            await client.send(
                b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + bytes(4_000_000)
            )
            await stage.until(lambda: stage.server.body_bytes > 0)
            await settle()
            stage.pass_time(59.9)
            assert stage.observed == []
            stage.pass_time(0.2)
            assert (await client.answer()).status == 408

    run(main())


def test_a_handler_may_take_longer_than_any_of_these(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            await client.send(b"GET /wait/a HTTP/1.1\r\nHost: x\r\n\r\n")
            await stage.until(lambda: len(stage.seen) == 1)
            stage.pass_time(1e6)
            stage.gate.set()
            assert (await client.answer()).status == 200

    run(main())


@pytest.mark.parametrize("ending", ["", "Connection: close\r\n"])
def test_a_client_that_does_not_take_its_answer_is_cut_off(run: Run, staged: Staging, ending: str) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            cast("asyncio.Transport", client.writer.transport).pause_reading()
            await client.send(f"GET /large/64 HTTP/1.1\r\nHost: x\r\n{ending}\r\n".encode())
            await stage.until(lambda: len(stage.observed) == 1)
            await settle()
            stage.pass_time(31.0)  # may have taken something since the answer began
            await settle()
            stage.pass_time(31.0)
            await stage.until(lambda: stage.server.connections == 0)

    run(main())


def test_a_client_that_takes_its_answer_slowly_is_not_cut_off(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            await client.send(b"GET /large/64 HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head
            for _ in range(16):
                await client.reader.readexactly(4 << 20)
                await settle()
                stage.pass_time(29.0)
            assert (await client.answer()).status == 200

    run(main())


def test_a_refused_client_that_never_stops_sending_is_cut_off(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(LIMITS) as stage:
            client = await stage.connect()
            await client.send(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
            assert (await client.answer()).status == 404
            await client.send(bytes(100_000))
            assert stage.server.connections == 1
            stage.pass_time(2.1)
            await stage.until(lambda: stage.server.connections == 0)

    run(main())


def test_the_server_sweeps_by_itself(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(HttpLimits(header_timeout_s=0.02)) as stage:
            client = await stage.connect()
            await stage.until(lambda: stage.server.connections == 1)
            stage.clock.now += 1.0
            assert await client.rest() == b""

    run(main())


def test_limits_are_above_zero() -> None:
    with pytest.raises(UsageError, match="max_connections is 0"):
        HttpLimits(max_connections=0)
    with pytest.raises(UsageError, match="max_body_bytes_in_flight"):
        HttpLimits(max_body_bytes=10, max_body_bytes_in_flight=9)
