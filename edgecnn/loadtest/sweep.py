"""Gives up what takes too long, by looking at all callers now and then: a timer a request would cost more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from edgecnn.loadtest.caller import Caller

__all__ = ["sweeping"]

#: Between two looks, at most.
_LOOK_S = 0.05


@asynccontextmanager
async def sweeping(
    callers: Sequence[Caller], clock: Callable[[], int], timeout_s: float, tick: Callable[[], None]
) -> AsyncIterator[None]:
    """While inside: end requests that were due more than ``timeout_s`` ago, a tenth of it late at most.

    Args:
        callers: to look at; it may grow meanwhile.
        clock: nanoseconds, never running backwards.
        timeout_s: in seconds.
        tick: called after each look.
    """

    async def look() -> None:
        while True:
            await asyncio.sleep(min(_LOOK_S, timeout_s / 10))
            latest = clock() - round(timeout_s * 1e9)
            for caller in callers:
                if caller.busy and caller.due_ns < latest:
                    caller.give_up()
            tick()

    task = asyncio.get_running_loop().create_task(look())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
