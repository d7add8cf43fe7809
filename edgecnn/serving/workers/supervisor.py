"""The process that owns the port: starts workers, watches them, replaces them and drains them."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecnn.errors import UsageError
from edgecnn.serving.http.tls import server_tls
from edgecnn.serving.workers.broadcasts import Broadcasts
from edgecnn.serving.workers.dispatch import Dispatcher
from edgecnn.serving.workers.listening import Acceptor, open_listeners
from edgecnn.serving.workers.messages import Broadcast
from edgecnn.serving.workers.process import WorkerProcess
from edgecnn.serving.workers.settings import SupervisorSettings
from edgecnn.serving.workers.slot import Slot

__all__ = ["Observer", "Supervisor", "supervise"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Who is told of a supervisor's doings.

    Attributes:
        ready: is called once, when all workers are ready, with host and port.
        died: is called with the process id of each worker that has ended, however.
    """

    ready: Callable[[str, int], None] = lambda _host, _port: None
    died: Callable[[int], None] = lambda _pid: None


def supervise(
    settings: SupervisorSettings,
    ready: Callable[[str, int], None],
    forget_worker: Callable[[int, Path], None],
) -> bool:
    """Serve with several processes until SIGTERM or SIGINT; a second one ends them at once.

    SIGHUP replaces the workers one after another, without a gap; TLS files are read again.

    Args:
        settings: what to serve, and how.
        ready: is called once, when all workers are ready, with the host and port listened on.
        forget_worker: is called for each worker that has ended, with its process id and the folder of
            prometheus_client's multiprocess mode, which its gauges are to be removed from.

    Returns:
        Whether all workers drained in time.

    Raises:
        UsageError: the port cannot be had; the TLS files cannot be used; this system cannot pass connections;
            a worker says that what it was told is wrong.
        WorkerError: no worker can be brought to serve.
    """
    if not hasattr(socket, "send_fds"):
        raise UsageError("This system cannot pass connections to other processes.", "Use --workers 1.")
    with tempfile.TemporaryDirectory(prefix="edgecnn-metrics-") as folder:
        observer = Observer(ready=ready, died=lambda pid: forget_worker(pid, Path(folder)))
        environment = {"PROMETHEUS_MULTIPROC_DIR": folder}
        return asyncio.run(_until_signalled(settings, environment, observer))


async def _until_signalled(
    settings: SupervisorSettings, environment: Mapping[str, str], observer: Observer
) -> bool:
    supervisor = Supervisor(settings, environment, observer)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.roll)
    return await supervisor.run()


