"""The server: sockets in, connections out, timeouts looked after, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from edgecnn.errors import UsageError
from edgecnn.serving.faults import BadRequestError, RequestError, UnavailableError
from edgecnn.serving.http.access_log import AccessLog
from edgecnn.serving.http.answer import encode
from edgecnn.serving.http.connection import HttpConnection
from edgecnn.serving.http.limits import BodyBudget, HttpLimits
from edgecnn.serving.http.message import Headers, Request, error_response
from edgecnn.serving.http.routing import Router
from edgecnn.serving.http.surroundings import Surroundings

__all__ = ["HttpServer", "Observe", "open_listener"]

Observe = Callable[[Request, int, float], None]

_LOG: Final = logging.getLogger("edgecnn.serving")
_BACKLOG: Final = 1024
_SETTLE_S: Final = 0.25
_ACCEPTS_AT_ONCE: Final = 64
_ACCEPT_PAUSE_S: Final = 1.0
_RETRY: Final = (("retry-after", "1"),)
_FULL: Final = UnavailableError("The server has no room for another connection.", "Try again later.")
_STOPPING: Final = UnavailableError("The server is stopping.", "Try again in a moment.")
_IN_THE_CLEAR: Final = BadRequestError(
    "This port speaks TLS, and the request came without.", "Begin the URL with https://."
)


class HttpServer:
    """HTTP/1.1 for the routes of a router. Made and used inside one running event loop.

    Args:
        router: what answers.
        limits: of time, connections and memory.
        access_log: writes a line for each request; None writes none.
        observe: called with each request, its status (499: the client left) and its duration in seconds;
            a request whose head could not be read has the method "-".
        changed: called when a connection was opened or closed.
        ssl_context: of connections that are accepted, by :func:`~edgecnn.serving.http.tls.server_tls`.
        clock: seconds; the event loop's time, which with uvloop is the same clock at a coarser grain.
    """

    def __init__(
        self,
        router: Router,
        limits: HttpLimits | None = None,
        access_log: AccessLog | None = None,
        *,
        observe: Observe | None = None,
        changed: Callable[[], None] = lambda: None,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or HttpLimits()
        self._access_log = access_log
        self._observe = observe
        self._ssl_context = ssl_context
        self._loop = asyncio.get_running_loop()
        self._around = Surroundings(
            router,
            self._limits,
            clock,
            self._report,
            changed,
            BodyBudget(self._limits.max_body_bytes_in_flight),
        )
        self._listeners: list[socket.socket] = []
        self._handshakes: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Open ones, with those that are still at their TLS handshake."""
        return len(self._around.connections) + len(self._around.arriving)

    @property
    def body_bytes(self) -> int:
        """Bytes of bodies that are held for requests in flight."""
        return self._around.budget.used

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Accept connections to an address; may be called for several.

        Args:
            host: an address, or a name of one.
            port: 0 takes any that is free.

        Returns:
            The address and port that are bound.

        Raises:
            UsageError: the address cannot be bound.
        """
        listener = open_listener(host, port)
        self.serve(listener)
        bound = listener.getsockname()
        return bound[0], bound[1]

    def serve(self, listener: socket.socket) -> None:
        """Accept connections of a socket that listens already; it is closed when the server drains."""
        listener.setblocking(False)
        self._listeners.append(listener)
        self._loop.add_reader(listener.fileno(), self._accept_waiting, listener)

    async def accept(self, sock: socket.socket) -> None:
        """Take over a connection that somebody else accepted, and return once its handshake is done.

        Never raises for what the client did. Above the limit of connections, or while the server drains, it
        is answered with 503 and closed.
        """
        task = self._adopt(sock)
        if task is not None:
            await asyncio.wait({task})

    def shed(self, count: int) -> None:
        """Close so many connections, each after its next answer, so that their clients connect anew."""
        self._around.to_shed = count

    async def drain(self, timeout_s: float) -> None:
        """Accept nothing more, answer what was begun, and close; what is not done in time is cut off.

        Args:
            timeout_s: for all of it.
        """
        for listener in self._listeners:
            self._accept_waiting(listener, most=_BACKLOG)  # closing it would reset what the kernel has queued
        self._stop_accepting()
        self._around.draining = True
        end_s = self._loop.time() + timeout_s
        # A request may be on its way on a connection that looks idle: it is answered, and told to close.
        await asyncio.sleep(min(_SETTLE_S, timeout_s))
        for connection in tuple(self._around.connections):
            connection.drain()
        for handshake in self._handshakes:  # a probe that only connects would take header_timeout_s
            self._loop.call_later(self._limits.linger_s, handshake.cancel)
        while self.connections and self._loop.time() < end_s:
            await asyncio.sleep(min(0.01, max(0.0, end_s - self._loop.time())))
        await self.close()

    async def close(self) -> None:
        """Cut off every connection; handlers are cancelled."""
        self._stop_accepting()
        self._around.draining = True
        await asyncio.sleep(0)  # a task that never ran would not close its socket when it is cancelled
        for task in self._handshakes:
            task.cancel()
        for connection in tuple(self._around.connections):
            connection.abort()
        while self.connections:
            await asyncio.sleep(0)
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def sweep(self) -> None:
        """End what takes too long, now. The server does so by itself; with a clock of one's own, call it."""
        now = self._around.clock()
        for connection in tuple(self._around.connections):
            connection.expire(now)

    def _sweep_again(self) -> None:
        self.sweep()
        self._sweeping = None
        if self._around.connections:
            self._start_sweeping()

    def _start_sweeping(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(self._limits.sweep_s, self._sweep_again)

    def _accept_waiting(self, listener: socket.socket, most: int = _ACCEPTS_AT_ONCE) -> None:
        for _ in range(most):
            try:
                sock = listener.accept()[0]
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors or memory. The connection stays in the queue, and would wake us for ever.
                _LOG.warning("no connection accepted for %g s: %s", _ACCEPT_PAUSE_S, error)
                self._loop.remove_reader(listener.fileno())
                self._loop.call_later(_ACCEPT_PAUSE_S, self._accept_again, listener)
                return
            self._adopt(sock)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept_waiting, listener)

    def _adopt(self, sock: socket.socket) -> asyncio.Task[None] | None:
        if self._around.draining or self.connections >= self._limits.max_connections:
            self._turn_away(sock)
            return None
        connection = HttpConnection(self._around)
        self._around.arriving.add(connection)
        task = self._loop.create_task(self._connect(sock, connection))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)
        return task

    def _turn_away(self, sock: socket.socket) -> None:
        """Say why it is not taken. One that expects TLS could not read it."""
        sock.setblocking(False)
        with sock:
            if self._ssl_context is None:
                _answer(sock, _STOPPING if self._around.draining else _FULL, _RETRY)
        self._around.changed()  # who passed it on counts it until it is told

    async def _connect(self, sock: socket.socket, connection: HttpConnection) -> None:
        timeout_s = self._limits.header_timeout_s if self._ssl_context is not None else None
        spare: socket.socket | None = None
        try:
            sock.setblocking(False)
            if self._ssl_context is not None:
                spare = sock.dup()  # the event loop closes its own with a handshake that fails
            await self._loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=self._ssl_context,
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=self._limits.linger_s if self._ssl_context is not None else None,
            )
        except OSError as error:  # with ssl.SSLError and TimeoutError: the handshake failed, or it left
            _LOG.debug("connection not taken: %s", error)
            if spare is not None and getattr(error, "reason", None) == "HTTP_REQUEST":  # as OpenSSL calls it
                _answer(spare, _IN_THE_CLEAR)
            sock.close()
        else:
            self._start_sweeping()
        finally:
            if spare is not None:
                spare.close()
            if connection in self._around.arriving:  # it never was a connection, which would have told
                self._around.arriving.discard(connection)
                self._around.changed()

    def _stop_accepting(self) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    def _report(self, request: Request, status: int, sent: int, duration_s: float) -> None:
        if self._observe is not None:
            self._observe(request, status, duration_s)
        if self._access_log is not None:
            self._access_log.write(request, status, sent, duration_s)


def _answer(sock: socket.socket, error: RequestError, extra: Headers = ()) -> None:
    """The only thing that is said on a connection: it is new, and its buffer has room."""
    try:
        sock.send(b"".join(encode(error_response(error), extra, bodiless=False, close=True).pieces))
    except OSError:
        return  # the client left already


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens at the first address of ``host``.

    Raises:
        UsageError: there is no such address here, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name such as localhost may have an address of each family: clients expect the older one.
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"Nothing can listen at {host} port {port}: {error.strerror or error}.",
            "Choose another --host or --port; port 0 takes any that is free.",
        ) from error
