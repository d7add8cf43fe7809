"""A worker's side of the channel to its supervisor."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any

import msgspec

from edgecnn.errors import EdgecnnError
from edgecnn.serving.faults import RequestError, UnavailableError
from edgecnn.serving.workers.messages import (
    Answer,
    Answers,
    Asking,
    Beat,
    Broadcast,
    Call,
    Connection,
    Failed,
    FromSupervisor,
    Leaving,
    Lost,
    Ready,
    Shed,
    Start,
    Status,
    Stop,
)
from edgecnn.serving.workers.pipe import Pipe

__all__ = ["BroadcastHandler", "WorkerChannel"]

_LOG = logging.getLogger(__name__)

#: Takes the message and returns the answer: both are JSON objects.
BroadcastHandler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class WorkerChannel:
    """What a worker has of its supervisor.

    Attributes:
        index: of this worker, from 0.
        workers: how many there are.
        stopping: set when the worker is to finish what it has begun, and return.
    """

    def __init__(self, sock: socket.socket, start: Start, orphaned: Callable[[], None]) -> None:
        """Call it within the event loop.

        Args:
            sock: to the supervisor.
            start: its first message.
            orphaned: called when the supervisor is gone.
        """
        self.index, self.workers = start.index, start.workers
        self.stopping = asyncio.Event()
        self._orphaned = orphaned
        self._arrived: asyncio.Queue[socket.socket | None] = asyncio.Queue()
        self._taken = self._open = 0
        self._report_due = self._closing = False
        self._handler: BroadcastHandler = _no_handler
        self._shed: Callable[[int], None] = lambda _count: None
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[list[dict[str, Any]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._pipe = Pipe(sock, msgspec.json.Decoder(FromSupervisor), self._receive, self._closed)
        self._beat(start.heartbeat_s)

    async def connections(self) -> AsyncIterator[socket.socket]:
        """The connections given to this worker, non-blocking, until it is to stop.

        The supervisor passes connections from the first step on: before ``ready``, only if no other worker is
        ready. Iterate early for a server that answers "not ready yet"; later for one that does not answer.
        """
        self._pipe.send(Asking())
        while (connection := await self._arrived.get()) is not None:
            self._taken += 1
            self._open += 1
            self._report()
            # Only now is it ours: had we died before, the supervisor would have given it to another worker.
            await self._pipe.sent()
            yield connection

    def report(self, *, open_connections: int) -> None:
        """Say how many of the connections taken are open, when one closes; the same number again is free.

        Taking one counts by itself.
        """
        if open_connections == self._open:
            return
        self._open = open_connections
        if not self._report_due:
            self._report_due = True
            self._loop.call_soon(self._report)

    def ready(self) -> None:
        """Say that the worker is warm: from now on it is preferred, and watched for silence."""
        self._pipe.send(Ready())

    def leave(self) -> None:
        """Ask to be replaced: ``stopping`` is set when the replacement is ready."""
        self._pipe.send(Leaving())

    def failed(self, error: EdgecnnError) -> None:
        """Say why this worker ends."""
        self._pipe.send(Failed(error.problem, error.remedy, error.exit_code))

    async def broadcast(self, message: dict[str, Any], *, keep: str | None = None) -> list[dict[str, Any]]:
        """Send a message to all workers, this one included, and wait for their answers.

        Args:
            message: a JSON object.
            keep: a topic. Workers that start later are sent its latest message too, before they count as
                ready, unless an answer had the key "error". Kept broadcasts run one after another.

        Returns:
            The answers; a worker that dies meanwhile gives none. One whose handler failed answers
            ``{"error": "..."}``, with HTTP's "status" where it refused.

        Raises:
            UnavailableError: the supervisor is gone.
        """
        if self._pipe.is_closed:
            raise _gone()
        number = next(self._numbers)
        future: asyncio.Future[list[dict[str, Any]]] = self._loop.create_future()
        self._asked[number] = future
        try:
            self._pipe.send(Broadcast(number, message, keep))
            return await future
        finally:
            del self._asked[number]

    def on_broadcast(self, handler: BroadcastHandler) -> None:
        """Let ``handler`` answer broadcast messages; set it before ``ready``."""
        self._handler = handler

    def on_shed(self, handler: Callable[[int], None]) -> None:
        """Let ``handler`` mark so many connections to be closed, each after its next answer.

        Clients that keep connections open went to other workers when one died, and would never come back to
        its replacement by themselves. Where there is no handler, they stay.
        """
        self._shed = handler

    async def close(self) -> None:
        """Close the channel once all is sent; the supervisor takes it for this worker's end."""
        self._closing = True
        await self._pipe.sent()
        self._pipe.close()

    def _receive(self, message: FromSupervisor) -> None:
        match message:
            case Connection():
                self._arrive(self._pipe.take_connection())
            case Shed(connections):
                self._shed(connections)
            case Stop():
                self._stop()
            case Call():
                task = self._loop.create_task(self._answer(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Answers(number, answers):
                if (future := self._asked.get(number)) is not None and not future.done():
                    future.set_result(answers)
            case Start():
                _LOG.error("The supervisor started this worker twice.")

    def _arrive(self, connection: socket.socket | None) -> None:
        if connection is None:
            _LOG.error("Too many files are open: a connection goes back. Raise the limit (ulimit -n).")
            self._pipe.send(Lost(self._arrived.qsize()))
            return
        connection.setblocking(False)
        self._arrived.put_nowait(connection)

    async def _answer(self, call: Call) -> None:
        try:
            answer = await self._handler(call.message)
            msgspec.json.encode(answer)
        except RequestError as error:
            answer = {"error": error.sentence, "status": error.status}
        except Exception as error:  # noqa: BLE001 - whatever it is, the sender must not wait for ever
            _LOG.exception("The handler of broadcasts failed.")
            answer = {"error": str(error) or type(error).__name__}
        self._pipe.send(Answer(call.number, answer))

    def _report(self) -> None:
        self._report_due = False
        self._pipe.send(Status(self._taken, self._open))

    def _beat(self, interval_s: float) -> None:
        if not self._pipe.is_closed:
            self._pipe.send(Beat())
            self._loop.call_later(interval_s, self._beat, interval_s)

    def _stop(self) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
            self._arrived.put_nowait(None)

    def _closed(self) -> None:
        while not self._arrived.empty():
            if (connection := self._arrived.get_nowait()) is not None:
                connection.close()
        self.stopping.set()
        self._arrived.put_nowait(None)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(_gone())
        if not self._closing:
            self._orphaned()


async def _no_handler(message: dict[str, Any]) -> dict[str, Any]:
    return {"error": f"This worker takes no messages, and got one with {', '.join(message) or 'nothing'}."}


def _gone() -> UnavailableError:
    return UnavailableError("The supervisor of this worker is gone.", "Start the server again.")
