"""One client: a connection that is made anew when it is lost, and one request under way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from edgecnn.loadtest.connection import Connection
from edgecnn.loadtest.plan import Payload
from edgecnn.loadtest.records import Fault, Recorder
from edgecnn.loadtest.target import Target

__all__ = ["Caller", "Surroundings"]

#: Between two attempts to connect: a server that is gone must not be asked a thousand times a second.
_RECONNECT_S = 0.02


@dataclass(slots=True)
class Surroundings:
    """What all callers of a run share.

    Attributes:
        target: the server.
        tls: of its connections; None for none.
        payloads: sent in turn.
        recorder: told of each request that ended.
        clock: nanoseconds, never running backwards.
        sent: how many payloads were taken.
    """

    target: Target
    tls: ssl.SSLContext | None
    payloads: tuple[Payload, ...]
    recorder: Recorder
    clock: Callable[[], int]
    sent: int = 0

    def take(self) -> int:
        """Which payload is next."""
        at = self.sent % len(self.payloads)
        self.sent += 1
        return at


class Caller:
    """Sends a request when told to, and tells when it has ended."""

    def __init__(self, surroundings: Surroundings, done: Callable[[Caller], None]) -> None:
        """Be idle, without a connection.

        Args:
            surroundings: shared by all.
            done: told after each request that ended, however it did.
        """
        self._around, self._done = surroundings, done
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._keep_body = any(payload.right is not None for payload in surroundings.payloads)
        self._payload = -1
        self._due_ns = self._sent_ns = 0

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._payload >= 0

    @property
    def due_ns(self) -> int:
        """When the request under way was due."""
        return self._due_ns

    async def connect(self) -> None:
        """Make a connection where there is none.

        Raises:
            OSError: none can be made.
        """
        if self._connection is not None:
            if self._connection.open:
                return
            self._connection.drop()
        target = self._around.target
        # Known before it is made: a server that is full answers at once, and closes.
        connection = Connection(self._answered, self._ended, keep_body=self._keep_body)
        self._connection = connection
        await asyncio.get_running_loop().create_connection(
            lambda: connection, target.host, target.port, ssl=self._around.tls
        )

    def start(self, due_ns: int) -> None:
        """Send the next payload, which was due at ``due_ns``; only while idle."""
        self._payload = self._around.take()
        self._due_ns, self._sent_ns = due_ns, 0
        if self._connection is not None and self._connection.open:
            self._send(self._connection)
            return
        self._connecting = asyncio.get_running_loop().create_task(self._connect_and_send())

    def give_up(self) -> None:
        """End the request under way, whose time is over."""
        self._stop_connecting()
        if self._connection is not None:
            self._connection.drop()
        self._finish(0, Fault.TIMEOUT)

    async def close(self) -> None:
        """Drop the connection, without a word of a request that may be under way; wait until it is gone."""
        self._stop_connecting()
        self._payload = -1
        if self._connection is not None:
            self._connection.drop()
            await self._connection.lost.wait()

    async def _connect_and_send(self) -> None:
        try:
            await self.connect()
        except OSError:
            await asyncio.sleep(_RECONNECT_S)
            self._finish(0, Fault.CONNECT)
            return
        # It may have been answered, or lost, before anything was sent.
        if self._connecting is asyncio.current_task() and self._connection is not None:
            self._connecting = None
            self._send(self._connection)

    def _stop_connecting(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None

    def _send(self, connection: Connection) -> None:
        self._sent_ns = self._around.clock()
        connection.send(self._around.payloads[self._payload].data)

    def _answered(self, status: int, body: bytes) -> None:
        if self._connection is not None and not (self.busy and self._connection.open):
            # The server said that it was the last, or it answered nothing: a 408 to an idle connection.
            self._connection.drop()
        if not self.busy:
            return
        right = self._around.payloads[self._payload].right
        wrong = right is not None and not right(status, body)
        self._finish(status, Fault.WRONG if wrong else Fault.NONE)

    def _ended(self, of_http: bool) -> None:
        if self.busy:
            self._finish(0, Fault.RESET if of_http else Fault.PROTOCOL)

    def _finish(self, status: int, fault: Fault) -> None:
        now = self._around.clock()
        moments = (self._due_ns, self._sent_ns or now, now)
        self._around.recorder.add(moments, self._payload, status, fault)
        self._payload, self._connecting = -1, None
        self._done(self)
