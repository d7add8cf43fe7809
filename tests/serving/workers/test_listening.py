"""Listening sockets and reserved ports."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from edgecnn.errors import UsageError
from edgecnn.serving.workers import listening
from edgecnn.serving.workers.listening import Acceptor, open_listeners, require_free, reserved_port


def test_a_free_port_is_the_same_on_each_address() -> None:
    listeners = open_listeners("localhost", 0, 8)
    try:
        assert len({each.getsockname()[1] for each in listeners}) == 1
        assert all(not each.getblocking() for each in listeners)
    finally:
        for each in listeners:
            each.close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_said(host: str) -> None:
    with pytest.raises(UsageError, match=host):
        open_listeners(host, 0, 8)
    with pytest.raises(UsageError, match=host), reserved_port(host, 0):
        pass
    with pytest.raises(UsageError, match=f"gRPC cannot listen on {host} port 0"):
        require_free(host, 0)


def test_a_reserved_port_is_for_those_who_share() -> None:
    with reserved_port("127.0.0.1", 0) as port:
        sockets = [socket.socket() for _ in range(2)]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(("127.0.0.1", port))
            each.listen()
        for _ in range(16):  # none of them comes to the socket that only holds the port
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        for each in sockets:
            each.close()
        with pytest.raises(UsageError, match="in use"):
            open_listeners("127.0.0.1", port, 8)


def test_a_port_of_another_server_is_not_reserved_even_where_that_shares_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        words = f"port {port}: Address already in use"
        with pytest.raises(UsageError, match=words) as caught, reserved_port("127.0.0.1", port):
            pass
    assert "--grpc-port" in caught.value.remedy
    require_free("127.0.0.1", port)
    require_free("localhost", 0)


def test_what_the_kernel_queued_is_accepted_before_closing() -> None:
    async def scenario() -> None:
        listeners = open_listeners("127.0.0.1", 0, 8)
        offered: list[socket.socket] = []
        address = listeners[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(5)]
        acceptor = Acceptor(listeners, offered.append)
        acceptor.close()
        acceptor.close()
        assert len(offered) == 5
        assert all(not each.getblocking() for each in offered)
        for each in [*clients, *offered]:
            each.close()

    asyncio.run(scenario())


class _Exhausted:
    """A listener while no file can be opened, then again."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener, self.failures = listener, 1

    def fileno(self) -> int:
        return self.listener.fileno()

    def close(self) -> None:
        self.listener.close()

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listener.accept()


def test_too_many_open_files_pause_accepting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_PAUSE_S", 0.01)

    async def scenario() -> None:
        (listener,) = open_listeners("127.0.0.1", 0, 8)
        offered: list[socket.socket] = []
        client = socket.create_connection(listener.getsockname())
        acceptor = Acceptor([_Exhausted(listener)], offered.append)  # type: ignore[list-item]
        async with asyncio.timeout(30):
            while not offered:
                await asyncio.sleep(0.005)
        acceptor.close()
        client.close()
        offered[0].close()

    asyncio.run(scenario())
