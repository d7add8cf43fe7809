"""A body that comes in chunks, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httptools

from edgecnn.serving.faults import RequestError, TooLargeError
from edgecnn.serving.http.refusals import malformed

__all__ = ["ChunkedBody"]

#: The chunks are read by a parser of their own, which never saw the client's head.
_HEAD: Final = b"POST / HTTP/1.1\r\nhost: -\r\ntransfer-encoding: chunked\r\n\r\n"
_END: Final = b"\r\n\r\n"
#: Bytes of chunk sizes, extensions and trailers: so many at least are let pass, and so many a byte of body
#: (one-byte chunks, the worst that an honest client sends, need five).
_OVERHEAD_BYTES: Final = 16384
_OVERHEAD_PER_BYTE: Final = 6


class ChunkedBody:
    """Gathers the chunks of one body; trailers are checked and dropped.

    Args:
        max_bytes: what the body may hold.
        reserve: called with the bytes that each feed adds, before they are kept; raises RequestError when
            the server has no room for them.

    Attributes:
        body: what came so far.
        wire_bytes: what came so far, with chunk sizes and trailers.
    """

    def __init__(self, max_bytes: int, reserve: Callable[[int], None]) -> None:
        self.body = bytearray()
        self.wire_bytes = 0
        self._max_bytes = max_bytes
        self._reserve = reserve
        self._complete = False
        self._fault: RequestError | None = None
        self._tail = b""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_HEAD)

    def feed(self, data: bytes) -> int | None:
        """Take what came.

        Returns:
            How many of the bytes belong to the body when it is complete, otherwise None.

        Raises:
            RequestError: malformed, too large, or no room for it.
        """
        # llhttp does not say where in its input a message ended. Every message ends with an empty line, so
        # it is given no byte beyond one without being asked whether that was the end.
        joined = self._tail + data
        start, offset = 0, len(self._tail)
        while not self._complete and start < len(data):
            found = joined.find(_END, max(0, start + offset - 3))
            end = found + 4 - offset if found >= 0 else len(data)
            self._parse(data[start:end])
            start = end
        self._tail = joined[-3:]
        return start if self._complete else None

    def _parse(self, piece: bytes) -> None:
        self.wire_bytes += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserError as error:
            raise malformed(f"has a malformed chunked body ({str(error).rstrip('.').lower()})") from error
        if self._fault is not None:
            raise self._fault
        held = len(self.body)
        if self.wire_bytes - held > _OVERHEAD_BYTES + _OVERHEAD_PER_BYTE * held:
            raise malformed("has more chunk extensions and trailers than are let pass")

    def on_body(self, data: bytes) -> None:
        """One piece of a chunk, called by the parser."""
        if self._fault is not None:
            return
        try:
            if len(self.body) + len(data) > self._max_bytes:
                raise TooLargeError(
                    f"The body is larger than {self._max_bytes} bytes.", "Send less at a time."
                )
            self._reserve(len(data))
        except RequestError as error:
            self._fault = error
        else:
            self.body += data

    def on_message_complete(self) -> None:
        """The last chunk and its trailers were read, called by the parser."""
        self._complete = True
