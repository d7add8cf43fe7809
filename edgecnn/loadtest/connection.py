"""One HTTP/1.1 connection that carries one request at a time, with as little work as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from edgecnn.errors import DependencyMissingError

try:
    import httptools
except ModuleNotFoundError as error:
    raise DependencyMissingError("httptools", "A load test", "serve") from error

__all__ = ["Connection"]


class Connection(asyncio.Protocol):
    """Tells ``answered(status, body)`` of each answer, or once ``ended(of_http)`` that there will be none.

    Attributes:
        open: whether another request may be sent.
        lost: set while the system has none.
    """

    def __init__(
        self, answered: Callable[[int, bytes], None], ended: Callable[[bool], None], *, keep_body: bool
    ) -> None:
        """Wait to be connected.

        Args:
            answered: told when an answer is complete; ``open`` says already whether another may follow.
            ended: told when the connection is lost or closed by the other side, or what came is no HTTP
                (then its argument is False).
            keep_body: whether bodies are passed on; else they are dropped as they come.
        """
        self.open = False
        self.lost = asyncio.Event()
        self.lost.set()
        self._answered, self._ended = answered, ended
        self._keep_body = keep_body
        self._parts: list[bytes] = []
        self._status: int | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)

    def send(self, data: bytes) -> None:
        """Send a request; the last one must have been answered."""
        assert self._transport is not None
        self._transport.write(data)

    def drop(self) -> None:
        """Close at once, and tell nobody."""
        self.open = False
        self._answered, self._ended = _ignore, _ignore
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self._transport = cast(asyncio.Transport, transport)
        self.lost.clear()
        if self._ended is _ignore:
            self._transport.abort()  # it was dropped before it was made
        else:
            self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's."""
        self.lost.set()
        self._end(of_http=True)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(of_http=False)
            return
        # Told here, not within the parser, which would take an exception for a fault of the answer.
        if self._status is not None:
            status, self._status = self._status, None
            body, self._parts = b"".join(self._parts), []
            self._answered(status, body)

    def on_body(self, body: bytes) -> None:
        """httptools': a part of the body."""
        if self._keep_body:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """httptools': the answer is complete."""
        self._status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.open = False

    def _end(self, *, of_http: bool) -> None:
        ended = self._ended
        self.drop()
        ended(of_http)


def _ignore(*_: object) -> None:
    """For a connection that is given up."""
