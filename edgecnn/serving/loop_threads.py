"""Threads that work for one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

__all__ = ["LoopThreads"]

T = TypeVar("T")

_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


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
        self._jobs.put((future, function, arguments))
        return future

    def drop_waiting(self) -> None:
        """Cancel the calls that no thread has yet. From any thread."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            if job is not None:
                self._loop.call_soon_threadsafe(job[0].cancel)

    def close(self) -> None:
        """End, after what they were given; waits for it."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while job := self._jobs.get():
            future, function, arguments = job
            if future.cancelled():
                continue
            try:
                result = function(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
                self._loop.call_soon_threadsafe(_fail, future, error)
            else:
                self._loop.call_soon_threadsafe(_fulfil, future, result)


def _fulfil(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
