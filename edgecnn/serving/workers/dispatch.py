"""Which worker gets a connection, and what becomes of it when there is none."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections import deque
from collections.abc import Callable, Collection

from edgecnn.serving.workers.process import WorkerProcess
from edgecnn.serving.workers.refusal import Refusals
from edgecnn.serving.workers.settings import SupervisorSettings

__all__ = ["Dispatcher"]

_LOG = logging.getLogger(__name__)


class Dispatcher:
    """Gives each connection to the worker with the fewest, the one chosen longest ago among equals.

    Spreading over processes by the kernel (SO_REUSEPORT) hashes addresses: of 64 clients, 40 may meet on one
    of two workers. Here the numbers differ by one at most.
    """

    def __init__(
        self,
        workers: Callable[[], Collection[WorkerProcess]],
        settings: SupervisorSettings,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._workers, self._settings = workers, settings
        self._held: deque[tuple[float, socket.socket]] = deque()
        self._refusals = Refusals(tls)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._chosen = 0

    def offer(self, connection: socket.socket) -> None:
        """Pass a connection on, hold it for a while, or refuse it; owns it from now on."""
        if self._held or not self._pass_on(connection):
            self._hold(connection)

    def flush(self) -> None:
        """Pass on those that wait, oldest first, as far as workers take them."""
        while self._held and self._pass_on(self._held[0][1]):
            self._held.popleft()

    def renew_tls(self, tls: ssl.SSLContext | None) -> None:
        """Refuse with this certificate from now on."""
        self._refusals.tls = tls

    def even_out(self) -> None:
        """Let workers shed what they have above the average; clients come back to those that have less."""
        ready = [each for each in self._workers() if each.is_ready]
        share = math.ceil(sum(each.load for each in ready) / len(ready)) if ready else 0
        for worker in ready:
            if worker.load > share:
                worker.shed(worker.load - share)

    async def close(self) -> None:
        """Refuse those that wait."""
        if self._timer is not None:
            self._timer.cancel()
        while self._held:
            self._refusals.refuse(self._held.popleft()[1])
        await self._refusals.finish()

    def _pass_on(self, connection: socket.socket) -> bool:
        able = [each for each in self._workers() if each.takes]
        # One that is not ready gets a connection only where none is: it can answer that it is not.
        if any(each.is_ready for each in self._workers()):
            able = [each for each in able if each.is_ready]
        for worker in sorted(able, key=lambda each: (each.is_slow, each.load, each.chosen)):
            if worker.give(connection):
                self._chosen += 1
                worker.chosen = self._chosen
                return True
        return False

    def _hold(self, connection: socket.socket) -> None:
        if len(self._held) >= self._settings.max_held:
            self._refusals.refuse(connection)
            return
        self._held.append((self._loop.time() + self._settings.hold_s, connection))
        if self._timer is None:
            self._timer = self._loop.call_at(self._held[0][0], self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        refused = 0
        while self._held and self._held[0][0] <= now:
            self._refusals.refuse(self._held.popleft()[1])
            refused += 1
        if refused:
            _LOG.warning(
                "No worker took %d connections within %g s; refused.", refused, self._settings.hold_s
            )
        if self._held:
            self._timer = self._loop.call_at(self._held[0][0], self._expire)
