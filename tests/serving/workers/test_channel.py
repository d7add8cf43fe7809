"""A worker's side of the channel, with the supervisor's side played by the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from edgecnn.serving.faults import UnavailableError
from edgecnn.serving.workers.channel import WorkerChannel
from edgecnn.serving.workers.messages import (
    Answer,
    Answers,
    Asking,
    Beat,
    Broadcast,
    Call,
    Connection,
    FromWorker,
    Lost,
    Start,
    Status,
    Stop,
)
from edgecnn.serving.workers.pipe import Pipe

START = Start(entry="", document={}, index=1, workers=3, event_loop="", heartbeat_s=0.01, drain_s=1.0)

Pair = tuple[socket.socket, socket.socket]


class Played:
    """The supervisor: what it heard, without the heartbeats, and a way to say something."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: asyncio.Queue[object] = asyncio.Queue()
        self.beats = 0
        self.pipe: Pipe[Any] = Pipe(sock, msgspec.json.Decoder(FromWorker), self._hear, lambda: None)

    def _hear(self, message: object) -> None:
        if isinstance(message, Beat):
            self.beats += 1
        else:
            self.heard.put_nowait(message)

    async def hear(self) -> object:
        async with asyncio.timeout(30):
            return await self.heard.get()


@asynccontextmanager
async def _open() -> AsyncIterator[tuple[WorkerChannel, Played, list[bool]]]:
    ours, theirs = socket.socketpair()
    orphaned: list[bool] = []
    channel = WorkerChannel(theirs, START, lambda: orphaned.append(True))
    played = Played(ours)
    yield channel, played, orphaned
    await channel.close()
    played.pipe.close()


def test_it_beats_and_knows_its_place() -> None:
    async def scenario() -> None:
        async with _open() as (channel, played, _):
            assert (channel.index, channel.workers) == (1, 3)
            async with asyncio.timeout(30):
                while played.beats < 3:
                    await asyncio.sleep(0.001)

    asyncio.run(scenario())


def test_a_connection_is_acknowledged_before_it_is_handed_out(tcp_pair: Pair) -> None:
    async def scenario() -> None:
        async with _open() as (channel, played, _):
            steps = channel.connections()
            step = asyncio.ensure_future(anext(steps))
            assert await played.hear() == Asking()
            assert played.pipe.send_connection(Connection(), tcp_pair[1])
            connection = await step
            assert played.pipe._sock.recv(4096, socket.MSG_PEEK).endswith(
                b'{"type":"Status","taken":1,"open":1}'
            )
            assert not connection.getblocking()
            connection.close()
            channel.report(open_connections=0)
            channel.report(open_connections=0)
            assert await played.hear() == Status(1, 1)
            assert await played.hear() == Status(1, 0)
            await channel.close()
            assert played.heard.empty()

    asyncio.run(scenario())


def test_what_came_before_the_stop_is_still_served(tcp_pair: Pair) -> None:
    async def scenario() -> None:
        async with _open() as (channel, played, orphaned):
            for _ in range(3):
                played.pipe.send_connection(Connection(), tcp_pair[1])
            played.pipe.send(Stop())
            await asyncio.wait_for(channel.stopping.wait(), 30)
            connections = [each async for each in channel.connections()]
            assert len(connections) == 3
            for each in connections:
                each.close()
            assert orphaned == []

    asyncio.run(scenario())


def test_a_connection_that_there_is_no_room_for_goes_back(tcp_pair: Pair) -> None:
    async def scenario() -> None:
        async with _open() as (channel, played, _orphaned):
            assert played.pipe.send_connection(Connection(), tcp_pair[1])
            played.pipe.send(Connection())  # as where this process has too many files open to be given one
            assert await played.hear() == Lost(1)
            (await anext(channel.connections())).close()
            assert [await played.hear() for _ in range(2)] == [Asking(), Status(1, 1)]

    asyncio.run(scenario())


def test_without_a_supervisor_it_stops(tcp_pair: Pair) -> None:
    async def scenario() -> None:
        async with _open() as (channel, played, orphaned):
            waiting = asyncio.ensure_future(channel.broadcast({"a": 1}))
            assert await played.hear() == Broadcast(0, {"a": 1}, None)
            played.pipe.send_connection(Connection(), tcp_pair[1])
            played.pipe.close()
            await asyncio.wait_for(channel.stopping.wait(), 30)
            assert orphaned == [True]
            with pytest.raises(UnavailableError):
                await waiting
            with pytest.raises(UnavailableError):
                await channel.broadcast({"a": 1})
            assert [each async for each in channel.connections()] == []

    asyncio.run(scenario())


def test_messages_are_answered_whatever_the_handler_does() -> None:
    async def handler(message: dict[str, Any]) -> dict[str, Any]:
        match message["do"]:
            case "refuse":
                raise UnavailableError("No.", "Ask another.")
            case "fail":
                raise KeyError("x")
            case "nonsense":
                return {"answer": object()}
        return {"done": message["do"]}

    async def scenario() -> None:
        async with _open() as (channel, played, _):
            played.pipe.send(Call(0, {"do": "early"}))
            answer = await played.hear()
            assert isinstance(answer, Answer)
            assert "error" in answer.answer
            channel.on_broadcast(handler)
            for number, word in enumerate(("it", "refuse", "fail", "nonsense")):
                played.pipe.send(Call(number, {"do": word}))
            answers = [await played.hear() for _ in range(4)]
            assert answers[:3] == [
                Answer(0, {"done": "it"}),
                Answer(1, {"error": "No. Ask another.", "status": 503}),
                Answer(2, {"error": "'x'"}),
            ]
            assert isinstance(answers[3], Answer)
            assert "error" in answers[3].answer
            played.pipe.send(Answers(99, []))  # to nobody's question

    asyncio.run(scenario())
