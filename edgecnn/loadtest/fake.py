"""A server whose behaviour is known, in a thread of its own; never what a figure is reported from."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from edgecnn.loadtest.target import Target

__all__ = ["METADATA", "Behaviour", "fake_server"]

#: What its one model takes and gives.
METADATA = {
    "name": "m",
    "versions": ["1"],
    "platform": "onnx",
    "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 8, 8]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}],
}


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """What the server does; tests may change it while it runs.

    Attributes:
        delay_s: of each answer.
        room: requests at a time; those above get 429 at once.
        stall: number of a request (from 0) -> seconds that the whole server stands still when it comes.
        hang_up: numbers of requests that end the connection instead.
        garbage: numbers of requests that are answered by no HTTP.
        silent: numbers of requests that are never answered.
        close: whether each answer ends its connection.
        full: whether each connection is refused with 503 before it asks.
        bodies: of the requests that came, as long as it is kept short.
    """

    delay_s: float = 0.0
    room: int | None = None
    stall: dict[int, float] = field(default_factory=dict)
    hang_up: set[int] = field(default_factory=set)
    garbage: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    close: bool = False
    full: bool = False
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    served: int = 0
    under_way: int = 0
    connections: int = 0


async def _serve(behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    behaviour.connections += 1
    try:
        if behaviour.full:
            writer.write(_answer(503, b'{"error": "full"}', close=True))
            return
        while await _one(behaviour, reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def _one(behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    method, path, _ = head[0].split(" ")
    if not path.endswith("/infer") and not path.startswith("/v1/predict"):
        document = [{"name": "m"}] if path.endswith("/index") else METADATA
        writer.write(_answer(200, json.dumps(document).encode(), close=False))
        return True
    number, behaviour.served = behaviour.served, behaviour.served + 1
    if len(behaviour.bodies) < 100:
        behaviour.bodies.append((f"{method} {path}", body))
    if number in behaviour.stall:
        # The loop itself stands still, as a server does that has one thread and something else to do.
        Event().wait(behaviour.stall[number])
    if number in behaviour.silent:
        await asyncio.sleep(60)
    if number in behaviour.hang_up:
        return False
    if number in behaviour.garbage:
        writer.write(b"this is no HTTP\r\n\r\n")
        return False
    if behaviour.room is not None and behaviour.under_way >= behaviour.room:
        writer.write(_answer(429, b'{"error": "busy"}', close=behaviour.close))
        return not behaviour.close
    behaviour.under_way += 1
    if behaviour.delay_s:
        await asyncio.sleep(behaviour.delay_s)
    behaviour.under_way -= 1
    writer.write(_answer(200, body[-4:], close=behaviour.close))
    return not behaviour.close


def _answer(status: int, body: bytes, *, close: bool) -> bytes:
    end = "connection: close\r\n" if close else ""
    return f"HTTP/1.1 {status} x\r\n{end}content-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def fake_server(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Target]:
    """Runs within the ``with`` block, on a port of the system's choice.

    Args:
        behaviour: of it.
        tls: to speak, and nothing else; None for none.
    """
    started, port = Event(), 0
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def main() -> None:
        nonlocal port
        server = await asyncio.start_server(lambda r, w: _serve(behaviour, r, w), "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        started.set()
        await over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def work() -> None:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = Thread(target=work)
    thread.start()
    assert started.wait(10)
    try:
        yield Target(host="127.0.0.1", port=port, tls=tls is not None)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
