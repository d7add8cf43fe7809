"""One worker and those that replace it: after a death, or on request without a gap."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import NoReturn

from edgecnn.errors import EdgecnnError, UsageError
from edgecnn.serving.workers.backoff import Backoff
from edgecnn.serving.workers.process import WorkerProcess
from edgecnn.serving.workers.settings import SupervisorSettings, WorkerError

__all__ = ["Slot"]

_LOG = logging.getLogger(__name__)


class Slot:
    """A place that always has a worker, or will soon.

    Attributes:
        current: the process in this place; None between a death and the restart.
    """

    def __init__(
        self,
        spawn: Callable[[], WorkerProcess],
        settings: SupervisorSettings,
        *,
        is_served: Callable[[], bool],
        was_served: Callable[[], bool],
    ) -> None:
        """Call it within the event loop.

        Args:
            spawn: starts a process.
            settings: how patient to be.
            is_served: whether any worker is ready now.
            was_served: whether any worker ever was.
        """
        self._spawn, self._settings = spawn, settings
        self._is_served, self._was_served = is_served, was_served
        self._backoff = Backoff(settings)
        self._changing = asyncio.Lock()
        self.current: WorkerProcess | None = None

    async def keep(self) -> NoReturn:
        """Start a worker, and another one whenever it dies.

        Raises:
            EdgecnnError: it is hopeless: no worker is ready, and this one died too often before it was; or
                none ever was, and this one says why it cannot be.
            WorkerError: the first process cannot be started.
        """
        try:
            self.current = worker = self._spawn()
        except OSError as error:
            remedy = "Free memory, or raise the limits of processes and open files (ulimit -u, -n)."
            raise WorkerError(f"No worker can be started: {error}.", remedy) from error
        while True:
            code = await asyncio.shield(worker.ended)
            async with self._changing:  # a replacement may be on its way
                if self.current is worker:
                    self.current = None
                    self.current = await self._restart(self._delay_s(worker, code))
                worker = self.current

    async def replace(self, worker: WorkerProcess | None = None) -> bool:
        """Start a new process, and end the old one when the new one is ready.

        Args:
            worker: only if it is this one that has the place; None for whichever.

        Returns:
            False when the new one died first: the old one stays.
        """
        async with self._changing:
            old = self.current
            if old is None or (worker is not None and old is not worker):
                return True
            try:
                new = self._spawn()
            except OSError as error:
                _LOG.error("Worker %d cannot be replaced: %s.", old.index, error)
                return False
            await new.first_ready.wait()
            if not new.is_ready:
                words = _words(new, await asyncio.shield(new.ended))
                _LOG.error(
                    "Worker %d is not replaced, for its replacement did not get ready. %s", old.index, words
                )
                return False
            self.current = new
            old.stop()
            return True

    async def _restart(self, delay_s: float) -> WorkerProcess:
        while True:
            await asyncio.sleep(delay_s)
            try:
                return self._spawn()
            except OSError as error:  # out of memory, processes or files: that may pass
                _LOG.error("A worker cannot be started: %s.", error)
                delay_s = self._settings.longest_restart_s

    def _delay_s(self, worker: WorkerProcess, code: int) -> float:
        now = asyncio.get_running_loop().time()
        delay_s = self._backoff.died(now, worker.ready_since_s)
        words = _words(worker, code)
        told = worker.failure is not None and not self._was_served()
        if not self._is_served() and (told or self._backoff.hopeless):
            raise _hopeless(worker, words, self._backoff.early_deaths)
        _LOG.error("%s It is replaced%s.", words, f" in {delay_s:g} s" if delay_s else "")
        return delay_s


def _words(worker: WorkerProcess, code: int) -> str:
    who = f"Worker {worker.index} (pid {worker.pid})"
    if worker.failure is not None:
        return f"{who} failed: {worker.failure.problem} {worker.failure.remedy}"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"{who} was ended by {name}."
    return f"{who} ended with exit code {code}."


def _hopeless(worker: WorkerProcess, words: str, deaths: int) -> EdgecnnError:
    if (failure := worker.failure) is not None:
        kind = UsageError if failure.exit_code == UsageError.exit_code else WorkerError
        return kind(failure.problem, failure.remedy)
    return WorkerError(
        f"No worker gets ready: worker {worker.index} died {deaths} times before it was. {words}",
        "What it printed says why. If it was ended by SIGKILL, memory may be short: use fewer --workers.",
    )
