"""One connection: bytes in, requests to handlers, answers out in order."""

from __future__ import annotations

import asyncio
import enum
import logging
import math
import re
from typing import Final, cast

from edgecnn.serving.faults import RequestError, RequestTimeoutError, TooLargeError
from edgecnn.serving.http.answer import CONTINUE, Answer, encode
from edgecnn.serving.http.chunks import ChunkedBody
from edgecnn.serving.http.exchange import Exchange, failed
from edgecnn.serving.http.head import Head, check_beginning, parse_head
from edgecnn.serving.http.incoming import complete, traced
from edgecnn.serving.http.landing import Landing
from edgecnn.serving.http.message import Body, Handler, Response, error_response
from edgecnn.serving.http.surroundings import Surroundings

__all__ = ["CLIENT_LEFT", "HttpConnection"]

#: What the log says when the client left before its answer; nothing is sent (nginx's convention).
CLIENT_LEFT: Final = 499
_LOG: Final = logging.getLogger("edgecnn.serving")
_BLANK_LINES: Final = re.compile(rb"\A(?:\r\n)+")
#: What is read where a head is awaited: the part of a body that comes with it is copied, so not too much.
_HEAD_READ_BYTES: Final = 16384
#: Below it, head and body are joined and sent by one call; above it, the copy costs more than the call.
_JOIN_BYTES: Final = 65536


class _Phase(enum.Enum):
    """What a connection is doing."""

    HEAD = enum.auto()  # waits for a head, or for the rest of one
    BODY = enum.auto()  # the socket writes into the body
    CHUNKS = enum.auto()  # likewise, by way of a parser
    WORK = enum.auto()  # a handler is at it
    FLUSH = enum.auto()  # the client takes the answer too slowly to begin another
    LINGER = enum.auto()  # refused and answered; what still comes is dropped
    CLOSED = enum.auto()  # closed by us or by the client; what is unsent may still be taken


