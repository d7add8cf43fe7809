"""One worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from itertools import count
from typing import Any, Protocol

import msgspec

from edgecnn.serving.workers.messages import (
    Answer,
    Answers,
    Asking,
    Beat,
    Broadcast,
    Call,
    Connection,
    Failed,
    FromWorker,
    Leaving,
    Lost,
    Ready,
    Shed,
    Start,
    Status,
    Stop,
)
from edgecnn.serving.workers.pipe import Pipe
from edgecnn.serving.workers.settings import SupervisorSettings

__all__ = ["Overseer", "WorkerProcess"]

_LOG = logging.getLogger(__name__)

#: A worker that computes in threads takes a connection within milliseconds.
_SLOW_S = 0.5

#: How long a worker that has too many files open is given no connection.
_FULL_S = 0.5

#: What a hung one has to print its stacks in.
_STACKS_S = 0.25


class Overseer(Protocol):
    """Who is told what a worker does."""

    def may_take(self, worker: WorkerProcess) -> None:
        """It may be able to take connections that it could not take before."""

    def warm(self, worker: WorkerProcess) -> None:
        """It is warm and takes connections; it counts as ready once ``accept_as_ready`` is called."""

    def broadcast(self, worker: WorkerProcess, request: Broadcast) -> None:
        """It has a message for all."""

    def leaving(self, worker: WorkerProcess) -> None:
        """It wants to be replaced."""

    def lost(self, worker: WorkerProcess, untaken: list[socket.socket]) -> None:
        """It is gone, or has no room for these connections, and left them untouched."""


class WorkerProcess:
    """A process from its start to its end.

    Attributes:
        index: which worker it is.
        pid: of the process.
        ended: its exit code, once it has one.
        first_ready: done when it is ready or has ended.
        ready_since_s: the event loop's time when it became ready; None until then.
        failure: why it ended, if it said so.
        killed: whether it had to be killed.
        heard_s: the event loop's time when it was heard of last.
        chosen: the number of the connection that it was given last; the dispatcher's.
    """

    def __init__(
        self, index: int, settings: SupervisorSettings, environment: Mapping[str, str], overseer: Overseer
    ) -> None:
        """Start the process; call it within the event loop.

        Args:
            index: which worker it is.
            settings: what it is to run, and how patient to be with it.
            environment: variables that it has besides this process's.
            overseer: who is told.

        Raises:
            OSError: there is no room for another process.
        """
        self._loop = asyncio.get_running_loop()
        self._settings, self._overseer = settings, overseer
        self._process, ours = _spawn(environment)
        self.index, self.pid = index, self._process.pid
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.first_ready = asyncio.Event()
        self.ready_since_s: float | None = None
        self.failure: Failed | None = None
        self.killed = self._asks = self._warm = self._full = self._draining = False
        self.chosen = 0
        self.heard_s = self._loop.time()
        self._taken = self._open = 0
        self._untaken: deque[tuple[float, socket.socket]] = deque()
        self._numbers = count()
        self._calls: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._deadline: asyncio.TimerHandle | None = None
        self._reaping: asyncio.Task[None] | None = None
        self._pipe = Pipe(ours, msgspec.json.Decoder(FromWorker), self._receive, self._closed)
        self._pipe.send(_start(index, settings))

    @property
    def is_ready(self) -> bool:
        """Warm, and neither draining nor gone."""
        return self.ready_since_s is not None and self._stays

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, or nothing is left but to end."""
        return self._pipe.is_closed

    @property
    def load(self) -> int:
        """Connections that it has, or will have."""
        return self._open + len(self._untaken)

    @property
    def is_slow(self) -> bool:
        """Whether it has left a connection untaken for longer than a busy event loop does; maybe it hangs."""
        return bool(self._untaken) and self._loop.time() - self._untaken[0][0] > _SLOW_S

    @property
    def _stays(self) -> bool:
        return not (self._draining or self._pipe.is_closed)

    @property
    def takes(self) -> bool:
        """Whether it asks for connections, has room for them, and has not left too many untaken."""
        return self._asks and self._stays and not self._full and len(self._untaken) < self._settings.window

    def give(self, connection: socket.socket) -> bool:
        """Pass a connection on, and keep a copy until the worker has taken it; False if it cannot be sent."""
        if not self._pipe.send_connection(Connection(), connection):
            return False
        self._untaken.append((self._loop.time(), connection))
        return True

    def accept_as_ready(self) -> None:
        """Let it count as ready."""
        if self._stays and self.ready_since_s is None:
            self.ready_since_s = self._loop.time()
            self.first_ready.set()

    async def call(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a message; None when the worker ends before it gives one."""
        if self._pipe.is_closed:
            return None
        number = next(self._numbers)
        self._calls[number] = self._loop.create_future()
        self._pipe.send(Call(number, message))
        try:
            return await self._calls[number]
        finally:
            del self._calls[number]

    def answer(self, answers: Answers) -> None:
        """Send the answers to its broadcast."""
        self._pipe.send(answers)

    def shed(self, connections: int) -> None:
        """Ask it to close so many, each after its next answer."""
        self._pipe.send(Shed(connections))

    def stop(self) -> None:
        """Give it no more connections and let it finish its requests; end it at once if it can have none."""
        if not self._stays:
            return
        self._draining = True
        if self.ready_since_s is None and self.load == 0:
            self._process.kill()
            return
        settings = self._settings
        self._loop.call_later(settings.settle_s, self._pipe.send, Stop())
        patience_s = settings.settle_s + settings.drain_s + settings.exit_s
        self._deadline = self._loop.call_later(patience_s, self.kill)

    def kill(self) -> None:
        """End it now, if it has not ended."""
        if not self.ended.done():
            self.killed = True
            self._process.kill()  # the channel's end tells the rest

    async def kill_hung(self) -> None:
        """Kill it, after it had a moment to print where it hangs; its connections are free at once."""
        self._pipe.close()
        self._process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(_STACKS_S)
        self.kill()

    def _receive(self, message: FromWorker) -> None:
        self.heard_s = self._loop.time()
        match message:
            case Beat():
                pass
            case Status(taken, now_open):
                self._count(taken, now_open)
            case Lost(before):
                self._give_back(before)
            case Asking():
                self._asks = True
                self._overseer.may_take(self)
                self._tell_warm()
            case Ready():
                self._warm = True
                self._tell_warm()
            case Leaving():
                self._overseer.leaving(self)
            case Failed():
                self.failure = message
            case Broadcast():
                self._overseer.broadcast(self, message)
            case Answer(number, answer):
                self._settle(number, answer)

    def _count(self, taken: int, now_open: int) -> None:
        self._open = now_open
        for _ in range(min(taken - self._taken, len(self._untaken))):
            self._untaken.popleft()[1].close()
        self._taken = taken
        self._overseer.may_take(self)

    def _give_back(self, before: int) -> None:
        """Leave a connection that it has no room for to others, and for a while those that follow."""
        if before >= len(self._untaken):
            return
        _, connection = self._untaken[before]
        del self._untaken[before]
        if not self._full:
            self._full = True
            self._loop.call_later(_FULL_S, self._try_again)
        self._overseer.lost(self, [connection])

    def _try_again(self) -> None:
        self._full = False
        self._overseer.may_take(self)

    def _tell_warm(self) -> None:
        # Both: a server of two that is ready and has only one that takes connections is not balanced.
        if self._warm and self._asks:
            self._overseer.warm(self)

    def _settle(self, number: int, answer: dict[str, Any] | None) -> None:
        future = self._calls.get(number)
        if future is not None and not future.done():
            future.set_result(answer)

    def _closed(self) -> None:
        for number in list(self._calls):
            self._settle(number, None)
        untaken = [connection for _, connection in self._untaken]
        self._untaken.clear()
        self._reaping = self._loop.create_task(self._reap())
        self._overseer.lost(self, untaken)

    async def _reap(self) -> None:
        give_up_s = self._loop.time() + self._settings.exit_s
        # Polled, for it is a matter of a few turns, and a watch of processes needs a thread or Linux.
        while self._process.poll() is None:
            await asyncio.sleep(0.01)
            if self._loop.time() >= give_up_s:
                self._process.kill()
        if self._deadline is not None:
            self._deadline.cancel()
        self.ended.set_result(self._process.returncode)
        self.first_ready.set()


def _start(index: int, settings: SupervisorSettings) -> Start:
    return Start(
        entry=settings.entry,
        document=dict(settings.document),
        index=index,
        workers=settings.workers,
        event_loop=settings.event_loop,
        heartbeat_s=settings.heartbeat_s,
        drain_s=settings.drain_s,
    )


def _spawn(environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new interpreter, which inherits nothing but its end of a channel; and the other end."""
    ours, theirs = socket.socketpair()
    with theirs, contextlib.ExitStack() as failed:
        failed.callback(ours.close)
        # -P: not the working directory's modules, but those that this process would import.
        command = [sys.executable, "-P", "-m", "edgecnn.serving.workers.child", str(theirs.fileno())]
        path = os.pathsep.join(each for each in sys.path if each)
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **environment, "PYTHONPATH": path},
        )
        failed.pop_all()
    return process, ours
