"""The one answer that the supervisor gives itself: that there is no worker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import msgspec

from edgecnn.serving.faults import UnavailableError

__all__ = ["REFUSAL", "Refusals"]

_ERROR = UnavailableError(
    "No worker of this server is ready: they are starting, or the server is stopping.",
    "Try again in a moment.",
)
_BODY = msgspec.json.encode({"error": _ERROR.sentence})

#: The whole response.
REFUSAL = (
    f"HTTP/1.1 {_ERROR.status} Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    f"content-type: application/json\r\ncontent-length: {len(_BODY)}\r\n\r\n"
).encode() + _BODY

#: Closing a connection with something unread resets it, and the client may never see the answer: so long is
#: read what it still sends.
_LINGER_S = 1.0

#: What a client has for its TLS handshake: some round trips of a slow network.
_HANDSHAKE_S = 3.0

#: How many are closed so patiently at a time.
_MOST = 256

_READ = 2**16


class Refusals:
    """Refuses connections, and waits for each client to have read it.

    Attributes:
        tls: what connections are encrypted with; None where they are not. It may be renewed.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    def refuse(self, connection: socket.socket) -> None:
        """Answer and close; owns the connection."""
        if len(self._tasks) >= _MOST:
            connection.close()
            return
        answering = _answer(connection) if self.tls is None else _answer_encrypted(connection, self.tls)
        task = asyncio.get_running_loop().create_task(answering)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._tasks)


async def _answer(connection: socket.socket) -> None:
    with connection:
        try:
            connection.send(REFUSAL)  # it is new: its buffer has room
            connection.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER_S):
                while await asyncio.get_running_loop().sock_recv(connection, _READ):
                    pass
        except OSError:
            pass  # the client is gone, or (TimeoutError) does not close


async def _answer_encrypted(connection: socket.socket, tls: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE_S,
            ssl_shutdown_timeout=_LINGER_S,
        )
    except OSError:  # with ssl.SSLError and TimeoutError: it speaks something else, or is gone
        connection.close()
        return
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    with contextlib.suppress(OSError):  # likewise
        async with asyncio.timeout(_LINGER_S):
            # The handshake went first, so the request is still on its way; clients may take what comes before
            # it for no answer to it. TLS has no half-closed connection either: the client closes.
            if await reader.read(_READ):
                writer.write(REFUSAL)
                while await reader.read(_READ):
                    pass
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
