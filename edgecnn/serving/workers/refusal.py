"""The one answer that the supervisor gives itself: that there is no worker."""

from __future__ import annotations

import asyncio
import socket

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

#: How many are closed so patiently at a time.
_MOST = 256


class Refusals:
    """Refuses connections, and waits for each client to have read it."""

    def __init__(self, *, tls: bool) -> None:
        """With ``tls``, connections are only closed: an answer in the clear would be no answer."""
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    def refuse(self, connection: socket.socket) -> None:
        """Answer and close; owns the connection."""
        if self._tls or len(self._tasks) >= _MOST:
            connection.close()
            return
        task = asyncio.get_running_loop().create_task(_answer(connection))
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
                while await asyncio.get_running_loop().sock_recv(connection, 2**16):
                    pass
        except (OSError, TimeoutError):
            pass  # the client is gone, or does not close
