"""Threads that work for one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

__all__ = ["LoopThreads"]

T = TypeVar("T")


class _Job(NamedTuple):
    """A call, what is told its result on the event loop, and what is done instead if it is dropped."""

    function: Callable[[], Any]
    done: Callable[[Any], None]
    drop: Callable[[], object]


class LoopThreads:
    """Runs calls in threads, in the order that they came, and gives what they return back to the event loop.

    As ``run_in_executor`` does, without a second future with locks of its own behind each: that costs more
    than a request's HTTP.
    """

    def __init__(self, count: int, name: str) -> None:
        """Start ``count`` threads for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def call(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """What ``function(*arguments)`` returns or raises. Cancelled before its turn, it is never called."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.post(partial(_outcome, future, function, arguments), partial(_settle, future), future.cancel)
        return future

    def post(
        self, function: Callable[[], T], done: Callable[[T], None], drop: Callable[[], object] = bool
    ) -> None:
        """Let a thread call ``function``, which must not raise, and the event loop ``done`` with its result.

        Args:
            function: the call.
            done: called on the event loop.
            drop: called there instead, if no thread had it when :meth:`drop_waiting` was called.
        """
        self._jobs.put(_Job(function, done, drop))

    def drop_waiting(self) -> None:
        """Cancel the calls that no thread has yet. From any thread."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            if job is not None:
                self._loop.call_soon_threadsafe(job.drop)

    def close(self) -> None:
        """End, after what they were given; waits for it."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while job := self._jobs.get():
            self._loop.call_soon_threadsafe(job.done, job.function())


def _outcome(
    future: asyncio.Future[T], function: Callable[..., T], arguments: tuple[object, ...]
) -> tuple[T | None, Exception | None]:
    """What a call returns, or what it raises."""
    if future.cancelled():
        return None, None
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
        return None, error


def _settle(future: asyncio.Future[T], outcome: tuple[T, Exception | None]) -> None:
    if future.done():
        return
    result, error = outcome
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
