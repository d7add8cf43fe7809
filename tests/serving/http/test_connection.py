"""Requests and answers over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from edgecnn.serving.http.limits import HttpLimits

if TYPE_CHECKING:
    from tests.serving.http.conftest import Run, Staging

GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"


def post(path: str, body: bytes, *fields: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def test_an_answer_is_complete(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            answer = await client.ask(GET)
            assert answer.status == 200
            assert json.loads(answer.body) == {"path": "/ok", "parameters": {}}
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["date"].endswith(" GMT")
            assert answer.headers["x-request-id"]
            assert not {"server", "connection", "access-control-allow-origin"} & answer.headers.keys()
            assert (await client.ask(GET)).headers["x-request-id"] != answer.headers["x-request-id"]

    run(main())


@pytest.mark.parametrize("size", [0, 1, 9_999, 65_536, 70_000, 3_000_000])
def test_a_body_of_any_size_comes_whole_and_writable(run: Run, staged: Staging, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]

    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            for _ in range(3):  # memory is used again
                answer = await client.ask(post("/echo", body))
                assert (answer.status, answer.body) == (200, body)
            assert stage.server.body_bytes == 0
            if size:
                assert not memoryview(stage.seen[0].body).readonly

    run(main())


def test_a_body_that_a_handler_kept_is_not_overwritten(run: Run, staged: Staging) -> None:
    first, second = b"a" * 200_000, b"b" * 200_000

    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.ask(post("/echo", first))
            await client.ask(post("/echo", second))
            assert [bytes(request.body) for request in stage.seen] == [first, second]

    run(main())


def test_chunks_are_put_together_and_what_follows_is_read(run: Run, staged: Staging) -> None:
    chunked = (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n7;name=value\r\n, world\r\n0\r\nx-trailer: 1\r\n\r\n"
    )

    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.send(chunked + GET + chunked)
            assert (await client.answer()).body == b"hello, world"
            assert b"/ok" in (await client.answer()).body
            assert (await client.answer()).body == b"hello, world"

    run(main())


def test_pipelined_requests_are_answered_in_order(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            waits = b"GET /wait/first HTTP/1.1\r\nHost: x\r\n\r\n"
            others = [post("/echo", str(number).encode()) for number in range(50)]
            await client.send(waits + b"".join(others))
            await stage.until(lambda: len(stage.seen) == 1)
            await asyncio.sleep(0.01)
            assert len(stage.seen) == 1  # one at a time
            stage.gate.set()
            assert b"/wait/first" in (await client.answer()).body
            for number in range(50):
                assert (await client.answer()).body == str(number).encode()

    run(main())


def test_a_client_that_pipelines_without_end_is_not_read_without_end(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(HttpLimits(max_pipelined_bytes=10_000)) as stage:
            client = await stage.connect()
            await client.send(b"GET /wait/first HTTP/1.1\r\nHost: x\r\n\r\n")
            await stage.until(lambda: len(stage.seen) == 1)
            flood = asyncio.create_task(client.send(GET * 300_000))
            await asyncio.sleep(0.05)
            assert not flood.done()  # 8 MB do not fit into the socket's buffers
            flood.cancel()
            stage.gate.set()
            assert b"/wait/first" in (await client.answer()).body
            for _ in range(1000):
                assert (await client.answer()).status == 200

    run(main())


def test_expect_is_answered_before_the_body(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.send(post("/echo", b"", "Expect: 100-continue").replace(b": 0", b": 5"))
            assert (await client.answer()).status == 100
            assert (await client.ask(b"hello")).body == b"hello"

    run(main())


def test_expect_of_a_refused_request_is_not_answered_with_continue(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            asks = post("/nowhere", b"", "Expect: 100-continue").replace(b": 0", b": 5")
            answer = await client.ask(asks)
            assert (answer.status, answer.headers["connection"]) == (404, "close")

    run(main())


def test_a_body_above_the_limit_is_refused_at_the_head(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged(HttpLimits(max_body_bytes=1000, max_body_bytes_in_flight=1000)) as stage:
            answer = await stage.ask(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
            assert (answer.status, answer.headers["connection"]) == (413, "close")
            assert "1001" in json.loads(answer.body)["error"]
            answer = await stage.ask(post("/small", b"12345678901"))
            assert answer.status == 413
            assert stage.seen == []

    run(main())


def test_a_refused_client_that_goes_on_sending_can_read_its_answer(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            answer = await client.ask(post("/small", bytes(2_000_000)))
            assert answer.status == 413
            assert await client.rest() == b""

    run(main())


def test_chunks_above_the_limit_are_refused_while_they_come(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.send(b"POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            await client.send(b"6\r\n123456\r\n")
            assert (await client.ask(b"6\r\n123456\r\n")).status == 413
            assert stage.server.body_bytes == 0

    run(main())


def test_bodies_of_all_together_are_bounded(run: Run, staged: Staging) -> None:
    limits = HttpLimits(max_body_bytes=1000, max_body_bytes_in_flight=1500)

    async def main() -> None:
        async with staged(limits) as stage:
            first = await stage.connect()
            await first.send(post("/wait/a", bytes(1000)))
            await stage.until(lambda: len(stage.seen) == 1)
            answer = await stage.ask(post("/echo", bytes(501)))
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
            assert (await stage.ask(post("/echo", bytes(500)))).status == 200
            stage.gate.set()
            await first.answer()
            assert (await stage.ask(post("/echo", bytes(1000)))).status == 200

    run(main())


def test_a_client_that_leaves_cancels_its_handler(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.send(post("/wait/a", bytes(100_000)))
            await stage.until(lambda: len(stage.seen) == 1)
            await client.close()
            await stage.until(lambda: stage.cancelled == ["/wait/a"])
            assert stage.observed == [("POST", "/wait/a", 499)]
            assert stage.server.body_bytes == 0

    run(main())


def test_a_client_that_leaves_within_its_body_leaves_nothing(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.send(post("/echo", bytes(100_000))[:50_000])
            await stage.until(lambda: stage.server.body_bytes == 100_000)
            await client.close()
            await stage.until(lambda: stage.server.connections == 0)
            assert stage.server.body_bytes == 0
            assert stage.seen == []

    run(main())


@pytest.mark.parametrize(
    ("how", "status"), [("refuse", 400), ("raise", 500), ("cancel", 500), ("header", 500), ("type", 500)]
)
def test_what_a_handler_raises_is_answered(
    run: Run, staged: Staging, caplog: pytest.LogCaptureFixture, how: str, status: int
) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            answer = await client.ask(f"GET /fail/{how} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer.status == status
            error = json.loads(answer.body)["error"]
            if status == 400:
                assert error == "The input is bad. Send a good one."
            else:
                assert error.startswith("The server failed.")
                assert answer.headers["x-request-id"] in caplog.text
            assert "secret" not in error
            assert "set-cookie" not in answer.headers
            assert (await client.ask(GET)).status == 200  # the connection lives on

    run(main())


def test_head_is_answered_as_get_without_a_body(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.send(GET.replace(b"GET", b"HEAD") + GET.replace(b"GET /ok", b"HEAD /nowhere") + GET)
            first = await client.answer(bodiless=True)
            missing = await client.answer(bodiless=True)
            last = await client.answer()
            assert (first.status, missing.status, last.status) == (200, 404, 200)
            assert first.headers["content-length"] == last.headers["content-length"]

    run(main())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /ok HTTP/1.0\r\n\r\n",
        b"GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n",
    ],
)
def test_the_connection_is_closed_when_the_client_says_so(
    run: Run, staged: Staging, request_bytes: bytes
) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            answer = await client.ask(request_bytes)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.rest() == b""

    run(main())


def test_ids_are_repeated_when_they_are_well_formed(run: Run, staged: Staging) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            answer = await client.ask(post("/ok", b"", "X-Request-Id: abc", f"traceparent: {trace}"))
            assert answer.headers["x-request-id"] == "abc"
            assert answer.headers["traceparent"] == trace
            assert stage.seen[0].traceparent == trace
            bad = await client.ask(post("/ok", b"", f"X-Request-Id: {'a' * 200}", "traceparent: 00-0-0-0"))
            assert len(bad.headers["x-request-id"]) < 40
            assert "traceparent" not in bad.headers

    run(main())


def test_a_large_answer_comes_whole(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            await client.send(b"GET /large/8 HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
            assert (await client.answer()).body == bytes(8 << 20)
            assert (await client.answer()).status == 200

    run(main())


def test_what_a_request_holds(run: Run, staged: Staging) -> None:
    async def main() -> None:
        async with staged() as stage:
            await stage.ask(
                b"GET /items/a%2Fb%20c?k=5&k=6&empty=&%C3%A9=1 HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\n"
                b"Content-Type: Text/Plain; charset=utf-8\r\n\r\n"
            )
            request = stage.seen[0]
            assert request.path == "/items/a/b c"
            assert request.parameters == {"item": "a/b c"}
            assert request.route == "/items/{item}"
            assert request.query == {"k": ["5", "6"], "empty": [""], "é": ["1"]}
            assert request.headers["a"] == "1, 2"
            assert request.media_type == "text/plain"
            assert request.peer.startswith("127.0.0.1:")
            assert request.received_s == stage.clock.now

    run(main())
