"""Requests cut up at random, and bytes that are none."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.serving.faults import RequestError
from edgecnn.serving.http.chunks import ChunkedBody
from edgecnn.serving.http.head import parse_head
from edgecnn.serving.http.limits import HttpLimits
from edgecnn.serving.http.routing import split_path

if TYPE_CHECKING:
    from tests.serving.http.conftest import Staging

GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /items/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#: Pieces that mean something, so that nonsense comes near to sense.
WORDS = st.sampled_from(
    (
        b"GET ;POST ;/ok; HTTP/1.1;\r\n;\r;\n;Host: x;Content-Length: ;5;Transfer-Encoding: chunked;"
        b"0\r\n\r\n;5 a=b\r\n;hello;: ; ;\t;\0;%;?"
    ).split(b";")
)
NONSENSE = st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=40).map(b"".join)


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """``body`` in chunks, some with extensions, perhaps with trailers."""
    cuts = sorted(draw(st.sets(st.integers(0, len(body)), max_size=5)) | {0, len(body)})
    wire = b""
    for start, end in pairwise(cuts):
        size = draw(st.sampled_from(["%x", "%X", "0%x", "%x;a=b", '%x;a="b"', "%x;a"]))
        wire += size.encode() % (end - start) + b"\r\n" + body[start:end] + b"\r\n"
    trailer = draw(st.sampled_from([b"", b"x-a: 1\r\n", b"x-a: 1\r\nx-b: \r\n"]))
    return wire + draw(st.sampled_from([b"0", b"000", b"0;a=b"])) + b"\r\n" + trailer + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request, and the body of its answer."""
    kind = draw(st.sampled_from(["get", "length", "chunks"]))
    if kind == "get":
        item = draw(st.sampled_from(["a", "b%20c", "%C3%A9"]))
        return f"GET /items/{item}?q=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode(), b""
    body = draw(st.one_of(st.binary(max_size=300), NONSENSE, st.just(b"\r\n\r\n" * 20)))
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
    if kind == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, body
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunked(body)), body


@settings(max_examples=40)
@given(asked=st.lists(requests(), min_size=1, max_size=5), data=st.data())
def test_where_requests_are_cut_makes_no_difference(
    staged: Staging, asked: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    wire = b"".join(request for request, _ in asked) + LAST
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=12)) | {0, len(wire)})

    async def main() -> None:
        async with staged() as stage:
            client = await stage.connect()
            for start, end in pairwise(cuts):
                await client.send(wire[start:end])
                await asyncio.sleep(0)
            for _, body in asked:
                answer = await client.answer()
                assert answer.status == 200
                assert not body or answer.body == body
            assert b"last" in (await client.answer()).body
            assert await client.rest() == b""
            assert stage.server.body_bytes == 0

    asyncio.run(main())


@settings(max_examples=100)
@given(data=st.lists(NONSENSE, max_size=4), good_first=st.booleans())
def test_nonsense_is_refused_and_the_server_goes_on(
    staged: Staging, data: list[bytes], good_first: bool
) -> None:
    async def main() -> None:
        async with staged(HttpLimits(max_header_bytes=200)) as stage:
            client = await stage.connect()
            with suppress(ConnectionError):  # refused already
                for part in [GET] * good_first + data:
                    await client.send(part)
                    await asyncio.sleep(0)
            assert (await stage.ask(GET)).status == 200
            stage.pass_time(100.0)  # an unfinished head or body
            stage.pass_time(100.0)  # the answer to it
            assert b" 500 " not in await client.rest()
            await client.close()
            await stage.until(lambda: stage.server.connections == 0)
            assert stage.server.body_bytes == 0

    asyncio.run(main())


@settings(max_examples=150)
@given(head=NONSENSE)
def test_a_head_is_read_or_refused(head: bytes) -> None:
    with suppress(RequestError):
        read = parse_head(head + b"\r\n\r\n")
        assert read.path.startswith("/")
        assert not (read.chunked and read.content_length is not None)


@settings(max_examples=100)
@given(path=st.text(alphabet="/%2Fa.0e\x00é", max_size=20))
def test_a_path_is_split_or_refused(path: str) -> None:
    with suppress(RequestError):
        assert len(split_path("/" + path)) == path.count("/") + 1


@settings(max_examples=100)
@given(body=st.one_of(st.binary(max_size=200), NONSENSE), after=NONSENSE, data=st.data())
def test_chunks_end_where_they_end(body: bytes, after: bytes, data: st.DataObject) -> None:
    wire = data.draw(chunked(body))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire)), max_size=10)) - {len(wire)} | {0})
    reserved: list[int] = []
    chunks = ChunkedBody(1000, reserved.append)
    for start, end in pairwise(cuts):
        assert chunks.feed(wire[start:end]) is None
    assert chunks.feed(wire[cuts[-1] :] + after) == len(wire) - cuts[-1]
    assert chunks.body == body
    assert sum(reserved) == len(body)
