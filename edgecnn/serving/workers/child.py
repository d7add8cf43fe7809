"""The process of one worker: ``python -m edgecnn.serving.workers.child DESCRIPTOR``."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

from edgecnn.errors import EdgecnnError
from edgecnn.lookup import resolve
from edgecnn.serving.workers.channel import WorkerChannel
from edgecnn.serving.workers.messages import Failed, Start
from edgecnn.serving.workers.pipe import HEAD, frame

__all__ = ["main"]

_Entry = Callable[[WorkerChannel, dict[str, Any]], Awaitable[None]]


def main(arguments: list[str]) -> int:
    """Run the worker that the supervisor at the other end of the inherited socket describes."""
    # A terminal signals the whole group, systemd each process: what ends a worker is its supervisor's word.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    # Sent to a worker that is hung: shows where, even while an extension holds the interpreter's lock.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    sock = socket.socket(fileno=int(arguments[0]))
    sock.set_inheritable(False)
    start = _first_message(sock)
    if start is None:
        return 1
    try:
        make_loop = cast("Callable[[], asyncio.AbstractEventLoop]", resolve(start.event_loop))
    except EdgecnnError as error:
        sock.sendall(frame(Failed(error.problem, error.remedy, error.exit_code)))
        return error.exit_code
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(_run(sock, start))


def _first_message(sock: socket.socket) -> Start | None:
    """None when the supervisor ended before it sent one."""
    head = sock.recv(HEAD.size, socket.MSG_WAITALL)
    if len(head) < HEAD.size:
        return None
    return msgspec.json.decode(sock.recv(HEAD.unpack(head)[0], socket.MSG_WAITALL), type=Start)


async def _run(sock: socket.socket, start: Start) -> int:
    loop = asyncio.get_running_loop()

    def end_soon() -> None:
        loop.call_later(start.drain_s, os._exit, 1)

    channel = WorkerChannel(sock, start, orphaned=end_soon)
    loop.add_signal_handler(signal.SIGTERM, channel.leave)
    try:
        await cast(_Entry, resolve(start.entry))(channel, start.document)
    except EdgecnnError as error:
        channel.failed(error)
        return error.exit_code
    finally:
        await channel.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