class HttpConnection(asyncio.BufferedProtocol):
    """The protocol of one connection.

    Heads land in a buffer that all connections share. A body of known length is written by the socket into
    the memory that the handler gets: it is never joined and never copied, but for what came with the head.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self._peer = ""
        self._phase = _Phase.HEAD
        self._deadline_s = math.inf
        self._held = b""  # came, and is not yet read as part of a request
        self._begun_s: float | None = None  # when the head that is being read began
        self._exchange: Exchange | None = None
        self._landing: Landing | None = None
        self._keep_alive = True
        self._write_paused = False
        self._read_paused = False
        self._unsent = 0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = _address(transport.get_extra_info("peername"))
        self._around.arriving.discard(self)
        self._around.connections.add(self)
        self._around.changed()
        self._deadline_s = self._around.clock() + self._around.limits.header_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what was being done for the client."""
        self._around.connections.discard(self)
        self._around.changed()
        self._abandon()

    def eof_received(self) -> None:
        """The client left; one that closed only its sending side is not waited for either."""
        self._abandon()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the socket shall write."""
        if self._landing is not None:
            return self._landing.room
        scratch = self._around.scratch
        return scratch[:_HEAD_READ_BYTES] if self._phase is _Phase.HEAD else scratch

    def buffer_updated(self, nbytes: int) -> None:
        """The socket has written."""
        landing = self._landing
        if landing is not None:
            if landing.advance(nbytes):
                self._begin_work(landing.view)
            return
        phase = self._phase
        if phase is _Phase.LINGER or phase is _Phase.CLOSED:
            return
        data = bytes(self._around.scratch[:nbytes])
        if phase is _Phase.CHUNKS:
            self._read_chunks(data)
            return
        self._held += data
        if phase is _Phase.HEAD:
            self._read_head()
        else:
            self._bound_held()

    def pause_writing(self) -> None:
        """The client takes less than is sent to it."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._write_paused = False
        if self._phase is _Phase.FLUSH:
            self._next()

    # What the server calls.

    def expire(self, now: float) -> None:
        """End what takes too long."""
        exchange = self._exchange
        if exchange is not None and exchange.incoming is not None:
            self._expire_body(exchange, now)
        elif now < self._deadline_s:
            return
        elif self._phase is not _Phase.HEAD:
            self._expire_sending(now)
        elif self._begun_s is None:
            self._close()
        else:
            self._refuse(RequestTimeoutError("The request's head did not come in time.", "Send it at once."))

    def drain(self) -> None:
        """Close, unless something was begun: that is answered first."""
        if self._phase is _Phase.HEAD and self._begun_s is None and not self._held:
            self._close()

    def abort(self) -> None:
        """Close now; a handler that is at work is cancelled."""
        self._abandon()
        self._transport.abort()

    # Reading.

    def _read_head(self) -> None:
        if self._phase is not _Phase.HEAD:
            return
        held = self._held
        if held.startswith(b"\r\n"):  # allowed before a request line (RFC 9112, section 2.2)
            held = _BLANK_LINES.sub(b"", held, count=1)
        self._held = held
        if self._begun_s is None and held:
            self._begun_s = self._around.clock()
            self._deadline_s = self._begun_s + self._around.limits.header_timeout_s
        limit = self._around.limits.max_header_bytes
        end = held.find(b"\r\n\r\n", 0, limit) + 4
        try:
            if end < 4:
                check_beginning(held, limit)
                return
            self._held = held[end:]
            self._read_request(parse_head(held[:end]))
        except RequestError as error:
            self._refuse(error)

    def _read_request(self, head: Head) -> None:
        around = self._around
        request = around.incoming.request(head, self._peer, cast("float", self._begun_s))
        exchange = self._exchange = Exchange(request, head)
        self._keep_alive = head.keep_alive
        admission = around.router.admit(head)
        complete(request, head)
        request.parameters, request.route = admission.parameters, admission.pattern
        exchange.handler = admission.handler
        limit = around.limits.max_body_bytes if admission.max_body is None else admission.max_body
        if head.chunked:
            self._begin_chunks(exchange, limit)
        elif head.content_length:
            self._begin_body(exchange, head.content_length, limit)
        else:
            self._begin_work(b"")

    def _begin_body(self, exchange: Exchange, length: int, limit: int) -> None:
        if length > limit:
            raise TooLargeError(f"The body has {length} bytes; {limit} are allowed here.", "Send less.")
        self._reserve(length)
        came, self._held = self._held[:length], self._held[length:]
        landing = Landing(self._around.memory.take(length), length, came)
        exchange.buffer = landing.buffer
        if len(came) == length:
            self._begin_work(landing.view)
        else:
            self._landing = landing
            self._await_body(exchange, landing, _Phase.BODY, came)

    def _begin_chunks(self, exchange: Exchange, limit: int) -> None:
        came, self._held = self._held, b""
        self._await_body(exchange, ChunkedBody(limit, self._reserve), _Phase.CHUNKS, came)
        if came:
            self._read_chunks(came)

    def _await_body(
        self, exchange: Exchange, incoming: Landing | ChunkedBody, phase: _Phase, came: bytes
    ) -> None:
        self._phase = phase
        exchange.incoming = incoming
        exchange.body_begun_s = self._around.clock()
        if exchange.head is not None and exchange.head.expects_continue and not came:
            self._transport.write(CONTINUE)

    def _read_chunks(self, data: bytes) -> None:
        chunks = cast("ChunkedBody", cast("Exchange", self._exchange).incoming)
        try:
            used = chunks.feed(data)
        except RequestError as error:
            self._refuse(error)
            return
        if used is not None:
            self._held = data[used:]
            self._begin_work(memoryview(chunks.body))

    def _reserve(self, amount: int) -> None:
        self._around.budget.take(amount)
        cast("Exchange", self._exchange).reserved_bytes += amount

    def _bound_held(self) -> None:
        """Read on while a handler works, to see the client leave; but not without bound."""
        if self._read_paused or len(self._held) <= self._around.limits.max_pipelined_bytes:
            return
        if not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()

    # Working.

    def _begin_work(self, body: Body) -> None:
        self._phase = _Phase.WORK
        self._deadline_s = math.inf
        exchange = cast("Exchange", self._exchange)
        self._landing = exchange.incoming = None
        exchange.request.body = body
        self._bound_held()
        exchange.task = self._loop.create_task(self._work(exchange))

    async def _work(self, exchange: Exchange) -> None:
        response = await self._response(exchange)
        if self._exchange is not exchange:
            return  # the client left, and the handler did not mind being cancelled
        try:
            self._answer(exchange, response)
        except Exception:  # noqa: BLE001 - there is nothing left to answer with
            # As the event loop does with what a protocol raises: a client shall not wait for ever.
            _LOG.exception("request %s could not be answered", exchange.request.id)
            self.abort()

    async def _response(self, exchange: Exchange) -> Response:
        request = exchange.request
        try:
            return await cast("Handler", exchange.handler)(request)
        except RequestError as error:
            request.served.refusal = error.reason
            return error_response(error)
        except asyncio.CancelledError:
            if self._exchange is not exchange:
                raise
            # Something that the handler waited for was cancelled, not the handler: the client still waits.
            return failed(request)
        except Exception:  # noqa: BLE001 - whatever a handler raises, its client is answered
            return failed(request)

    def _answer(self, exchange: Exchange, response: Response) -> None:
        """Send an answer, and go on to what comes next."""
        close = self._around.draining or not self._keep_alive or self._around.shed_one()
        answer, status = self._encoded(exchange, response, close=close)
        self._send(answer)
        self._finish(exchange, status, answer.length)
        if close:
            self._close()
        elif self._write_paused:
            self._phase = _Phase.FLUSH
            self._await_flush()
        else:
            self._next()

    def _encoded(self, exchange: Exchange, response: Response, *, close: bool) -> tuple[Answer, int]:
        """The answer's bytes and its status, which is 500 if a handler made what cannot be sent."""
        extra = traced(exchange.request)
        if exchange.head is not None:
            extra += self._around.router.headers(exchange.head)
        bodiless = exchange.request.method == "HEAD"
        try:
            return encode(response, extra, bodiless=bodiless, close=close), response.status
        except (ValueError, TypeError, AttributeError):
            failure = failed(exchange.request)
            return encode(failure, extra, bodiless=bodiless, close=close), failure.status

    def _send(self, answer: Answer) -> None:
        if answer.length < _JOIN_BYTES:
            self._transport.write(b"".join(answer.pieces))
            return
        for piece in answer.pieces:
            self._transport.write(piece)

    def _finish(self, exchange: Exchange, status: int, sent: int) -> None:
        """Forget the request, and report it."""
        around = self._around
        self._exchange = self._landing = self._begun_s = None
        around.budget.release(exchange.reserved_bytes)
        request = exchange.request
        around.report(request, status, sent, around.clock() - request.received_s)
        if exchange.buffer is not None:
            around.memory.give_back(exchange.buffer)

    def _next(self) -> None:
        """Wait for the next request, or read the one that came already."""
        if self._around.draining and not self._held:
            self._close()
            return
        self._phase = _Phase.HEAD
        self._deadline_s = self._around.clock() + self._around.limits.idle_timeout_s
        if self._held:
            # Not at once: a client that sent a hundred requests shall not hold up all others.
            self._loop.call_soon(self._read_head)
        if self._read_paused and not self._transport.is_closing():
            self._read_paused = False
            self._transport.resume_reading()

    # Ending.

    def _refuse(self, error: RequestError) -> None:
        """Answer without a handler. Where the next request begins is unknown if a body was to come."""
        exchange = self._exchange
        if exchange is None:
            begun_s = self._around.clock() if self._begun_s is None else self._begun_s
            exchange = Exchange(self._around.incoming.unreadable(self._peer, begun_s), None)
        exchange.request.served.refusal = error.reason
        if exchange.head is None or exchange.head.has_body:
            self._keep_alive = False
            self._phase = _Phase.LINGER
            self._held = b""
        self._answer(exchange, error_response(error))

    def _close(self) -> None:
        """Close once all is sent, and, after a refusal, once the client has had time to read it."""
        if self._phase is _Phase.LINGER:
            self._unsent = 0
            self._deadline_s = self._around.clock() + self._around.limits.linger_s
            if self._transport.can_write_eof():
                self._transport.write_eof()
            return
        self._phase = _Phase.CLOSED
        self._await_flush()
        self._transport.close()

    def _await_flush(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self._deadline_s = self._around.clock() + self._around.limits.write_timeout_s

    def _expire_sending(self, now: float) -> None:
        """Cut off a client that took nothing of what is sent to it since it was last looked at."""
        unsent = self._transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.abort()
            return
        self._unsent = unsent
        self._deadline_s = now + self._around.limits.write_timeout_s

    def _expire_body(self, exchange: Exchange, now: float) -> None:
        elapsed_s = now - exchange.body_begun_s
        received = exchange.incoming.wire_bytes if exchange.incoming is not None else 0
        if self._around.limits.too_slow(received, elapsed_s):
            fault = f"The body did not come in time: {received} bytes in {elapsed_s:.0f} s."
            self._refuse(RequestTimeoutError(fault, "Send it faster, or less at a time."))

    def _abandon(self) -> None:
        """The client is gone, or is sent away."""
        self._phase = _Phase.CLOSED
        self._held = b""
        exchange = self._exchange
        if exchange is not None:
            self._finish(exchange, CLIENT_LEFT, 0)
            if exchange.task is not None:
                exchange.task.cancel()


def _address(peer: object) -> str:
    if not isinstance(peer, tuple):
        return "local"
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
