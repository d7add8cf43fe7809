"""Threads that work for one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgecnn.serving.loop_threads import LoopThreads


@contextmanager
def held(threads: LoopThreads) -> Iterator[asyncio.Future[bool]]:
    """One thread that is busy for as long as the block lasts."""
    begun, gate = threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return gate.wait(30)

    try:
        running = threads.call(wait)
        begun.wait(30)
        yield running
    finally:
        gate.set()


def test_results_and_errors_come_back() -> None:
    async def scenario() -> None:
        threads = LoopThreads(2, "test")
        assert await threads.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await threads.call(divmod, 7, 0)
        assert (await threads.call(threading.current_thread)).name.startswith("test-")
        await asyncio.to_thread(threads.close)

    asyncio.run(scenario())


def test_one_thread_keeps_the_order() -> None:
    async def scenario() -> None:
        threads, seen = LoopThreads(1, "test"), list[int]()
        await asyncio.gather(*[threads.call(seen.append, number) for number in range(100)])
        assert seen == list(range(100))
        await asyncio.to_thread(threads.close)

    asyncio.run(scenario())


def test_two_threads_work_at_the_same_time() -> None:
    async def scenario() -> None:
        threads, both = LoopThreads(2, "test"), threading.Barrier(2)
        await asyncio.gather(threads.call(both.wait, 30), threads.call(both.wait, 30))
        await asyncio.to_thread(threads.close)

    asyncio.run(scenario())


def test_a_call_that_is_cancelled_before_its_turn_is_never_made() -> None:
    async def scenario() -> None:
        threads, seen = LoopThreads(1, "test"), list[str]()
        with held(threads):
            threads.call(seen.append, "cancelled").cancel()
            last = threads.call(seen.append, "last")
        await last
        assert seen == ["last"]
        await asyncio.to_thread(threads.close)

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_that_is_cancelled_while_it_runs_disturbs_nobody(fails: bool) -> None:
    async def scenario() -> None:
        threads, begun, gate = LoopThreads(1, "test"), threading.Event(), threading.Event()
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

        def run() -> None:
            begun.set()
            gate.wait(30)
            if fails:
                raise RuntimeError

        running = threads.call(run)
        begun.wait(30)
        running.cancel()
        gate.set()
        assert await threads.call(int, "3") == 3
        await asyncio.to_thread(threads.close)
        assert not failures

    asyncio.run(scenario())


def test_what_was_given_is_done_before_the_end_and_what_is_dropped_is_cancelled() -> None:
    async def scenario() -> None:
        threads, seen = LoopThreads(1, "test"), list[str]()
        with held(threads) as running:
            dropped = threads.call(seen.append, "dropped")
            threads.drop_waiting()
            kept = threads.call(seen.append, "kept")
        await asyncio.to_thread(threads.close)
        assert await running
        await kept
        with pytest.raises(asyncio.CancelledError):
            await dropped
        assert seen == ["kept"]
        assert not any(thread.name.startswith("test-") for thread in threading.enumerate())

    asyncio.run(scenario())