class Supervisor:
    """Workers behind one port. It is its workers' ``Overseer``."""

    def __init__(
        self, settings: SupervisorSettings, environment: Mapping[str, str], observer: Observer
    ) -> None:
        """Listen; call it within the event loop, and ``run`` then.

        Args:
            settings: what to serve, and how.
            environment: variables that the workers have besides this process's.
            observer: who is told.

        Raises:
            UsageError: the port cannot be had, or the TLS files cannot be used.
        """
        self._settings, self._environment, self._observer = settings, environment, observer
        tls = _tls(settings)
        listeners = open_listeners(settings.host, settings.port, settings.backlog)
        self.host, self.port = listeners[0].getsockname()[:2]
        self._loop = asyncio.get_running_loop()
        self._living: set[WorkerProcess] = set()
        self._dispatcher = Dispatcher(self._workers, settings, tls)
        self._broadcasts = Broadcasts(self._workers)
        self._slots = [self._slot(index) for index in range(settings.workers)]
        self._acceptor = Acceptor(listeners, self._dispatcher.offer)
        self._over: asyncio.Future[bool] = self._loop.create_future()
        #: What keeps workers coming ends where draining begins; what they asked for goes on.
        self._keeping: set[asyncio.Task[object]] = set()
        self._serving: set[asyncio.Task[object]] = set()
        self._roll_asked = asyncio.Event()
        self._stopping = self._announced = self._was_served = False

    async def run(self) -> bool:
        """Serve until stopped; whether all workers drained in time.

        Raises:
            EdgecnnError: no worker can be brought to serve.
        """
        for slot in self._slots:
            self._start(slot.keep(), self._keeping)
        self._start(self._watch(), self._keeping)
        self._start(self._rolls(), self._keeping)
        try:
            return await self._over
        finally:
            await self._close()

    def stop(self) -> None:
        """Take no more connections and let the workers drain; called again, end them now."""
        if self._stopping:
            for worker in self._living:
                worker.kill()
        else:
            self._stopping = True
            self._start(self._drain(), self._serving)

    def roll(self) -> None:
        """Replace the workers, one after another, each when its successor is ready."""
        self._roll_asked.set()

    # As its workers' overseer.

    def may_take(self, worker: WorkerProcess) -> None:
        """Pass on what waits."""
        self._dispatcher.flush()

    def warm(self, worker: WorkerProcess) -> None:
        """Let it catch up on kept messages, then count it as ready."""
        self._start(self._catch_up(worker), self._serving)

    def broadcast(self, worker: WorkerProcess, request: Broadcast) -> None:
        """Deliver to all."""
        self._start(self._broadcasts.deliver(worker, request), self._serving)

    def leaving(self, worker: WorkerProcess) -> None:
        """Replace it, if it is not replaced already."""
        if not self._stopping:
            self._start(self._slots[worker.index].replace(worker), self._keeping)

    def lost(self, worker: WorkerProcess, untaken: list[socket.socket]) -> None:
        """Give its untouched connections to others."""
        for connection in untaken:
            self._dispatcher.offer(connection)

    # Inside.

    def _workers(self) -> set[WorkerProcess]:
        return self._living

    def _slot(self, index: int) -> Slot:
        return Slot(
            lambda: self._spawn(index),
            self._settings,
            is_served=lambda: any(each.is_ready for each in self._living),
            was_served=lambda: self._was_served,
        )

    def _spawn(self, index: int) -> WorkerProcess:
        worker = WorkerProcess(index, self._settings, self._environment, self)
        self._living.add(worker)
        worker.ended.add_done_callback(lambda _: self._bury(worker))
        return worker

    def _bury(self, worker: WorkerProcess) -> None:
        self._living.discard(worker)
        self._observer.died(worker.pid)

    async def _catch_up(self, worker: WorkerProcess) -> None:
        await self._broadcasts.replay(worker)
        worker.accept_as_ready()
        self._was_served = self._was_served or worker.is_ready
        self._dispatcher.flush()
        if self._slots[worker.index].current is worker:  # else the old one's connections come by themselves
            self._dispatcher.even_out()
        if not self._announced and all(each.current and each.current.is_ready for each in self._slots):
            self._announced = True
            self._observer.ready(self.host, self.port)

    async def _watch(self) -> None:
        """Kill workers that are silent for too long."""
        settings, last_s = self._settings, self._loop.time()
        while True:
            await asyncio.sleep(settings.heartbeat_s)
            now_s, slept_s = self._loop.time(), self._loop.time() - last_s
            last_s = now_s
            for worker in self._living:
                if slept_s > 3 * settings.heartbeat_s:
                    worker.heard_s = now_s  # it was this process that was stopped, and maybe all with it
                limit_s = settings.start_s if worker.ready_since_s is None else settings.hang_s
                if now_s - worker.heard_s > limit_s and not worker.is_gone:
                    _LOG.error(
                        "Worker %d (pid %d) hangs: silent for %g s.", worker.index, worker.pid, limit_s
                    )
                    self._start(worker.kill_hung(), self._keeping)

    async def _rolls(self) -> None:
        while True:
            await self._roll_asked.wait()
            self._roll_asked.clear()
            if not self._renew_tls():
                continue
            for slot in self._slots:
                if not await slot.replace():
                    break  # what failed once fails for the others too, and they still serve

    def _renew_tls(self) -> bool:
        """Read certificate and key again, as new workers do; False if they cannot be used."""
        try:
            self._dispatcher.renew_tls(_tls(self._settings))
        except UsageError as error:
            _LOG.error("The workers are not replaced. %s %s", error.problem, error.remedy)
            return False
        return True

    async def _drain(self) -> None:
        await _cancel(self._keeping)
        self._acceptor.close()
        workers = list(self._living)
        for worker in workers:
            worker.stop()
        await self._dispatcher.close()
        await asyncio.gather(*(asyncio.shield(each.ended) for each in workers))
        if not self._over.done():
            self._over.set_result(not any(each.killed for each in workers))

    async def _close(self) -> None:
        await _cancel(self._keeping)
        await _cancel(self._serving)
        self._acceptor.close()
        for worker in self._living:
            worker.kill()
        await asyncio.gather(*(asyncio.shield(each.ended) for each in self._living))
        await self._dispatcher.close()

    def _start(self, work: Coroutine[object, object, object], group: set[asyncio.Task[object]]) -> None:
        task = self._loop.create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)
        task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Task[object]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self._over.done():
            self._over.set_exception(error)


def _tls(settings: SupervisorSettings) -> ssl.SSLContext | None:
    return None if settings.tls_files is None else server_tls(*settings.tls_files)


async def _cancel(tasks: set[asyncio.Task[object]]) -> None:
    everything = list(tasks)
    for each in everything:
        each.cancel()
    await asyncio.gather(*everything, return_exceptions=True)
