"""The channel between two processes: whole messages from any pieces, connections in order, nothing leaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.serving.workers.messages import Answer, Beat, Connection, FromWorker, Status
from edgecnn.serving.workers.pipe import HEAD, Pipe, frame

MESSAGES = st.lists(
    st.one_of(
        st.builds(Beat),
        st.builds(Status, st.integers(0, 2**40), st.integers(0, 2**40)),
        st.builds(Answer, st.integers(0, 9), st.dictionaries(st.text(max_size=5), st.text(max_size=300))),
    ),
    max_size=8,
)


class End:
    """A pipe that remembers."""

    def __init__(self, sock: socket.socket) -> None:
        self.got: list[object] = []
        self.connections: list[socket.socket | None] = []
        self.closings = 0
        self.pipe = Pipe(sock, msgspec.json.Decoder(FromWorker | Connection), self.receive, self.closed)

    def receive(self, message: object) -> None:
        self.got.append(message)
        if isinstance(message, Connection):
            self.connections.append(self.pipe.take_connection())

    def closed(self) -> None:
        self.closings += 1

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.got) < count and not self.closings:
                await asyncio.sleep(0)


@given(messages=MESSAGES, data=st.data())
@settings(max_examples=40)
def test_any_pieces_make_the_same_messages(messages: list[msgspec.Struct], data: st.DataObject) -> None:
    stream = b"".join(map(frame, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        end = End(theirs)
        with ours:
            for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                ours.sendall(stream[start:stop])
                await asyncio.sleep(0)
            await end.heard(len(messages))
        end.pipe.close()
        assert end.got == messages
        assert end.closings == 1

    asyncio.run(scenario())


@given(stream=st.binary(min_size=1, max_size=200))
@settings(max_examples=40)
def test_noise_closes_and_nothing_else(stream: bytes) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        end = End(theirs)
        with ours, suppress(ConnectionError):
            ours.sendall(stream)
            ours.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(30):
                while not end.closings:
                    await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_length_beyond_reason_closes() -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        end = End(theirs)
        with ours:
            ours.sendall(HEAD.pack(2**31))
            await end.heard(1)
        assert end.closings == 1

    asyncio.run(scenario())


def test_more_than_the_kernel_holds_arrives(
    files: Callable[[], int], tcp_pair: tuple[socket.socket, socket.socket]
) -> None:
    _, server = tcp_pair

    async def scenario() -> None:
        before = files()
        one, other = (End(each) for each in socket.socketpair())
        big = Answer(1, {"text": "x" * 3_000_000})
        one.pipe.send(big)
        one.pipe.send(Beat())
        assert not one.pipe.send_connection(Connection(), server)  # it would overtake what waits
        await one.pipe.sent()
        await other.heard(2)
        assert other.got == [big, Beat()]
        one.pipe.close()
        await other.heard(3)
        assert other.closings == 1
        assert files() == before

    asyncio.run(scenario())


def test_connections_keep_their_place_among_messages(
    files: Callable[[], int], tcp_pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = tcp_pair

    async def scenario() -> None:
        before = files()
        one, other = (End(each) for each in socket.socketpair())
        for number in range(40):
            one.pipe.send(Status(number, 0))
            assert one.pipe.send_connection(Connection(), server)
        await other.heard(80)
        assert other.got == [m for number in range(40) for m in (Status(number, 0), Connection())]
        for each in other.connections:
            assert each is not None
            assert each.getpeername() == client.getsockname()
            assert not each.get_inheritable()
            each.close()
        other.pipe.close()
        await one.heard(1)
        assert files() == before

    asyncio.run(scenario())


def test_connections_that_nobody_reads_are_refused_at_last_and_do_not_leak(
    files: Callable[[], int], tcp_pair: tuple[socket.socket, socket.socket]
) -> None:
    _, server = tcp_pair

    async def scenario() -> None:
        before = files()
        ours, theirs = socket.socketpair()
        end = End(ours)
        given_away = 0
        while end.pipe.send_connection(Connection(), server):
            given_away += 1
        assert given_away > 64  # a window
        theirs.close()
        await end.heard(1)
        assert not end.pipe.send_connection(Connection(), server)
        assert files() == before

    asyncio.run(scenario())


def test_untaken_ones_close_with_the_pipe(
    files: Callable[[], int], tcp_pair: tuple[socket.socket, socket.socket]
) -> None:
    _, server = tcp_pair

    async def scenario() -> None:
        before = files()
        one, other = (End(each) for each in socket.socketpair())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(other.pipe, "take_connection", lambda: None)
            one.pipe.send_connection(Connection(), server)
            await other.heard(1)
        assert files() == before + 3
        other.pipe.close()
        one.pipe.close()
        assert files() == before

    asyncio.run(scenario())
