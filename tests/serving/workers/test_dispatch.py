"""Who gets a connection, with workers that are only pretended."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import cast

import pytest

from edgecnn.serving.workers.dispatch import Dispatcher
from edgecnn.serving.workers.process import WorkerProcess
from edgecnn.serving.workers.refusal import REFUSAL
from edgecnn.serving.workers.settings import SupervisorSettings

Pair = tuple[socket.socket, socket.socket]


@dataclass(eq=False)
class Pretended:
    load: int = 0
    is_ready: bool = True
    is_slow: bool = False
    takes: bool = True
    chosen: int = 0
    given: list[socket.socket] = field(default_factory=list)
    asked_to_shed: int = 0

    def give(self, connection: socket.socket) -> bool:
        self.given.append(connection)
        self.load += 1
        return True

    def shed(self, connections: int) -> None:
        self.asked_to_shed = connections


def _dispatcher(*workers: Pretended, **options: object) -> Dispatcher:
    settings = SupervisorSettings(entry="", **options)  # type: ignore[arg-type]
    return Dispatcher(lambda: cast("list[WorkerProcess]", list(workers)), settings)


@pytest.mark.parametrize(
    ("workers", "chosen"),
    [
        ((Pretended(load=3), Pretended(load=2)), 1),
        ((Pretended(load=2, chosen=9), Pretended(load=2, chosen=8)), 1),
        ((Pretended(load=0, is_slow=True), Pretended(load=5)), 1),
        ((Pretended(load=0, is_ready=False), Pretended(load=5)), 1),
        ((Pretended(load=0, takes=False), Pretended(load=5)), 1),
        ((Pretended(is_ready=False), Pretended(is_ready=False, takes=False)), 0),
    ],
)
def test_the_best_worker_is_chosen(workers: tuple[Pretended, ...], chosen: int, tcp_pair: Pair) -> None:
    async def scenario() -> None:
        _dispatcher(*workers).offer(tcp_pair[1])
        assert [len(each.given) for each in workers] == [1 - chosen, chosen]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("loads", "shed"),
    [((0, 64), (0, 32)), ((5, 6), (0, 0)), ((0, 1, 8), (0, 0, 5)), ((), ()), ((0, 0), (0, 0))],
)
def test_what_is_above_the_average_is_shed(loads: tuple[int, ...], shed: tuple[int, ...]) -> None:
    async def scenario() -> None:
        workers = [Pretended(load=each) for each in loads]
        _dispatcher(Pretended(load=100, is_ready=False), *workers).even_out()
        assert tuple(each.asked_to_shed for each in workers) == shed

    asyncio.run(scenario())


def test_those_that_wait_keep_their_order(tcp_pair: Pair) -> None:
    async def scenario() -> None:
        worker = Pretended(takes=False)
        dispatcher = _dispatcher(worker)
        first, second = (each.dup() for each in tcp_pair)
        dispatcher.offer(first)
        worker.takes = True
        dispatcher.offer(second)  # nobody overtakes
        assert worker.given == []
        dispatcher.flush()
        assert worker.given == [first, second]
        for each in worker.given:
            each.close()
        await dispatcher.close()

    asyncio.run(scenario())


def test_beyond_the_waiting_room_is_refused_at_once() -> None:
    async def scenario() -> bytes:
        dispatcher = _dispatcher(max_held=0)
        client, server = socket.socketpair()
        server.setblocking(False)
        client.setblocking(False)
        with client:
            dispatcher.offer(server)
            found = await asyncio.get_running_loop().sock_recv(client, 65536)
        await dispatcher.close()
        return found

    assert asyncio.run(scenario()) == REFUSAL


def test_the_refusal_is_well_formed() -> None:
    head, body = REFUSAL.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"content-length: {len(body)}".encode() in head
    assert b"retry-after: 1" in head
