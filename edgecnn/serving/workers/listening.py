"""Sockets that listen, and ports that are set aside."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgecnn.errors import UsageError

__all__ = ["Acceptor", "open_listeners", "require_free", "reserved_port"]

_LOG = logging.getLogger(__name__)

#: Connections accepted in one turn of the event loop.
_BATCH = 128

#: How long to wait for other connections to close when no more files can be opened.
_PAUSE_S = 0.5

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def open_listeners(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listen on each address of ``host``, non-blocking; with port 0 on the same free port of each.

    Raises:
        UsageError: the name has no address, or the port cannot be had.
    """
    listeners: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            own = (address, port if port or not listeners else listeners[0].getsockname()[1])
            listeners.append(socket.create_server(own, family=family, backlog=backlog))
            listeners[-1].setblocking(False)
    except OSError as error:
        for each in listeners:
            each.close()
        raise _unavailable(host, port, error) from error
    return listeners


def require_free(host: str, port: int) -> None:
    """Find out before gRPC does, which writes its own line on standard error and tells no reason.

    Args:
        host: a name or an address; of several addresses, one must do.
        port: 0 is always free.

    Raises:
        UsageError: the name has no address, or the port cannot be had; the remedy names --grpc-port.
    """
    try:
        faults = [_fault(*each, port) for each in _addresses(host, port)]
    except OSError as error:
        raise _no_grpc(host, port, error) from error
    first = faults[0]
    if first is not None and all(faults):
        raise _no_grpc(host, port, first)


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """A port for gRPC that processes may share by SO_REUSEPORT, and that nobody else gets meanwhile.

    With port 0 the system chooses one, the same for all of them. The socket that holds it does not listen, so
    no connection comes to it.

    Raises:
        UsageError: the name has no address, or the port cannot be had.
    """
    require_free(host, port)  # another server's workers may share theirs, and would get half of the calls
    try:
        family, address = _addresses(host, port)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _no_grpc(host, port, error) from error
    with sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((address, port))
        except OSError as error:
            raise _no_grpc(host, port, error) from error
        yield sock.getsockname()[1]


class Acceptor:
    """Accepts connections and offers each, non-blocking."""

    def __init__(self, listeners: Sequence[socket.socket], offer: Callable[[socket.socket], None]) -> None:
        """Owns the listeners; call it within the event loop."""
        self._listeners, self._offer = listeners, offer
        self._loop = asyncio.get_running_loop()
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        for each in listeners:
            self._loop.add_reader(each, self._accept, each)

    def close(self) -> None:
        """Accept what the kernel has queued, so that none of it is reset, and listen no longer."""
        for each in self._listeners:
            if each.fileno() < 0:
                continue
            self._loop.remove_reader(each)
            if timer := self._paused.pop(each, None):
                timer.cancel()
            self._accept(each, most=2**16)
            each.close()

    def _accept(self, listener: socket.socket, most: int = _BATCH) -> None:
        for _ in range(most):
            try:
                connection, _address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listener, error)
                    return
                continue  # the client was gone before it was accepted
            connection.setblocking(False)
            self._offer(connection)

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        # It would be called again at once, and burn a core without getting further.
        _LOG.error("Cannot accept a connection: %s. Raise the limit (ulimit -n).", error.strerror)
        if self._loop.remove_reader(listener):
            self._paused[listener] = self._loop.call_later(_PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        del self._paused[listener]
        self._loop.add_reader(listener, self._accept, listener)


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _fault(family: socket.AddressFamily, address: str, port: int) -> OSError | None:
    """Why a port of an address cannot be had; None if it can."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that ended do not count
            sock.bind((address, port))
    except OSError as error:
        return error
    return None


def _no_grpc(host: str, port: int, error: OSError) -> UsageError:
    return UsageError(
        f"gRPC cannot listen on {host or '*'} port {port}: {error.strerror or error}.",
        "Choose another port with --grpc-port, where 0 takes a free one, or leave gRPC out with --no-grpc.",
    )


def _unavailable(host: str, port: int, error: OSError) -> UsageError:
    return UsageError(
        f"Cannot listen on {host or '*'} port {port}: {error.strerror or error}.",
        "Choose another --host or --port, or end what uses it.",
    )
