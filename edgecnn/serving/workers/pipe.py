"""Messages, and connections beside them, over one Unix stream socket between two event loops."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

__all__ = ["HEAD", "Pipe", "frame"]

_LOG = logging.getLogger(__name__)

Incoming = TypeVar("Incoming")

#: Each message: its length in bytes, then JSON.
HEAD = struct.Struct("!I")

#: A longer message is no message: the stream is out of step.
_LARGEST = 16 * 2**20

_READ = 2**16

#: Reads in one turn, so that one busy peer does not starve the others.
_READS = 32

#: Descriptors in one read. Linux gives what one call of the sender held, which is one; other systems may join
#: several.
_DESCRIPTORS = 32

#: So that no process started later inherits a client's connection.
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

_INTEGER = array("i").itemsize


def frame(message: msgspec.Struct) -> bytes:
    """The bytes of one message."""
    content = msgspec.json.encode(message)
    return HEAD.pack(len(content)) + content


class Pipe(Generic[Incoming]):
    """One end.

    A connection travels with the first byte of its message, so messages and connections have one order.
    """

    def __init__(
        self,
        sock: socket.socket,
        decoder: msgspec.json.Decoder[Incoming],
        receive: Callable[[Incoming], None],
        closed: Callable[[], None],
    ) -> None:
        """Owns ``sock``. Call it within the event loop.

        Args:
            sock: one of a pair.
            decoder: of what the other end sends.
            receive: is given each message.
            closed: is called once, when the other end is gone or this one was closed.
        """
        sock.setblocking(False)
        self._sock, self._decoder, self._receive, self._on_close = sock, decoder, receive, closed
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = bytearray(), bytearray()
        self._connections: deque[socket.socket] = deque()
        self._empty = asyncio.Event()
        self._empty.set()
        self.is_closed = False
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, message: msgspec.Struct) -> None:
        """Send after all that was sent before; nothing happens when the other end is gone."""
        if not self.is_closed:
            self._outgoing += frame(message)
            if self._empty.is_set():
                self._write()

    async def sent(self) -> None:
        """Wait until the kernel has all that was sent: it arrives even when this process dies now."""
        await self._empty.wait()

    def send_connection(self, message: msgspec.Struct, connection: socket.socket) -> bool:
        """Send ``message`` and a copy of ``connection`` with it; the caller still has its own.

        Returns:
            False when the other end is gone, or reads too slowly for it to be sent at once: nothing was sent.
        """
        if self.is_closed or self._outgoing:
            return False
        data = frame(message)
        try:
            sent = socket.send_fds(self._sock, [data], [connection.fileno()])
        except OSError:  # the buffer is full, too many descriptors are on their way, or the other end is gone
            return False
        self._outgoing += data[sent:]
        self._write()
        return True

    def take_connection(self) -> socket.socket | None:
        """The connection that came with the message which is being received.

        None when the kernel could not deliver it, because this process has as many files open as it may.
        """
        return self._connections.popleft() if self._connections else None

    def close(self) -> None:
        """Close this end, and connections that nobody took."""
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        while self._connections:
            self._connections.popleft().close()
        self._empty.set()
        self._on_close()

    def _write(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._sock.send(self._outgoing)]
        except BlockingIOError:
            if self._empty.is_set():
                self._empty.clear()
                self._loop.add_writer(self._sock.fileno(), self._write)
            return
        except OSError:
            self._outgoing.clear()  # the other end is gone; reading finds that out, after its last words
        if not self._empty.is_set():
            self._empty.set()
            self._loop.remove_writer(self._sock.fileno())

    def _read(self) -> None:
        for _ in range(_READS):
            try:
                data, connections = _receive(self._sock)
            except BlockingIOError:
                return
            except OSError:  # reset: it was closed with something unread
                data, connections = b"", []
            self._connections.extend(connections)
            if not data:
                self.close()
                return
            self._incoming += data
            self._parse()
            if self.is_closed:
                return

    def _parse(self) -> None:
        while len(self._incoming) >= HEAD.size and not self.is_closed:
            end = HEAD.size + HEAD.unpack_from(self._incoming)[0]
            if end > _LARGEST:
                self._give_up(f"a message of {end} bytes")
                return
            if len(self._incoming) < end:
                return
            content = bytes(self._incoming[HEAD.size : end])
            del self._incoming[:end]
            try:
                message = self._decoder.decode(content)
            except msgspec.DecodeError as error:
                self._give_up(str(error))
                return
            self._receive(message)

    def _give_up(self, reason: str) -> None:
        _LOG.error("The other process does not keep to the protocol (%s); its channel is closed.", reason)
        self.close()


def _receive(sock: socket.socket) -> tuple[bytes, list[socket.socket]]:
    """Bytes and connections.

    ``socket.recv_fds`` of Python 3.11 ignores its flags, and what it receives leaks into children.
    """
    data, ancillary, _, _ = sock.recvmsg(_READ, socket.CMSG_LEN(_DESCRIPTORS * _INTEGER), _FLAGS)
    descriptors = array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % _INTEGER])
    connections = [socket.socket(fileno=each) for each in descriptors]
    if not _FLAGS:
        for each in connections:
            each.set_inheritable(False)
    return data, connections
